// SPDX-License-Identifier: MIT
#include "tests/simulation/simulator.h"

#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "node/store/sqlite.h"
#include "tests/simulation/sim_disk.h"
#include "tests/support/seeded_random.h"

namespace chatchain::simulation {

namespace {

constexpr const char* kPath = "/disk/chatchain.db";

Database OpenOn(SimVfs&) {
  return Database(kPath, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
}

// With the log left as it is.
void SetUp(Database& db) {
  sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  db.Execute("PRAGMA journal_mode=WAL");
}

int64_t Rows(Database& db) {
  Statement count(db, "SELECT count(*) FROM t");
  count.Step();
  return count.Int(0);
}

}  // namespace

TEST_CASE("The same seed does the same again, another one something else", "[simulation]") {
  SimOptions options;
  options.steps = 600;
  for (const Mode mode : {Mode::kSafety, Mode::kLiveness}) {
    options.mode = mode;
    options.seed = 7;
    const SimResult first = Simulate(options);
    options.seed = 8;
    const SimResult other = Simulate(options);
    options.seed = 7;
    const SimResult again = Simulate(options);
    CHECK(first.violations == std::vector<std::string>{});
    CHECK(first.hash == again.hash);
    CHECK(first.steps == again.steps);
    CHECK(first.hash != other.hash);
  }
}

TEST_CASE("Every fault happens, and so does what clients do", "[simulation][faults]") {
  SimOptions options;
  options.steps = 1500;
  std::map<std::string, uint64_t> counts;
  for (options.seed = 1; options.seed <= 120; ++options.seed) {
    const SimResult result = Simulate(options);
    CHECK(result.violations == std::vector<std::string>{});
    for (const auto& [what, times] : result.counts) counts[what] += times;
  }
  // Seals take their time: nodes that have been restarted before have some from the beginning.
  options.restarts = 12;
  for (options.seed = 1; options.seed <= 30; ++options.seed) {
    const SimResult result = Simulate(options);
    CHECK(result.violations == std::vector<std::string>{});
    for (const auto& [what, times] : result.counts) counts[what] += times;
  }
  // A fault that never happens proves nothing.
  for (const char* what : {"lost message",
                           "lost reply",
                           "doubled message",
                           "late message",
                           "overtaking message",
                           "message on a slow link",
                           "cut message",
                           "truncated body",
                           "flipped bit",
                           "bad record",
                           "partition",
                           "one_way",
                           "flap",
                           "slow_link",
                           "heal_network",
                           "kill",
                           "power",
                           "power_later",
                           "crash_step",
                           "crash inside",
                           "crash in a transaction",
                           "crash before a commit",
                           "crash behind a write",
                           "crash behind a sync",
                           "crash before the answers",
                           "crash behind a checkpoint",
                           "power went in a call",
                           "stop",
                           "start",
                           "disk_full",
                           "disk was full",
                           "disk_error",
                           "write failed",
                           "sync failed",
                           "read failed",
                           "slow_disk",
                           "snapshot",
                           "restore",
                           "restore_elsewhere",
                           "wipe",
                           "clone",
                           "new_id",
                           "fork",
                           "damage",
                           "clock_jump",
                           "clock drift",
                           "proxy_death",
                           "fan-out cut short",
                           "page behind a page",
                           "seal",
                           "seal again",
                           "shared seal",
                           "seal of a twin's live epoch",
                           "page from memory",
                           "page from the tables",
                           "pull that names a sealed epoch",
                           "token from before a seal",
                           "forget_seal",
                           "token from behind a seal that is not here",
                           "feed from behind a seal that is not here",
                           "long dead",
                           "send 200",
                           "send 201",
                           "send 422",
                           "read 200",
                           "list 200",
                           "list 412",
                           "exact walk",
                           "feed repeat",
                           "feed gap"}) {
    INFO(what);
    CHECK(counts[what] > 0);
  }
}

// Some are sealed while others are dead, some nodes are dead for long and come back with more.
TEST_CASE("A token after 1,000 restarts of 5 nodes is below 1 kB", "[simulation][restarts]") {
  SimOptions options;
  options.nodes = 5;
  options.restarts = CHATCHAIN_RESTARTS;
  options.steps = 0;
  SimResult result = Simulate(options);
  CHECK(result.violations == std::vector<std::string>{});
  CHECK(result.epochs > options.restarts / 2);
  CHECK(result.counts["long dead"] > 3);
  CHECK(result.counts["seal"] > options.restarts / 3);
  CHECK(result.token_bytes > 0);
  CHECK(result.token_bytes < 1000);
}

TEST_CASE("What failed once does not fail again", "[simulation]") {
  std::ifstream file(CHATCHAIN_REGRESSIONS);
  REQUIRE(file);
  std::string line;
  int runs = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string mode;
    SimOptions options;
    words >> mode >> options.seed >> options.steps;
    std::string more;
    if (words >> more && more.starts_with("restarts="))
      options.restarts = std::stoull(more.substr(9));
    REQUIRE((mode == "safety" || mode == "liveness"));
    options.mode = mode == "safety" ? Mode::kSafety : Mode::kLiveness;
    INFO(line);
    CHECK(Simulate(options).violations == std::vector<std::string>{});
    ++runs;
  }
  CHECK(runs > 0);
}

TEST_CASE("A power cut takes what was not synced, and nothing else", "[simulation]") {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    test::SeededRandom random(seed);
    SimVfs vfs(random);
    {
      Database db = OpenOn(vfs);
      SetUp(db);
      db.Execute("PRAGMA synchronous=FULL");
      db.Execute("CREATE TABLE t(x)");
      db.Execute("INSERT INTO t VALUES (1)");
      db.Execute("PRAGMA synchronous=OFF");
      for (int i = 0; i < 5; ++i) db.Execute("INSERT INTO t VALUES (2)");
    }
    vfs.disk("disk").PowerCut(random);
    Database db = OpenOn(vfs);
    SetUp(db);
    CHECK(Rows(db) >= 1);
    CHECK(Rows(db) <= 6);
    lost += Rows(db) < 6 ? 1 : 0;
  }
  CHECK(lost > 5);
}

