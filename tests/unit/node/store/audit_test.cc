// SPDX-License-Identifier: MIT
#include "node/store/audit.h"

#include <catch2/catch.hpp>

#include "tests/support/store_test.h"

namespace chatchain {

namespace {

using test::LogProcess;
using test::MakeMessage;

// A log with what makes one interesting: two origins, a message that both have, under two stamps,
// one to a room, a record of an unknown kind, a forked epoch. Its last names are not in the table.
struct Fixture {
  test::TempDir dir;
  test::ManualClock clock;
  test::SeededRandom random{7};
  std::string path = dir.File("a.db");
  EpochKey own;

  explicit Fixture(bool fork = true) {
    LogProcess a(path, "a", clock, random);
    LogProcess b(dir.File("b.db"), "b", clock, random);
    LogProcess c(dir.File("c.db"), "c", clock, random);
    const ValidMessage both = MakeMessage("both");
    b.Append(both, StampFromMs(clock.wall_ms - 5000));
    for (int i = 0; i < 12; ++i) b.Append(MakeMessage("b" + std::to_string(i)));
    c.Append(MakeMessage("c"));
    a.Append(both, StampFromMs(clock.wall_ms));
    for (int i = 0; i < 12; ++i) a.Append(MakeMessage("a" + std::to_string(i)));
    own = *a.State()->live;
    VerifiedRun run = RunOf(b, *b.State()->live);
    VerifiedRecord other;
    other.record.epoch = run.epoch;
    other.record.seq = run.records.back().record.seq + 1;
    other.record.kind = "x.test";
    other.record.stamp = StampFromMs(clock.wall_ms);
    other.payload = std::string("\0\x01", 2);
    other.record.digest = Sha256(*other.payload);
    other.record.chain = NextChain(run.records.back().record.chain, other.record);
    run.records.push_back(other);
    a.Do([&](Log& log) { log.Apply(run); });
    const EpochKey forked = *c.State()->live;
    a.Do([&](Log& log) { log.Apply(RunOf(c, forked)); });
    if (fork) a.Do([&](Log& log) { log.Freeze({forked, 0}); });
    // The mark of the names stands below the newest messages, as a crash leaves it.
    a.log->Flush();
    a.Append(MakeMessage("late"));
  }

  void Change(const std::string& sql) {
    Database db(path, SQLITE_OPEN_READWRITE);
    db.Execute(sql.c_str());
    REQUIRE(sqlite3_changes(db.handle()) == 1);
  }

  AuditReport Check(size_t max_named = 20) {
    const auto db = OpenAlone(path);
    auto report = Audit(*db, {.progress = {}, .stop = {}, .max_named = max_named});
    REQUIRE(report);
    return std::move(*report);
  }

