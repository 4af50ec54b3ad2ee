// SPDX-License-Identifier: MIT
#include "tests/support/tamper.h"

#include <catch2/catch.hpp>
#include <initializer_list>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace chatchain::testing {

namespace {

using Value = std::variant<std::nullptr_t, int64_t, std::string, Hash, MessageId>;

// A statement with its parameters bound, stepped by the caller.
class Query {
 public:
  Query(sqlite3* db, const std::string& sql, const std::vector<Value>& values = {}) : db_(db) {
    INFO(sql);
    REQUIRE(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement_, nullptr) == SQLITE_OK);
    int index = 0;
    for (const Value& value : values) {
      ++index;
      if (const auto* number = std::get_if<int64_t>(&value)) {
        sqlite3_bind_int64(statement_, index, *number);
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        sqlite3_bind_text(statement_, index, text->data(), static_cast<int>(text->size()),
                          SQLITE_TRANSIENT);
      } else if (const auto* hash = std::get_if<Hash>(&value)) {
        sqlite3_bind_blob(statement_, index, hash->bytes.data(),
                          static_cast<int>(hash->bytes.size()), SQLITE_TRANSIENT);
      } else if (const auto* id = std::get_if<MessageId>(&value)) {
        sqlite3_bind_blob(statement_, index, id->bytes.data(), static_cast<int>(id->bytes.size()),
                          SQLITE_TRANSIENT);
      }
    }
  }
  ~Query() { sqlite3_finalize(statement_); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  bool Step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) FAIL(sqlite3_errmsg(db_));
    return code == SQLITE_ROW;
  }
  int64_t Int(int column) { return sqlite3_column_int64(statement_, column); }
  std::string Text(int column) {
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_, column));
    return bytes == nullptr ? std::string() : std::string(bytes, size);
  }
  bool IsNull(int column) { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

Value TextOrNull(const std::string& text) {
  return text.empty() ? Value(nullptr) : Value(text);
}

// As the store keeps stamps: the top bit flipped, so that signed numbers sort as stamps do.
Stamp StampOf(int64_t stored) {
  return static_cast<Stamp>(stored) ^ (uint64_t{1} << 63);
}

}  // namespace

Tamper::Tamper(const std::string& database_path) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open_v2(database_path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK);
  db_.reset(db);
}

void Tamper::ChangeOneRow(const std::string& sql) {
  Query query(db_.get(), sql);
  query.Step();
  INFO(sql);
  REQUIRE(sqlite3_changes(db_.get()) == 1);
}

int64_t Tamper::Int(const std::string& sql) {
  Query query(db_.get(), sql);
  REQUIRE(query.Step());
  return query.Int(0);
}

EpochKey Tamper::EpochOf(const std::string& origin, int64_t* ref) {
  Query query(db_.get(), "SELECT ref, epoch FROM epochs WHERE origin=? ORDER BY seq DESC LIMIT 1",
              {origin});
  REQUIRE(query.Step());
  if (ref != nullptr) *ref = query.Int(0);
  return {origin, static_cast<Epoch>(query.Int(1))};
}

void Tamper::Fork(const std::string& cluster, const std::string& origin, Seq seq,
                  const ValidMessage& valid) {
  sqlite3* db = db_.get();
  int64_t epoch_ref = 0;
  const EpochKey key = EpochOf(origin, &epoch_ref);
  Query(db, "BEGIN IMMEDIATE").Step();

  Query old(db, "SELECT message, stamp FROM records WHERE epoch=? AND seq=?",
            {epoch_ref, static_cast<int64_t>(seq)});
  REQUIRE(old.Step());
  const int64_t old_ref = old.Int(0);
  const int64_t new_ref = Int("SELECT max(ref)+1 FROM messages");
  const Message& message = valid.message();
  Query(db,
        "INSERT INTO messages(ref, id, sender, recipient, room, text, timestamp, key, stamp) "
        "VALUES (?,?,?,?,?,?,?,?,?)",
        {new_ref, valid.id(), message.sender, TextOrNull(message.recipient),
         TextOrNull(message.room), message.text,
         message.timestamp ? Value(*message.timestamp) : Value(nullptr), message.key, old.Int(1)})
      .Step();
  Query(db, "UPDATE records SET message=? WHERE message=?", {new_ref, old_ref}).Step();
  Query(db, "DELETE FROM messages WHERE ref=?", {old_ref}).Step();

  Hash chain = ChainSeed(cluster, key);
  Query records(db,
                "SELECT r.seq, r.stamp, r.chain, m.sender, m.recipient, m.room, m.text, "
                "m.timestamp, m.key FROM records r JOIN messages m ON m.ref=r.message "
                "WHERE r.epoch=? ORDER BY r.seq",
                {epoch_ref});
  std::vector<std::pair<int64_t, Hash>> chains;
  while (records.Step()) {
    Message stored;
    stored.sender = records.Text(3);
    stored.recipient = records.Text(4);
    stored.room = records.Text(5);
    stored.text = records.Text(6);
    if (!records.IsNull(7)) stored.timestamp = records.Int(7);
    stored.key = records.Text(8);
    Record record;
    record.epoch = key;
    record.seq = static_cast<Seq>(records.Int(0));
    record.stamp = StampOf(records.Int(1));
    record.digest = Sha256(CanonicalBytes(stored));
    chain = NextChain(chain, record);
    if (record.seq < seq) {
      REQUIRE(records.Text(2) == chain.view());  // else this recomputation is wrong
    } else {
      chains.emplace_back(records.Int(0), chain);
    }
  }
  for (const auto& [at, its_chain] : chains) {
    Query(db, "UPDATE records SET chain=? WHERE epoch=? AND seq=?", {its_chain, epoch_ref, at})
        .Step();
  }
  Query(db, "UPDATE epochs SET chain=? WHERE ref=?", {chain, epoch_ref}).Step();
  Query(db, "COMMIT").Step();
}

}  // namespace chatchain::testing