TEST_CASE("A killed process loses nothing that it wrote", "[simulation]") {
  test::SeededRandom random(1);
  SimVfs vfs(random);
  {
    Database db = OpenOn(vfs);
    SetUp(db);
    db.Execute("PRAGMA synchronous=OFF");
    db.Execute("CREATE TABLE t(x)");
    db.Execute("INSERT INTO t VALUES (1)");
  }
  vfs.disk("disk").ForgetLocks();
  Database db = OpenOn(vfs);
  SetUp(db);
  CHECK(Rows(db) == 1);
}

TEST_CASE("A simulated disk fails as it is told", "[simulation]") {
  test::SeededRandom random(1);
  SimVfs vfs(random);
  Database db = OpenOn(vfs);
  SetUp(db);
  db.Execute("PRAGMA synchronous=FULL");
  db.Execute("CREATE TABLE t(x)");
  const auto code_of = [&](const char* sql) {
    try {
      db.Execute(sql);
    } catch (const SqliteError& error) {
      return error.extended_code();
    }
    return SQLITE_OK;
  };
  vfs.disk("disk").Arm(SimDisk::Fault::kWriteError, 1);
  CHECK(code_of("INSERT INTO t VALUES (1)") == SQLITE_IOERR_WRITE);
  CHECK(code_of("INSERT INTO t VALUES (1)") == SQLITE_OK);
  vfs.disk("disk").Arm(SimDisk::Fault::kSyncError, 0);
  CHECK(code_of("INSERT INTO t VALUES (1)") == SQLITE_IOERR_FSYNC);
  vfs.disk("disk").Arm(SimDisk::Fault::kFull, 0);
  CHECK(code_of("INSERT INTO t VALUES (zeroblob(100000))") == SQLITE_FULL);
  vfs.disk("disk").Free();
  CHECK(code_of("INSERT INTO t VALUES (zeroblob(100000))") == SQLITE_OK);
}

}  // namespace chatchain::simulation
