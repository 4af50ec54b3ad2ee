// SPDX-License-Identifier: MIT
#include "node/store/backup.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "node/store/data_dir.h"
#include "tests/support/store_test.h"

namespace chatchain {

namespace {

namespace fs = std::filesystem;
using test::LogProcess;
using test::MakeMessage;

struct Fixture {
  test::TempDir dir;
  test::ManualClock clock;
  test::SeededRandom random{3};
  std::string data = dir.File("data");
  std::string file = dir.File("backup");

  Fixture() { fs::create_directory(data); }
  LogProcess Open() { return LogProcess(DatabasePath(data), "a", clock, random); }
  std::vector<std::string> Files(const std::string& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a backup holds what was committed, alone in its file", "[backup]") {
  Fixture f;
  LogProcess node = f.Open();
  for (int i = 0; i < 30; ++i) node.Append(MakeMessage("k" + std::to_string(i)));
  const HeadVector heads = node.State()->heads;
  const auto made = BackUp(f.data, f.file, {});
  REQUIRE(made);
  CHECK(made->messages == 30);
  CHECK(made->heads == heads);
  CHECK(f.Files(f.dir.path()) == Names{"backup", "data"});
  CHECK((fs::status(f.file).permissions() & fs::perms(077)) == fs::perms::none);
  // https://www.sqlite.org/fileformat.html: 2 would be a write-ahead log.
  std::string header(20, '\0');
  std::ifstream(f.file, std::ios::binary).read(header.data(), 20);
  CHECK(header[18] == 1);
  CHECK(header[19] == 1);

  SECTION("and never takes another's place") {
    const auto before = fs::last_write_time(f.file);
    const auto again = BackUp(f.data, f.file, {});
    REQUIRE_FALSE(again);
    CHECK(again.error().find("exists already") != std::string::npos);
    CHECK(fs::last_write_time(f.file) == before);
  }
  SECTION("and is restored into a directory that is made for it") {
    node.Append(MakeMessage("later"));
    const std::string restored = f.dir.File("new/data");
    REQUIRE(Restore(f.file, restored, {}));
    CHECK(f.Files(restored) == Names{"chatchain.db", "lock"});
    LogProcess back(DatabasePath(restored), "a", f.clock, f.random);
    CHECK(back.State()->heads == heads);
    CHECK_FALSE(back.State()->live);
    back.Append(MakeMessage("later"));
    CHECK(back.State()->live != node.State()->live);  // P7
    const auto twice = Restore(f.file, restored, {});
    REQUIRE_FALSE(twice);
    CHECK(twice.error().find("exists already") != std::string::npos);
  }
}

TEST_CASE("a backup is one moment, while the node writes", "[backup]") {
  Fixture f;
  LogProcess node = f.Open();
  // Enough for several steps of the copy.
  const std::string text(60'000, 'x');
  for (int i = 0; i < 150; ++i) node.Append(MakeMessage("k" + std::to_string(i), text));
  int written = 0;
  AuditOptions options;
  options.progress = [&](std::string_view step, double) {
    if (step == "copying") node.Append(MakeMessage("meanwhile" + std::to_string(written++), text));
  };
  const auto made = BackUp(f.data, f.file, options);
  REQUIRE(made);
  CHECK(written > 1);
  CHECK(made->messages == 150);
}

TEST_CASE("what could not be backed up leaves nothing behind", "[backup]") {
  Fixture f;
  std::string expected;
  AuditOptions options;
  const auto fill = [&] {
    LogProcess node = f.Open();
    for (int i = 0; i < 30; ++i) node.Append(MakeMessage("k" + std::to_string(i)));
  };
  SECTION("no database") {
    expected = "there is no database";
  }
  SECTION("damage") {
    fill();
    Database db(DatabasePath(f.data), SQLITE_OPEN_READWRITE);
    db.Execute("UPDATE messages SET text='forged' WHERE key='k20'");
    expected = "at 21, message " + MakeMessage("k20").id().Text();
  }
  SECTION("a file that is none of ours") {
    std::ofstream(DatabasePath(f.data)) << std::string(8192, 'x');
    expected = "not a database";
  }
  SECTION("nothing but what a process left that died") {
    fill();
    std::ofstream(f.file + ".partial") << "half a backup";
  }
  SECTION("another process is writing it") {
    fill();
    options.progress = [&f](std::string_view step, double) {
      if (step != "copying") return;
      const auto second = BackUp(f.data, f.file, {});
      REQUIRE_FALSE(second);
      CHECK(second.error().find("another process is writing") != std::string::npos);
    };
  }
  SECTION("the copying is stopped") {
    fill();
    options.stop = [] { return true; };
    expected = "stopped";
  }
  SECTION("the check is stopped") {
    fill();
    options.stop = [asked = 0]() mutable { return ++asked > 2; };
    expected = "stopped";
  }
  SECTION("no directory for it") {
    fill();
    f.file = f.dir.File("absent/backup");
    expected = "cannot create";
  }
  const auto made = BackUp(f.data, f.file, options);
  if (expected.empty()) {
    REQUIRE(made);
    CHECK(f.Files(f.dir.path()) == Names{"backup", "data"});
    return;
  }
  REQUIRE_FALSE(made);
  INFO(made.error());
  CHECK(made.error().find(expected) != std::string::npos);
  CHECK(f.Files(f.dir.path()) == Names{"data"});
}

TEST_CASE("what is no sound backup is not restored, and nothing is made", "[backup]") {
  Fixture f;
  {
    LogProcess node = f.Open();
    for (int i = 0; i < 30; ++i) node.Append(MakeMessage("k" + std::to_string(i)));
  }
  REQUIRE(BackUp(f.data, f.file, {}));
  std::string target = f.dir.File("restored");
  std::string expected;
  SECTION("damaged") {
    Database db(f.file, SQLITE_OPEN_READWRITE);
    db.Execute("UPDATE messages SET text='forged' WHERE key='k20'");
    expected = "at 21, message " + MakeMessage("k20").id().Text();
  }
  SECTION("cut off") {
    fs::resize_file(f.file, fs::file_size(f.file) / 2);
    expected = "malformed";
  }
  SECTION("not a database") {
    std::ofstream(f.file, std::ios::trunc) << std::string(8192, 'x');
    expected = "not a database";
  }
  SECTION("of another program") {
    Database db(f.file, SQLITE_OPEN_READWRITE);
    db.Execute("PRAGMA application_id=1");
    expected = "not a ChatChain database";
  }
  SECTION("a copy of a running database") {
    std::ofstream(f.file + "-wal") << "frames";
    expected = "a write-ahead log lies beside it";
  }
  SECTION("absent") {
    fs::remove(f.file);
    expected = "there is no file";
  }
  const auto restored = Restore(f.file, target, {});
  REQUIRE_FALSE(restored);
  INFO(restored.error());
  CHECK(restored.error().find(expected) != std::string::npos);
  CHECK_FALSE(fs::exists(target));
}

TEST_CASE("a restore does not touch a directory that is taken", "[backup]") {
  Fixture f;
  {
    LogProcess node = f.Open();
    node.Append(MakeMessage("k"));
  }
  REQUIRE(BackUp(f.data, f.file, {}));
  const std::string target = f.dir.File("restored");
  fs::create_directory(target);
  SECTION("by a log that is left of another database") {
    std::ofstream(DatabasePath(target) + "-wal") << "frames";
    CHECK(Restore(f.file, target, {}).error().find("-wal exists already") != std::string::npos);
    CHECK_FALSE(fs::exists(DatabasePath(target)));
  }
  SECTION("by a process") {
    const auto lock = DirectoryLock::Take(target);
    REQUIRE(lock);
    CHECK(Restore(f.file, target, {}).error().find("in use") != std::string::npos);
    CHECK_FALSE(fs::exists(DatabasePath(target)));
    CHECK(DirectoryLock::TryShare(target) == nullptr);
  }
  SECTION("by what an earlier attempt left") {
    std::ofstream(DatabasePath(target) + ".partial") << "half";
    CHECK(Restore(f.file, target, {}));
    CHECK(f.Files(target) == Names{"chatchain.db", "lock"});
  }
}

TEST_CASE("who reads alone keeps a node from starting", "[backup]") {
  Fixture f;
  CHECK(DirectoryLock::TryShare(f.data) != nullptr);  // nobody ever ran there
  CHECK(f.Files(f.data).empty());
  REQUIRE(DirectoryLock::Take(f.data));  // and gone again
  const auto reads = DirectoryLock::TryShare(f.data);
  REQUIRE(reads != nullptr);
  CHECK(DirectoryLock::TryShare(f.data) != nullptr);
  CHECK_FALSE(DirectoryLock::Take(f.data));
}

}  // namespace chatchain
