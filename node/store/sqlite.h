// SPDX-License-Identifier: MIT
// RAII over SQLite's C interface, as thin as the store needs it: a connection, a prepared
// statement, an error. Every failure is an SqliteError; the store turns it into a value at its
// boundary. A Database and its Statements belong to one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace chatchain {

class SqliteError : public std::runtime_error {
 public:
  SqliteError(int extended_code, const std::string& what)
      : std::runtime_error(what), extended_code_(extended_code) {}
  int extended_code() const { return extended_code_; }
  int code() const { return extended_code_ & 0xff; }
  // Not enough space: nothing was written, and writing may work again later.
  bool disk_full() const { return code() == SQLITE_FULL; }
  bool corrupt() const { return code() == SQLITE_CORRUPT || code() == SQLITE_NOTADB; }

 private:
  int extended_code_;
};

class Database {
 public:
  // `flags`, `vfs`: of sqlite3_open_v2.
  Database(const std::string& path, int flags, const char* vfs = nullptr);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void Execute(const char* sql);
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

// Bind, Step until false, Reset. Columns count from 0, parameters from 1. Bound texts and blobs are
// not copied: they must live until Reset. Text and blob columns live until the next Step or Reset.
class Statement {
 public:
  Statement(const Database& db, std::string_view sql);

  Statement& Bind(int index, int64_t value);
  Statement& BindText(int index, std::string_view text);
  Statement& BindBlob(int index, std::string_view bytes);
  Statement& BindNull(int index);

  bool Step();  // true: a row is there
  void Reset();
  // One step and Reset, for a statement that gives no row.
  void Run();

  int64_t Int(int column) const { return sqlite3_column_int64(handle_.get(), column); }
  std::string_view Text(int column) const;
  std::string_view Blob(int column) const;
  bool IsNull(int column) const {
    return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  void Check(int code) const;
  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

// Resets a statement when the scope ends, also by an exception: a statement left open would hold
// its read snapshot and pin the WAL.
class ScopedReset {
 public:
  explicit ScopedReset(Statement& statement) : statement_(statement) {}
  ~ScopedReset() { statement_.Reset(); }
  ScopedReset(const ScopedReset&) = delete;
  ScopedReset& operator=(const ScopedReset&) = delete;

 private:
  Statement& statement_;
};

}  // namespace chatchain
