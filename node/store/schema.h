// SPDX-License-Identifier: MIT
// The database file: its tables, how a connection to it is opened, and how it is checked at the
// start.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/protocol/hlc.h"
#include "common/util/result.h"
#include "node/store/sqlite.h"

namespace chatchain {

// SQLite's integers are signed: with the top bit flipped they sort as stamps do.
inline int64_t SqlStamp(Stamp stamp) {
  return static_cast<int64_t>(stamp ^ (uint64_t{1} << 63));
}
inline Stamp StampFromSql(int64_t value) {
  return static_cast<Stamp>(value) ^ (uint64_t{1} << 63);
}

// `SELECT columns` of every record of the message ?1.
inline std::string RecordsOfMessageSql(const std::string& columns) {
  return "SELECT " + columns + " FROM records WHERE arrival=?1 AND message=?1 UNION ALL SELECT " +
         columns +
         " FROM records INDEXED BY records_by_message WHERE message=?1 AND message IS NOT NULL AND "
         "message<>arrival";
}

// Opens for writing; creates the tables in a new file. WAL, synchronous=FULL; checkpoints are left
// to the writer. The error says what is wrong and what to do; `path` is not changed then.
Result<std::unique_ptr<Database>, std::string> OpenForWriting(const std::string& path,
                                                              const std::string& cluster,
                                                              int cache_mib);
// Throws SqliteError.
std::unique_ptr<Database> OpenForReading(const std::string& path, int cache_mib);

// For tools: nothing is ever written, not even when it is closed. Both throw SqliteError.
// Other processes may have the file open and write it. Makes the files of the log where they are
// absent.
std::unique_ptr<Database> OpenBesideWriters(const std::string& path);
// REQUIRES: nobody writes the file or its log as long as this is open. Touches no file: the index
// of a log that is there is built in memory.
std::unique_ptr<Database> OpenAlone(const std::string& path);

// Why `db` is no database of ours that this program knows; names `path`. Throws SqliteError.
std::optional<std::string> FormatProblem(const Database& db, const std::string& path);

}  // namespace chatchain
