// SPDX-License-Identifier: MIT
#include "node/store/wal_vfs.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/store_test.h"

namespace chatchain {

namespace {

namespace fs = std::filesystem;

std::string BytesOf(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("a log is written once more, byte for byte", "[wal_vfs]") {
  test::TempDir dir;
  const std::string path = dir.File("some.db");
  const std::string log = path + "-wal";
  RewriteWal(path);
  CHECK_FALSE(fs::exists(log));
  {
    Database db(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    db.Execute("PRAGMA journal_mode=WAL");
    db.Execute("CREATE TABLE t(b BLOB)");
    // More than one piece of it, and more than SQLite's VFS writes in one call.
    db.Execute("INSERT INTO t VALUES (randomblob(400000))");
  }
  const std::string before = BytesOf(log);
  REQUIRE(before.size() > 400000);
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(24);
  fs::last_write_time(log, long_ago);

  RewriteWal(path);
  CHECK(BytesOf(log) == before);
  CHECK(fs::last_write_time(log) > long_ago + std::chrono::hours(12));

  // What cannot be written is said, before anybody opens the database.
  fs::remove(log);
  fs::create_directory(log);
  CHECK_THROWS_AS(RewriteWal(path), SqliteError);
}

TEST_CASE("a log whose database is gone is not in the way of a new one", "[wal_vfs]") {
  test::TempDir dir;
  const std::string path = dir.File("some.db");
  std::ofstream(path + "-wal") << "of a file that somebody has moved";
  auto opened = OpenForWriting(path, "test", 1);
  INFO((opened ? "" : opened.error()));
  REQUIRE(opened);
  (*opened)->Execute("SELECT count(*) FROM messages");
}

}  // namespace chatchain
