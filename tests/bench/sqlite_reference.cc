// SPDX-License-Identifier: MIT
// The reference point of the store: what SQLite itself commits durably of the same rows in groups
// of the same size, with one table and one unique index, one thread, no network, no log, no checks.
//
//   chatchain-sqlite-reference FILE ROWS GROUP SECONDS
//
// Fills FILE up to ROWS rows, then commits transactions of GROUP rows (2.5: two and three in turn)
// for SECONDS, and prints one line of JSON.
#include <sqlite3.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace {

using SteadyClock = std::chrono::steady_clock;

// As the node's default: node.wal_checkpoint_bytes, in pages.
constexpr int kCheckpointPages = (16 << 20) / 4096;
constexpr int kFillGroup = 10'000;
constexpr int kNames = 1000;

class Table {
 public:
  explicit Table(const char* path) : random_(std::random_device()()) {
    Check(sqlite3_open(path, &db_));
    Execute("PRAGMA journal_mode=WAL");
    Execute("PRAGMA synchronous=FULL");
    Execute("PRAGMA wal_autocheckpoint=0");
    Execute("PRAGMA cache_size=-16384");
    Execute(
        "CREATE TABLE IF NOT EXISTS messages(ref INTEGER PRIMARY KEY, id BLOB NOT NULL, sender "
        "TEXT "
        "NOT NULL, recipient TEXT, room TEXT, text TEXT NOT NULL, timestamp INTEGER, key TEXT NOT "
        "NULL, stamp INTEGER NOT NULL) STRICT");
    Execute("CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON messages(id)");
    Check(sqlite3_prepare_v2(
        db_,
        "INSERT INTO messages(id, sender, recipient, text, timestamp, key, stamp) "
        "VALUES (?,?,?,?,?,?,?)",
        -1, &insert_, nullptr));
    sqlite3_wal_hook(
        db_,
        [](void* pages, sqlite3*, const char*, int now) {
          *static_cast<int*>(pages) = now;
          return SQLITE_OK;
        },
        &wal_pages_);
  }
  ~Table() {
    sqlite3_finalize(insert_);
    sqlite3_close(db_);
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  int64_t Count() {
    sqlite3_stmt* count = nullptr;
    Check(sqlite3_prepare_v2(db_, "SELECT count(*) FROM messages", -1, &count, nullptr));
    sqlite3_step(count);
    const int64_t rows = sqlite3_column_int64(count, 0);
    sqlite3_finalize(count);
    return rows;
  }

  void CommitRows(int rows) {
    Execute("BEGIN IMMEDIATE");
    for (int i = 0; i < rows; ++i) Insert();
    Execute("COMMIT");
    if (wal_pages_ >= kCheckpointPages) {
      Check(sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr));
      wal_pages_ = 0;
    }
  }

 private:
  // Shaped as the node's rows: an id that begins with the time, a UUID as key, names of 1000
  // people.
  void Insert() {
    const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    unsigned char id[22];
    for (int i = 0; i < 6; ++i) id[i] = static_cast<unsigned char>(now_ms >> (40 - 8 * i));
    for (int i = 6; i < 22; ++i) id[i] = static_cast<unsigned char>(random_());
    char sender[16], recipient[16], key[40], text[128];
    const int sender_bytes =
        std::snprintf(sender, sizeof(sender), "user%03d", static_cast<int>(random_() % kNames));
    const int recipient_bytes = std::snprintf(recipient, sizeof(recipient), "user%03d",
                                              static_cast<int>(random_() % kNames));
    const int key_bytes =
        std::snprintf(key, sizeof(key), "%08llx-%04llx-7%03llx-8%03llx-%012llx",
                      static_cast<unsigned long long>(now_ms >> 16),
                      static_cast<unsigned long long>(now_ms & 0xffff),
                      static_cast<unsigned long long>(random_() & 0xfff),
                      static_cast<unsigned long long>(random_() & 0xfff),
                      static_cast<unsigned long long>(random_() & 0xffffffffffff));
    const int text_bytes = std::snprintf(
        text, sizeof(text),
        "message %016llx of a bench run, about as long as what people write in a chat%s",
        static_cast<unsigned long long>(random_()), ": some twenty words.");
    sqlite3_bind_blob(insert_, 1, id, sizeof(id), SQLITE_STATIC);
    sqlite3_bind_text(insert_, 2, sender, sender_bytes, SQLITE_STATIC);
    sqlite3_bind_text(insert_, 3, recipient, recipient_bytes, SQLITE_STATIC);
    sqlite3_bind_text(insert_, 4, text, text_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(insert_, 5, now_ms / 1000);
    sqlite3_bind_text(insert_, 6, key, key_bytes, SQLITE_STATIC);
    sqlite3_bind_int64(insert_, 7, now_ms << 16);
    if (sqlite3_step(insert_) != SQLITE_DONE) Fail();
    sqlite3_reset(insert_);
  }

  void Execute(const char* sql) { Check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr)); }
  void Check(int code) {
    if (code != SQLITE_OK) Fail();
  }
  [[noreturn]] void Fail() {
    std::fprintf(stderr, "chatchain-sqlite-reference: %s\n", sqlite3_errmsg(db_));
    std::exit(1);
  }

  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  int wal_pages_ = 0;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  const int64_t fill = argc == 5 ? std::atoll(argv[2]) : -1;
  const double group = argc == 5 ? std::atof(argv[3]) : 0;
  const double seconds = argc == 5 ? std::atof(argv[4]) : 0;
  if (fill < 0 || group < 1 || seconds <= 0) {
    std::fprintf(stderr, "usage: chatchain-sqlite-reference FILE ROWS GROUP SECONDS\n");
    return 2;
  }
  Table table(argv[1]);
  for (int64_t have = table.Count(); have < fill; have += kFillGroup) {
    table.CommitRows(static_cast<int>(std::min<int64_t>(kFillGroup, fill - have)));
  }

  int64_t rows = 0;
  int64_t commits = 0;
  const auto begin = SteadyClock::now();
  const auto end = begin + std::chrono::duration<double>(seconds);
  auto now = begin;
  while (now < end) {
    const auto size = static_cast<int>(std::floor(group * static_cast<double>(commits + 1)) -
                                       std::floor(group * static_cast<double>(commits)));
    table.CommitRows(size);
    rows += size;
    ++commits;
    now = SteadyClock::now();
  }
  const double took = std::chrono::duration<double>(now - begin).count();
  std::printf("{\"rows\":%lld,\"commits\":%lld,\"seconds\":%.6f}\n", static_cast<long long>(rows),
              static_cast<long long>(commits), took);
  return 0;
}