  int64_t Int(const std::string& sql) {
    const Database db(path, SQLITE_OPEN_READONLY);
    Statement select(db, sql);
    REQUIRE(select.Step());
    return select.Int(0);
  }
  std::string OwnRef() {
    return std::to_string(Int("SELECT ref FROM epochs WHERE origin='a' AND seq>9"));
  }
};

bool Names(const AuditReport& report, const std::string& text) {
  return std::any_of(report.named.begin(), report.named.end(),
                     [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("a sound database is found sound, to the last record", "[audit]") {
  Fixture f;
  const AuditReport report = f.Check();
  CHECK(report.named == std::vector<std::string>{});
  CHECK(report.damaged == 0);
  CHECK(report.cluster == LogProcess::kCluster);
  CHECK(report.messages == 27);
  CHECK(report.records == static_cast<uint64_t>(f.Int("SELECT count(*) FROM records")));
  CHECK(report.epochs.size() == 3);
  LogProcess again(f.path, "a", f.clock, f.random);
  CHECK(report.heads == again.State()->heads);
  // A node that was stopped in an orderly way has nothing in its tail.
  again.log->Flush();
  CHECK(f.Check().damaged == 0);
}

TEST_CASE("each kind of damage is named with its position and its message", "[audit]") {
  Fixture f;
  const std::string at_7 = "epoch=" + f.OwnRef() + " AND seq=7";
  const std::string message_at_7 = "(SELECT message FROM records WHERE " + at_7 + ")";
  const std::string place = ToText(f.own) + " at 7";
  std::string sql;
  std::string expected;
  size_t damaged = 1;
  const auto damage = [&](std::string change, std::string named) {
    sql = std::move(change);
    expected = std::move(named);
  };
  SECTION("text") {
    damage("UPDATE messages SET text='forged' WHERE ref=" + message_at_7,
           place + ", message " + MakeMessage("a5").id().Text() + ": the message does not match");
  }
  SECTION("rules") {
    damage("UPDATE messages SET text='' WHERE ref=" + message_at_7, "breaks the rules");
  }
  SECTION("timestamp") {
    damage("UPDATE messages SET timestamp=1 WHERE ref=" + message_at_7, place);
  }
  SECTION("id") {
    damage("UPDATE messages SET id=x'00' WHERE ref=" + message_at_7, place);
  }
  SECTION("chain") {
    damage("UPDATE records SET chain=zeroblob(32) WHERE " + at_7,
           place + ", message " + MakeMessage("a5").id().Text() +
               ": the record does not match its chain");
  }
  SECTION("stamp of a record") {
    damage("UPDATE records SET stamp=stamp+1 WHERE " + at_7, place);
    damaged = 2;  // the message has another one
  }
  SECTION("a record of another message") {
    damage("UPDATE records SET message=message+1 WHERE " + at_7, place);
    damaged = 3;  // nothing names one message, and the other has a stamp too many
  }
  SECTION("a record that is gone") {
    damage("DELETE FROM records WHERE " + at_7, place + ": the record is missing");
    damaged = 2;
  }
  SECTION("a message that is gone") {
    damage("DELETE FROM messages WHERE ref=" + message_at_7, place + ": its message is not there");
  }
  SECTION("payload") {
    damage("UPDATE records SET payload=x'0002' WHERE kind='x.test'",
           "at 14: the record does not match its chain");
  }
  SECTION("kind") {
    damage("UPDATE records SET kind='x.tesu' WHERE kind='x.test'", "at 14");
  }
  SECTION("a head that is too low") {
    damage("UPDATE epochs SET seq=7 WHERE ref=" + f.OwnRef(),
           "the head of " + ToText(f.own) + " says 7, its records end at 15");
  }
  SECTION("a head that is too high") {
    damage("UPDATE epochs SET seq=99 WHERE ref=" + f.OwnRef(), "says 99");
    damaged = 2;
  }
  SECTION("the chain of a head") {
    damage("UPDATE epochs SET chain=zeroblob(32) WHERE ref=" + f.OwnRef(), "another chain");
  }
  SECTION("an epoch without a head") {
    damage("DELETE FROM epochs WHERE origin='b'", "records of an epoch that has no head");
    damaged = 13;  // nothing vouches for its messages
  }
  SECTION("the stamp of a message, later") {
    damage("UPDATE messages SET stamp=stamp+1 WHERE ref=" + message_at_7, "an earlier stamp");
    damaged = 3;  // the index by name knows it under another one
  }
  SECTION("the stamp of a message, earlier") {
    damage("UPDATE messages SET stamp=stamp-1 WHERE ref=" + message_at_7, "the place that");
    damaged = 3;
  }
  SECTION("the place of a message with two stamps") {
    damage("DELETE FROM places", "message " + MakeMessage("both").id().Text());
  }
  SECTION("the mark of a message with two stamps") {
    damage("UPDATE messages SET moved=0 WHERE moved=1", MakeMessage("both").id().Text());
  }
  // Of the row of the index that the message is in.
  const auto damage_entry = [&](const std::string& role, int from_id, std::string named) {
    const std::string id =
        "instr(entries, (SELECT id FROM messages WHERE ref=" + message_at_7 + "))";
    const std::string at = id + "+(" + std::to_string(from_id) + ")";
    damage("UPDATE names SET entries=CAST(substr(entries, 1, " + at +
               "-1) || x'7f' || substr(entries, " + at + "+1) AS BLOB) WHERE name LIKE '" + role +
               "%' AND " + id + ">0",
           std::move(named));
  };
  SECTION("an index entry by sender that says another message") {
    damage_entry("s", 22 + 7,
                 "message " + MakeMessage("a5").id().Text() + ": the index by sender lacks it");
  }
  SECTION("an index entry by recipient that says another place") {
    damage_entry("r", -1, "the index by recipient lacks it");
  }
  SECTION("an announcement that was not made") {
    damage("UPDATE epochs SET frozen=1 WHERE origin='b'", "only forked epochs name it");
    damaged = 12;
  }
  SECTION("an index of SQLite's") {
    Database db(f.path, SQLITE_OPEN_READWRITE);
    db.Execute("PRAGMA writable_schema=ON");
    db.Execute(
        "UPDATE sqlite_master SET sql='CREATE INDEX messages_by_key ON messages(sender, "
        "key)' WHERE name='messages_by_key'");
    expected = "the file: ";
    damaged = 0;
  }
  if (!sql.empty()) f.Change(sql);
  const AuditReport report = f.Check();
  for (const std::string& line : report.named) UNSCOPED_INFO(line);
  INFO("expected: " << expected);
  CHECK(report.damaged >= 1);
  if (damaged > 0) CHECK(report.damaged == damaged);
  CHECK(Names(report, expected));
  if (expected.starts_with(place)) CHECK(report.named.front().starts_with(expected));
}

TEST_CASE("damage is counted beyond what is named", "[audit]") {
  Fixture f;
  {
    Database db(f.path, SQLITE_OPEN_READWRITE);
    db.Execute("UPDATE messages SET text='forged'");
  }
  const AuditReport report = f.Check(3);
  CHECK(report.named.size() == 3);
  CHECK(report.damaged == 29);  // two messages have two records
}

TEST_CASE("a page of zeros is damage, and the rest is checked", "[audit]") {
  Fixture f(/*fork=*/false);
  const int64_t page = f.Int("SELECT rootpage FROM sqlite_master WHERE name='records'");
  FILE* file = std::fopen(f.path.c_str(), "r+b");
  REQUIRE(file != nullptr);
  std::fseek(file, static_cast<long>((page - 1) * 4096), SEEK_SET);
  const std::string zeros(4096, '\0');
  std::fwrite(zeros.data(), 1, zeros.size(), file);
  std::fclose(file);
  const AuditReport report = f.Check();
  CHECK(report.damaged >= 1);
  CHECK(Names(report, "the file"));
}

TEST_CASE("an audit can be stopped and tells how far it is", "[audit]") {
  Fixture f;
  const auto db = OpenAlone(f.path);
  AuditOptions options;
  std::vector<std::string> steps;
  double last = 0;
  options.progress = [&](std::string_view step, double part) {
    if (steps.empty() || steps.back() != step) steps.emplace_back(step);
    CHECK(part >= last);
    CHECK(part <= 1);
    last = part;
  };
  REQUIRE(Audit(*db, options));
  CHECK(steps == std::vector<std::string>{"records", "messages", "file"});
  options.stop = [] { return true; };
  const auto stopped = Audit(*db, options);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error() == "it was stopped");
}

TEST_CASE("an audit changes no file, whether the node stopped or was killed", "[audit]") {
  Fixture f;
  const auto files = [&] {
    std::map<std::string, std::pair<uintmax_t, std::filesystem::file_time_type>> found;
    for (const auto& entry : std::filesystem::directory_iterator(f.dir.path())) {
      found[entry.path()] = {entry.file_size(), entry.last_write_time()};
    }
    return found;
  };
  SECTION("stopped") {
    const auto before = files();
    REQUIRE(before.size() == 3);  // no log beside the databases
    CHECK(f.Check().damaged == 0);
    CHECK(files() == before);
  }
  SECTION("killed") {
    // What a process that dies leaves: the files as they are while it lives.
    test::TempDir dead;
    {
      LogProcess node(f.path, "a", f.clock, f.random);
      node.Append(MakeMessage("in the log"));
      std::filesystem::copy(f.path, dead.File("a.db"));
      std::filesystem::copy(f.path + "-wal", dead.File("a.db-wal"));
    }
    f.path = dead.File("a.db");
    const auto count = [&] {
      return std::distance(std::filesystem::directory_iterator(dead.path()), {});
    };
    const auto bytes = std::filesystem::file_size(f.path + "-wal");
    REQUIRE(bytes > 0);
    const AuditReport report = f.Check();
    CHECK(report.damaged == 0);
    CHECK(report.messages == 28);
    CHECK(count() == 2);
    CHECK(std::filesystem::file_size(f.path + "-wal") == bytes);
  }
}

TEST_CASE("an audit beside a writer sees a sound log", "[audit]") {
  Fixture f;
  LogProcess node(f.path, "a", f.clock, f.random);
  node.Append(MakeMessage("in the log"));
  const auto db = OpenBesideWriters(f.path);
  AuditOptions options;
  int written = 0;
  // Between two of its snapshots the node goes on.
  options.progress = [&](std::string_view, double) {
    node.Append(MakeMessage("meanwhile" + std::to_string(written++)));
    node.log->Flush();
  };
  const auto report = Audit(*db, options);
  REQUIRE(report);
  for (const std::string& line : report->named) UNSCOPED_INFO(line);
  CHECK(report->damaged == 0);
  CHECK(written > 3);
}

}  // namespace chatchain
