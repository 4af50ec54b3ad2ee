// SPDX-License-Identifier: MIT
#include "node/store/schema.h"

#include <filesystem>

#include "node/store/wal_vfs.h"

namespace chatchain {

namespace {

constexpr int kSchemaVersion = 3;
// "ChtC": tells our files from others' (sqlite3's PRAGMA application_id).
constexpr int kApplicationId = 0x43687443;
// A full structural check reads the whole file: at this size it takes about a second. Larger files
// are checked page by page as they are read.
constexpr int64_t kQuickCheckMaxBytes = int64_t{512} << 20;
constexpr int kToolCacheMib = 64;

// One row of `messages` is one message; `stamp` is the smallest of its records' stamps. `places`
// holds the larger ones, so that a walk that began before a stamp became smaller still finds the
// message in its old place. Indexes that order history carry the id, because (stamp, id) is the
// place. `names` is the index by sender, recipient and room (see name_table.h); its newest entries
// are in memory (see name_tail.h). `records_by_kind` finds the seals at a start.
//
// A message's `ref` is the `arrival` of its first record, so that only further records need an
// entry in an index by message.
constexpr const char* kSchema = R"sql(
CREATE TABLE meta(
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs(
  ref    INTEGER PRIMARY KEY,
  origin TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  chain  BLOB NOT NULL,
  frozen INTEGER NOT NULL DEFAULT 0,
  UNIQUE(origin, epoch)
) STRICT;

CREATE TABLE messages(
  ref       INTEGER PRIMARY KEY,
  id        BLOB NOT NULL,
  sender    TEXT NOT NULL,
  recipient TEXT,
  room      TEXT,
  text      TEXT NOT NULL,
  timestamp INTEGER,
  key       TEXT NOT NULL,
  stamp     INTEGER NOT NULL,
  moved     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX messages_by_id ON messages(id);
CREATE INDEX messages_by_key ON messages(key, sender);
CREATE INDEX messages_by_place ON messages(stamp, id);

CREATE TABLE names(
  ref     INTEGER PRIMARY KEY,
  name    TEXT NOT NULL,
  stamp   INTEGER NOT NULL,
  id      BLOB NOT NULL,
  entries BLOB NOT NULL
) STRICT;
CREATE INDEX names_by_place ON names(name, stamp, id);

CREATE TABLE places(
  stamp   INTEGER NOT NULL,
  id      BLOB NOT NULL,
  message INTEGER NOT NULL,
  PRIMARY KEY(stamp, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE records(
  arrival INTEGER PRIMARY KEY,
  epoch   INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  stamp   INTEGER NOT NULL,
  message INTEGER,
  kind    TEXT,
  payload BLOB,
  chain   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_by_position ON records(epoch, seq);
CREATE INDEX records_by_message ON records(message, epoch, seq, stamp)
  WHERE message IS NOT NULL AND message<>arrival;
CREATE INDEX records_by_kind ON records(kind) WHERE kind IS NOT NULL;
)sql";

std::string QuickCheck(const Database& db) {
  Statement check(db, "PRAGMA quick_check(1)");
  return check.Step() ? std::string(check.Text(0)) : "no answer";
}

int64_t IntPragma(const Database& db, const char* sql) {
  Statement pragma(db, sql);
  return pragma.Step() ? pragma.Int(0) : 0;
}

std::string WayOut(const std::string& path) {
  return "; restore a backup of its directory, or move the directory away and start the node "
         "empty: "
         "it fetches everything from its peers (" +
         path + ")";
}

void CreateTables(Database* db, const std::string& cluster) {
  db->Execute("BEGIN IMMEDIATE");
  db->Execute(kSchema);
  Statement insert(*db, "INSERT INTO meta(name, value) VALUES ('cluster', ?)");
  insert.BindText(1, cluster).Run();
  db->Execute(("PRAGMA application_id=" + std::to_string(kApplicationId)).c_str());
  db->Execute(("PRAGMA user_version=" + std::to_string(kSchemaVersion)).c_str());
  db->Execute("COMMIT");
}

void Configure(Database* db, int cache_mib) {
  db->Execute(("PRAGMA cache_size=-" + std::to_string(cache_mib * 1024)).c_str());
  db->Execute("PRAGMA temp_store=MEMORY");
  sqlite3_busy_timeout(db->handle(), 5000);
}

// As a part of a URI, see https://www.sqlite.org/uri.html
std::string UriPath(const std::string& path) {
  std::string quoted;
  for (const char c : path) {
    switch (c) {
      case '%': quoted += "%25"; break;
      case '?': quoted += "%3f"; break;
      case '#': quoted += "%23"; break;
      default: quoted += c;
    }
  }
  return quoted;
}

std::unique_ptr<Database> OpenTool(const std::string& name, bool alone, const char* vfs = nullptr) {
  auto db = std::make_unique<Database>(
      name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, vfs);
  // The last one that closes a file would copy its log into it.
  sqlite3_db_config(db->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // Before the first read: then the index of the log is in memory, not in a shared file.
  if (alone) db->Execute("PRAGMA locking_mode=EXCLUSIVE");
  Configure(db.get(), kToolCacheMib);
  return db;
}

}  // namespace

Result<std::unique_ptr<Database>, std::string> OpenForWriting(const std::string& path,
                                                              const std::string& cluster,
                                                              int cache_mib) {
  try {
    RewriteWal(path);
    auto db = std::make_unique<Database>(
        path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, WalVfs());
    Configure(db.get(), cache_mib);
    db->Execute("PRAGMA journal_mode=WAL");
    db->Execute("PRAGMA synchronous=FULL");
    db->Execute("PRAGMA wal_autocheckpoint=0");
    const int64_t version = IntPragma(*db, "PRAGMA user_version");
    if (version == 0 && IntPragma(*db, "SELECT count(*) FROM sqlite_master") == 0) {
      CreateTables(db.get(), cluster);
      return db;
    }
    if (auto problem = FormatProblem(*db, path)) return Err(std::move(*problem));
    // The log is on disk now, whatever the process before has met. On a full disk it stays.
    const int copied = sqlite3_wal_checkpoint_v2(db->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                                 nullptr, nullptr);
    if (copied != SQLITE_OK && copied != SQLITE_BUSY && copied != SQLITE_FULL) {
      throw SqliteError(sqlite3_extended_errcode(db->handle()), sqlite3_errmsg(db->handle()));
    }
    const int64_t bytes = IntPragma(*db, "PRAGMA page_count") * IntPragma(*db, "PRAGMA page_size");
    if (bytes <= kQuickCheckMaxBytes) {
      if (const std::string found = QuickCheck(*db); found != "ok") {
        return Err(path + " is damaged: " + found + WayOut(path));
      }
    }
    Statement select(*db, "SELECT value FROM meta WHERE name='cluster'");
    if (!select.Step()) return Err(path + " is damaged: it names no cluster" + WayOut(path));
    if (select.Text(0) != cluster) {
      return Err(path + " belongs to the cluster \"" + std::string(select.Text(0)) +
                 "\", not to \"" + cluster + "\"; set cluster.name or choose another --data-dir");
    }
    return db;
  } catch (const SqliteError& error) {
    if (error.corrupt()) return Err(path + " is damaged: " + error.what() + WayOut(path));
    return Err("cannot open " + path + ": " + error.what());
  }
}

std::optional<std::string> FormatProblem(const Database& db, const std::string& path) {
  if (IntPragma(db, "PRAGMA application_id") != kApplicationId) {
    return path + " is not a ChatChain database; choose another file or directory";
  }
  const int64_t version = IntPragma(db, "PRAGMA user_version");
  if (version == kSchemaVersion) return std::nullopt;
  return path + " has database format " + std::to_string(version) + ", this program knows format " +
         std::to_string(kSchemaVersion) + " only; use the program version that wrote it";
}

std::unique_ptr<Database> OpenForReading(const std::string& path, int cache_mib) {
  auto db = std::make_unique<Database>(path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX);
  Configure(db.get(), cache_mib);
  return db;
}

std::unique_ptr<Database> OpenBesideWriters(const std::string& path) {
  return OpenTool("file:" + UriPath(path), /*alone=*/false);
}

std::unique_ptr<Database> OpenAlone(const std::string& path) {
  std::error_code absent;
  const auto log_bytes = std::filesystem::file_size(path + "-wal", absent);
  if (absent || log_bytes == 0) {
    return OpenTool("file:" + UriPath(path) + "?immutable=1", /*alone=*/true);
  }
  // A lock of SQLite's would need the right to write.
  return OpenTool("file:" + UriPath(path), /*alone=*/true, "unix-none");
}

}  // namespace chatchain
