// SPDX-License-Identifier: MIT
#include "node/store/sqlite.h"

#include "node/store/sqlite_pcache.h"

namespace chatchain {

namespace {

[[noreturn]] void Throw(sqlite3* db, int code) {
  const int extended = db != nullptr ? sqlite3_extended_errcode(db) : code;
  const char* what = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  throw SqliteError(extended, what);
}

// Before main(), because nothing may have used SQLite when it is configured.
[[maybe_unused]] const bool kConfigured = [] {
  // Otherwise every allocation takes one lock for all connections, to count bytes that nobody
  // reads.
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  InstallPageCache();
  return true;
}();

}  // namespace

Database::Database(const std::string& path, int flags, const char* vfs) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, vfs);
  handle_.reset(raw);
  if (code != SQLITE_OK) Throw(raw, code);
  sqlite3_extended_result_codes(raw, 1);
}

void Database::Execute(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) Throw(handle_.get(), code);
}

Statement::Statement(const Database& db, std::string_view sql) : db_(db.handle()) {
  sqlite3_stmt* raw = nullptr;
  Check(sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                           &raw, nullptr));
  handle_.reset(raw);
}

void Statement::Check(int code) const {
  if (code != SQLITE_OK) Throw(db_, code);
}

Statement& Statement::Bind(int index, int64_t value) {
  Check(sqlite3_bind_int64(handle_.get(), index, value));
  return *this;
}

Statement& Statement::BindText(int index, std::string_view text) {
  Check(sqlite3_bind_text(handle_.get(), index, text.data(), static_cast<int>(text.size()),
                          SQLITE_STATIC));
  return *this;
}

Statement& Statement::BindBlob(int index, std::string_view bytes) {
  // A null pointer would bind NULL in place of an empty blob.
  const void* data = bytes.data() != nullptr ? bytes.data() : "";
  Check(
      sqlite3_bind_blob(handle_.get(), index, data, static_cast<int>(bytes.size()), SQLITE_STATIC));
  return *this;
}

Statement& Statement::BindNull(int index) {
  Check(sqlite3_bind_null(handle_.get(), index));
  return *this;
}

bool Statement::Step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const SqliteError error(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_));
  sqlite3_reset(handle_.get());
  throw error;
}

void Statement::Reset() {
  sqlite3_reset(handle_.get());
}

void Statement::Run() {
  Step();
  Reset();
}

std::string_view Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

std::string_view Statement::Blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(handle_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

}  // namespace chatchain
