// SPDX-License-Identifier: MIT
#include "node/store/log.h"

#include <catch2/catch.hpp>

#include "node/sync/verify.h"
#include "tests/support/store_test.h"

namespace chatchain {

namespace {

using test::LogProcess;
using test::MakeMessage;
using test::ManualClock;
using test::RunOf;
using test::SeededRandom;

// Two nodes and what they share.
struct Fixture {
  test::TempDir dir;
  ManualClock clock;
  SeededRandom random{1};

  LogProcess Open(const std::string& id) {
    return LogProcess(dir.File(id + ".db"), id, clock, random);
  }
};

Position HeadOf(LogProcess& process, const EpochKey& epoch) {
  return process.State()->epochs.at(epoch).head;
}

// Recomputes every chain value of every epoch from the stored rows.
void RequireSound(LogProcess& process) {
  process.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    for (const auto& [key, epoch] : state->epochs) {
      Hash chain = ChainSeed(LogProcess::kCluster, key);
      Seq seq = 0;
      reader.ReadRecords(key, 1, INT64_MAX, [&, key = key](StoredRecord&& stored) {
        const Record& record = stored.wire.record;
        REQUIRE(record.seq == ++seq);
        chain = NextChain(chain, record);
        REQUIRE(record.chain == chain);
        return true;
      });
      REQUIRE(epoch.head == Position{seq, chain});
    }
  });
}

std::vector<std::string> WalkKeys(LogProcess& process) {
  std::vector<std::string> keys;
  process.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    const Filter all;
    HistoryQuery query;
    query.filter = &all;
    query.limit = 100'000;
    const ReadPage read =
        reader.ReadHistory(query, *state, CopyNames(process.log->name_tail(), all));
    REQUIRE_FALSE(read.damage);
    for (const HistoryItem& item : read.page.items) keys.push_back(item.shown.message.key);
  });
  return keys;
}

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("An appended message is a record, and a repeated one is known", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  REQUIRE_FALSE(node.State()->live);  // no epoch without a first record
  REQUIRE(node.State()->epochs.empty());

  const Appended first = node.Append(MakeMessage("k1"));
  REQUIRE(first.kind == Appended::Kind::kNew);
  const Appended again = node.Append(MakeMessage("k1"));
  REQUIRE(again.kind == Appended::Kind::kKnown);
  REQUIRE(again.stamp == first.stamp);
  REQUIRE(again.message_ref == first.message_ref);
  REQUIRE(node.Append(MakeMessage("k1", "other text")).kind == Appended::Kind::kKeyReused);
  // The key belongs to its sender.
  REQUIRE(node.Append(MakeMessage("k1", "hello", "carl")).kind == Appended::Kind::kNew);

  const LogStatePtr state = node.State();
  REQUIRE(state->messages == 2);
  REQUIRE(state->heads.size() == 1);
  REQUIRE(state->heads.begin()->first == *state->live);
  REQUIRE(state->heads.begin()->second.seq == 2);
  REQUIRE(state->live->epoch >> 32 == 1);
  RequireSound(node);
}

TEST_CASE("Items of one transaction are judged in order", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  node.Do([&](Log& log) {
    REQUIRE(log.Append({MakeMessage("k"), {}}).kind == Appended::Kind::kNew);
    REQUIRE(log.Append({MakeMessage("k"), {}}).kind == Appended::Kind::kKnown);
    REQUIRE(log.Append({MakeMessage("k", "x"), {}}).kind == Appended::Kind::kKeyReused);
  });
  REQUIRE(node.State()->messages == 1);
}

TEST_CASE("A given stamp is kept, unless it is more than a minute ahead", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  const Stamp past = StampFromMs(f.clock.wall_ms - 86'400'000);
  REQUIRE(node.Append(MakeMessage("past"), past).stamp == past);
  const Stamp ahead = StampFromMs(f.clock.wall_ms + 59'000);
  REQUIRE(node.Append(MakeMessage("ahead"), ahead).stamp == ahead);
  REQUIRE(node.Append(MakeMessage("after")).stamp == ahead + 1);
  REQUIRE(node.Append(MakeMessage("too far"), StampFromMs(f.clock.wall_ms + 61'000)).stamp ==
          ahead + 2);
}

TEST_CASE("A clock that was set back does not put new messages before stored ones", "[log]") {
  Fixture f;
  Stamp before = 0;
  {
    LogProcess node = f.Open("a");
    // Far ahead, by a node whose clock is wrong: it must not hide the others.
    before = node.Append(MakeMessage("one")).stamp;
    f.clock.wall_ms += 3'600'000;
    node.Append(MakeMessage("from the future"));
  }
  f.clock.wall_ms -= 3'600'000 + 5'000;
  LogProcess node = f.Open("a");
  REQUIRE(node.Append(MakeMessage("two")).stamp > before);
}

TEST_CASE("Rollback leaves nothing behind", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  const auto fail = [&] {
    node.log->Begin();
    node.log->Append({MakeMessage("lost"), {}});
    node.log->Rollback();
  };
  fail();
  REQUIRE_FALSE(node.State()->live);
  REQUIRE(node.State()->epochs.empty());
  REQUIRE(node.State()->messages == 0);
  node.Append(MakeMessage("k1"));
  const LogStatePtr before = node.State();
  fail();
  REQUIRE(node.State()->heads == before->heads);
  REQUIRE(node.State()->live == before->live);
  REQUIRE(node.State()->last_message_ref == before->last_message_ref);
  REQUIRE(node.Append(MakeMessage("k2")).kind == Appended::Kind::kNew);
  REQUIRE(WalkKeys(node) == Keys{"k1", "k2"});
  RequireSound(node);
}

TEST_CASE("A transaction that cannot begin does not take back the one before", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  node.Append(MakeMessage("k1"));
  const LogStatePtr before = node.State();
  Database other(node.path(), SQLITE_OPEN_READWRITE);
  other.Execute("BEGIN IMMEDIATE");
  sqlite3_busy_timeout(node.db->handle(), 0);
  REQUIRE_THROWS_AS(node.log->Begin(), SqliteError);
  node.log->Rollback();
  REQUIRE(node.State()->heads == before->heads);
  REQUIRE(node.State()->live == before->live);
  REQUIRE(node.State()->messages == 1);
  other.Execute("ROLLBACK");
  REQUIRE(node.Append(MakeMessage("k2")).kind == Appended::Kind::kNew);
  REQUIRE(node.State()->heads.at(*before->live).seq == 2);
  RequireSound(node);
}

TEST_CASE("Rollback after a commit changes nothing", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  node.Append(MakeMessage("k1"));
  const LogStatePtr before = node.State();
  node.log->Rollback();
  REQUIRE(node.State()->heads == before->heads);
  REQUIRE(node.State()->live == before->live);
}

TEST_CASE("Every start has an epoch of its own, above the known ones", "[log]") {
  Fixture f;
  std::vector<EpochKey> seen;
  for (int start = 0; start < 3; ++start) {
    LogProcess node = f.Open("a");
    REQUIRE_FALSE(node.State()->live);
    node.Append(MakeMessage("k" + std::to_string(start)));
    seen.push_back(*node.State()->live);
    REQUIRE(seen.back().epoch >> 32 == static_cast<uint64_t>(start) + 1);
    REQUIRE(node.State()->heads.size() == static_cast<size_t>(start) + 1);
    RequireSound(node);
  }
}

TEST_CASE("Two copies of one disk never write the same epoch", "[log]") {
  Fixture f;
  {
    LogProcess node = f.Open("a");
    node.Append(MakeMessage("k1"));
  }
  std::filesystem::copy_file(f.dir.File("a.db"), f.dir.File("copy.db"));
  LogProcess one = f.Open("a");
  LogProcess two(f.dir.File("copy.db"), "a", f.clock, f.random);
  one.Append(MakeMessage("one"));
  two.Append(MakeMessage("two"));
  REQUIRE(*one.State()->live != *two.State()->live);
}

TEST_CASE("The last counter does not wrap", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  node.Do([](Log& log) { log.NoteCounter(0xffffffff); });
  node.Append(MakeMessage("k1"));
  const EpochKey first = *node.State()->live;
  REQUIRE(first.epoch >> 32 == 0xffffffff);
  node.Do([&](Log& log) { log.AbandonLiveEpoch(first); });
  node.Append(MakeMessage("k2"));
  REQUIRE(*node.State()->live != first);
  REQUIRE(node.State()->live->epoch >> 32 == 0xffffffff);
}

TEST_CASE("Only the live epoch can be abandoned", "[log]") {
  Fixture f;
  LogProcess node = f.Open("a");
  node.Append(MakeMessage("k1"));
  const EpochKey first = *node.State()->live;
  node.Do([&](Log& log) { log.AbandonLiveEpoch({"a", first.epoch + 1}); });
  REQUIRE(node.State()->live == first);
  REQUIRE_FALSE(node.State()->id_runs_twice);
  node.Do([&](Log& log) { log.AbandonLiveEpoch(first); });
  REQUIRE_FALSE(node.State()->live);
  REQUIRE(node.State()->id_runs_twice);
}

TEST_CASE("Records of another node are taken in order", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  for (int i = 0; i < 4; ++i) a.Append(MakeMessage("k" + std::to_string(i)));
  const EpochKey epoch = *a.State()->live;
  const VerifiedRun whole = RunOf(a, epoch);

  SECTION("at once") {
    REQUIRE(b.Do([&](Log& log) { return log.Apply(whole); }).records == 4);
  }
  SECTION("twice: what is held is skipped") {
    VerifiedRun first = whole;
    first.records.resize(2);
    REQUIRE(b.Do([&](Log& log) { return log.Apply(first); }).records == 2);
    REQUIRE(b.Do([&](Log& log) { return log.Apply(whole); }).records == 2);
    REQUIRE(b.Do([&](Log& log) { return log.Apply(whole); }).records == 0);
  }
  SECTION("not with a gap") {
    VerifiedRun rest = whole;
    rest.base = {2, whole.records[1].record.chain};
    rest.records.erase(rest.records.begin(), rest.records.begin() + 2);
    const Applied applied = b.Do([&](Log& log) { return log.Apply(rest); });
    REQUIRE(applied.records == 0);
    REQUIRE(applied.stopped);
    REQUIRE(b.State()->epochs.empty());
    b.Do([&](Log& log) { return log.Apply(whole); });
  }
  REQUIRE(b.State()->heads == a.State()->heads);
  REQUIRE(WalkKeys(b) == WalkKeys(a));
  RequireSound(b);
}

TEST_CASE("A message known from elsewhere takes a record and no second row", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  const Stamp early = StampFromMs(f.clock.wall_ms - 10'000);
  a.Append(MakeMessage("k"), early);
  b.Append(MakeMessage("k"));
  const EpochKey epoch = *a.State()->live;

  SECTION("with its body") {
    b.Do([&](Log& log) { return log.Apply(RunOf(a, epoch)); });
  }
  SECTION("without") {
    const VerifiedRun bare = RunOf(a, epoch, {0, ChainSeed("test", epoch)}, false);
    REQUIRE(b.Do([&](Log& log) { return log.Apply(bare); }).records == 1);
  }
  SECTION("without body and hint") {
    VerifiedRun bare = RunOf(a, epoch, {0, ChainSeed("test", epoch)}, false);
    bare.records[0].id.reset();
    REQUIRE(b.Do([&](Log& log) { return log.Apply(bare); }).records == 1);
  }
  REQUIRE(b.State()->messages == 1);
  REQUIRE(b.State()->heads.size() == 2);
  REQUIRE(WalkKeys(b) == Keys{"k"});
  // The smallest stamp counts.
  REQUIRE(b.Append(MakeMessage("k")).stamp == early);
  RequireSound(b);
}

TEST_CASE("A record whose body is nowhere is not taken", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  a.Append(MakeMessage("k1"));
  a.Append(MakeMessage("k2"));
  const EpochKey epoch = *a.State()->live;
  VerifiedRun run = RunOf(a, epoch);
  run.records[1].message.reset();
  const Applied applied = b.Do([&](Log& log) { return log.Apply(run); });
  REQUIRE(applied.records == 1);
  REQUIRE(applied.stopped);
  REQUIRE(HeadOf(b, epoch).seq == 1);
  RequireSound(b);
}

TEST_CASE("A record whose omitted body is damaged here begins a repair", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  LogProcess c = f.Open("c");
  a.Append(MakeMessage("k"));
  c.Append(MakeMessage("k"));
  const EpochKey of_a = *a.State()->live;
  const EpochKey of_c = *c.State()->live;
  b.Do([&](Log& log) { return log.Apply(RunOf(a, of_a)); });
  b.db->Execute("UPDATE messages SET text='jello'");
  const VerifiedRun bare = RunOf(c, of_c, {0, ChainSeed("test", of_c)}, false);
  REQUIRE(b.Do([&](Log& log) { return log.Apply(bare); }).stopped);
  // `have` no longer covers the message: the next answers bring it whole.
  REQUIRE(b.State()->heads.empty());
  REQUIRE(b.State()->messages == 0);
  b.Do([&](Log& log) { return log.Apply(RunOf(c, of_c)); });
  b.Do([&](Log& log) { return log.Apply(RunOf(a, of_a)); });
  REQUIRE(WalkKeys(b) == Keys{"k"});
  RequireSound(b);
}

TEST_CASE("A record of an unknown kind is kept and passed on, and not shown", "[log]") {
  Fixture f;
  LogProcess b = f.Open("b");
  LogProcess c = f.Open("c");
  VerifiedRun run;
  run.epoch = {"z", uint64_t{7} << 32};
  run.base = {0, ChainSeed("test", run.epoch)};
  VerifiedRecord record;
  record.record.epoch = run.epoch;
  record.record.seq = 1;
  record.record.kind = "room.v2";
  record.record.stamp = StampFromMs(f.clock.wall_ms);
  record.payload = std::string("\0\xff payload", 10);
  record.record.digest = Sha256(*record.payload);
  record.record.chain = NextChain(run.base.chain, record.record);
  run.records.push_back(record);
  REQUIRE(b.Do([&](Log& log) { return log.Apply(run); }).records == 1);
  const VerifiedRun relayed = RunOf(b, run.epoch);
  REQUIRE(relayed.records[0].payload == record.payload);
  REQUIRE(relayed.records[0].record.kind == "room.v2");
  c.Do([&](Log& log) { return log.Apply(relayed); });
  REQUIRE(c.State()->heads == b.State()->heads);
  REQUIRE(WalkKeys(c).empty());
  RequireSound(c);
}

TEST_CASE("A forked epoch is frozen, and its messages are announced anew", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  LogProcess c = f.Open("c");
  c.Append(MakeMessage("k2"));
  a.Append(MakeMessage("k1"));
  a.Append(MakeMessage("k2"));
  a.Append(MakeMessage("k3"));
  const EpochKey epoch = *a.State()->live;
  b.Do([&](Log& log) { return log.Apply(RunOf(c, *c.State()->live)); });
  b.Do([&](Log& log) { return log.Apply(RunOf(a, epoch)); });

  // Another branch: the same messages, the last under another stamp.
  VerifiedRun other = RunOf(a, epoch);
  other.records[2].record.stamp += 5;
  other.records[2].record.chain = NextChain(other.records[1].record.chain, other.records[2].record);

  SECTION("found when records are applied") {
    const Applied applied = b.Do([&](Log& log) { return log.Apply(other); });
    REQUIRE(applied.records == 0);
    REQUIRE(applied.stopped);
  }
  SECTION("told by a peer") {
    b.Do([&](Log& log) { log.Freeze({epoch, 0}); });
  }
  const LogStatePtr state = b.State();
  REQUIRE(state->forks == std::vector<EpochKey>{epoch});
  REQUIRE(state->heads.count(epoch) == 0);
  // k2 is vouched for by c's record.
  REQUIRE(state->heads.at(*state->live).seq == 2);
  REQUIRE(WalkKeys(b) == WalkKeys(a));
  RequireSound(b);

  // It stays frozen: over a restart, and against more of it.
  const auto more = RunOf(a, epoch);
  REQUIRE(b.Do([&](Log& log) { return log.Apply(more); }).records == 0);
  b.Do([&](Log& log) { log.Freeze({epoch, 2}); });
  REQUIRE(b.State()->heads == state->heads);
}

TEST_CASE("What only a frozen epoch vouches for after a repair is announced anew",
          "[log][damage]") {
  Fixture f;
  LogProcess a = f.Open("a");
  LogProcess b = f.Open("b");
  a.Append(MakeMessage("k1"));
  a.Append(MakeMessage("k2"));
  const EpochKey epoch = *a.State()->live;
  b.Do([&](Log& log) { return log.Apply(RunOf(a, epoch)); });
  b.Do([&](Log& log) { log.Freeze({epoch, 0}); });
  const EpochKey announced = *b.State()->live;
  REQUIRE(b.State()->heads.at(announced).seq == 2);

  // The announcement of k2 is gone from the disk, and says no more which message it was for.
  b.db->Execute("DELETE FROM records WHERE arrival=(SELECT max(arrival) FROM records)");
  b.Do([&](Log& log) { log.Repair({announced, 2}); });
  const LogStatePtr state = b.State();
  REQUIRE(state->heads.at(announced).seq == 1);
  REQUIRE(state->heads.at(*state->live).seq == 1);
  REQUIRE(WalkKeys(b) == WalkKeys(a));
  RequireSound(b);
}

TEST_CASE("A frozen live epoch is not written any more", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  a.Append(MakeMessage("k1"));
  const EpochKey first = *a.State()->live;
  a.Do([&](Log& log) { log.Freeze({first, 1}); });
  REQUIRE(a.State()->id_runs_twice);
  REQUIRE(*a.State()->live != first);  // begun by the announcement
  a.Append(MakeMessage("k2"));
  REQUIRE(HeadOf(a, first).seq == 1);
  REQUIRE(a.State()->heads.at(*a.State()->live).seq == 2);
}

TEST_CASE("A fork seen above our head is no news of ours", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  a.Append(MakeMessage("k1"));
  const EpochKey epoch = *a.State()->live;
  a.Do([&](Log& log) { log.Freeze({epoch, 2}); });
  REQUIRE(a.State()->forks.empty());
  REQUIRE(a.State()->live == epoch);
}

TEST_CASE("Records of our live epoch by somebody else end it", "[log]") {
  Fixture f;
  LogProcess a = f.Open("a");
  a.Append(MakeMessage("k1"));
  const EpochKey epoch = *a.State()->live;
  VerifiedRun twin;
  twin.epoch = epoch;
  twin.base = HeadOf(a, epoch);
  VerifiedRecord record;
  record.message = MakeMessage("of the twin");
  record.record.epoch = epoch;
  record.record.seq = 2;
  record.record.stamp = StampFromMs(f.clock.wall_ms);
  record.record.digest = record.message->digest();
  record.record.chain = NextChain(twin.base.chain, record.record);
  twin.records.push_back(record);
  REQUIRE(a.Do([&](Log& log) { return log.Apply(twin); }).records == 1);
  REQUIRE(a.State()->id_runs_twice);
  a.Append(MakeMessage("k2"));
  REQUIRE(*a.State()->live != epoch);
  REQUIRE(HeadOf(a, epoch).seq == 2);
  RequireSound(a);
}

// Damage. Node b holds a's epoch (k0..k4) and a message of its own.
struct DamageFixture : Fixture {
  LogProcess a = Open("a");
  LogProcess b = Open("b");
  EpochKey of_a;
  EpochKey of_b;

  DamageFixture() {
    for (int i = 0; i < 5; ++i) a.Append(MakeMessage("k" + std::to_string(i)));
    of_a = *a.State()->live;
    b.Append(MakeMessage("own"));
    of_b = *b.State()->live;
    b.Do([&](Log& log) { return log.Apply(RunOf(a, of_a)); });
  }
  void Repair(const EpochKey& epoch, Seq seq) {
    b.Do([&](Log& log) { log.Repair({epoch, seq}); });
    RequireSound(b);
  }
  void RequireHealed() {
    b.Do([&](Log& log) { return log.Apply(RunOf(a, of_a)); });
    REQUIRE(HeadOf(b, of_a) == HeadOf(a, of_a));
    Keys keys = WalkKeys(b);
    std::sort(keys.begin(), keys.end());
    REQUIRE(keys == Keys{"k0", "k1", "k2", "k3", "k4", "own"});
    REQUIRE(b.State()->messages == 6);
    RequireSound(b);
  }
};

TEST_CASE("A sound record is not repaired", "[log][damage]") {
  DamageFixture f;
  const LogStatePtr before = f.b.State();
  for (Seq seq = 0; seq < 8; ++seq) f.Repair(f.of_a, seq);
  f.b.Do([&](Log& log) { log.RepairMessage(3); });
  REQUIRE(f.b.State()->heads == before->heads);
}

TEST_CASE("A damaged body lowers the head, and is fetched again", "[log][damage]") {
  DamageFixture f;
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key='k2'");
  SECTION("found by its record") {
    f.Repair(f.of_a, 3);
  }
  SECTION("found by a reader") {
    const int64_t ref = f.b.Count("SELECT ref FROM messages WHERE key='k2'");
    f.b.Do([&](Log& log) { log.RepairMessage(ref); });
    RequireSound(f.b);
  }
  REQUIRE(HeadOf(f.b, f.of_a).seq == 2);
  // k3 and k4 are intact: announced, so that they are not lost with node a.
  REQUIRE(HeadOf(f.b, f.of_b).seq == 3);
  Keys keys = WalkKeys(f.b);
  std::sort(keys.begin(), keys.end());
  REQUIRE(keys == Keys{"k0", "k1", "k3", "k4", "own"});
  f.RequireHealed();
}

TEST_CASE("A damaged chain, stamp or missing row lowers the head", "[log][damage]") {
  DamageFixture f;
  const int64_t ref = f.b.Count("SELECT ref FROM epochs WHERE origin='a'");
  const std::string where = " WHERE seq=3 AND epoch=" + std::to_string(ref);
  SECTION("chain") {
    f.b.db->Execute(("UPDATE records SET chain=zeroblob(32)" + where).c_str());
  }
  SECTION("chain of another length") {
    f.b.db->Execute(("UPDATE records SET chain=x'00'" + where).c_str());
  }
  SECTION("stamp") {
    f.b.db->Execute(("UPDATE records SET stamp=stamp+1" + where).c_str());
  }
  SECTION("row") {
    f.b.db->Execute(("DELETE FROM records" + where).c_str());
  }
  f.Repair(f.of_a, 3);
  REQUIRE(HeadOf(f.b, f.of_a).seq == 2);
  f.RequireHealed();
}

TEST_CASE("A head never rests on a damaged record", "[log][damage]") {
  DamageFixture f;
  const int64_t ref = f.b.Count("SELECT ref FROM epochs WHERE origin='a'");
  // The body at 4, and the chain at 3: below 4 there is nothing yet to stand on.
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key='k3'");
  f.b.db->Execute(
      ("UPDATE records SET chain=zeroblob(32) WHERE seq=3 AND epoch=" + std::to_string(ref))
          .c_str());
  f.Repair(f.of_a, 4);
  REQUIRE(HeadOf(f.b, f.of_a).seq == 2);
  f.RequireHealed();
}

TEST_CASE("A damaged record of our own live epoch begins a new one", "[log][damage]") {
  DamageFixture f;
  f.b.Append(MakeMessage("own2"));
  f.b.Append(MakeMessage("own3"));
  const Seq head = HeadOf(f.b, f.of_b).seq;
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key='own2'");
  f.Repair(f.of_b, head - 1);
  REQUIRE(HeadOf(f.b, f.of_b).seq == head - 2);
  const EpochKey fresh = *f.b.State()->live;
  REQUIRE(fresh != f.of_b);
  REQUIRE(f.b.State()->heads.at(fresh).seq == 1);  // own3, announced
  REQUIRE_FALSE(f.b.State()->id_runs_twice);
}

TEST_CASE("A damaged message that no record names is removed", "[log][damage]") {
  DamageFixture f;
  const int64_t ref = f.b.Count("SELECT ref FROM messages WHERE key='k4'");
  // Two bodies: the repair of the first takes the record of the second away.
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key IN ('k2', 'k4')");
  f.Repair(f.of_a, 3);
  REQUIRE(f.b.Count("SELECT count(*) FROM messages WHERE ref=" + std::to_string(ref)) == 0);
  Keys keys = WalkKeys(f.b);
  std::sort(keys.begin(), keys.end());
  REQUIRE(keys == Keys{"k0", "k1", "k3", "own"});
  f.RequireHealed();
}

TEST_CASE("A damaged message takes every record of it along", "[log][damage]") {
  DamageFixture f;
  LogProcess c = f.Open("c");
  c.Append(MakeMessage("k1"));
  c.Append(MakeMessage("own"));
  const EpochKey of_c = *c.State()->live;
  f.b.Do([&](Log& log) { return log.Apply(RunOf(c, of_c)); });
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key='k1'");
  f.Repair(f.of_a, 2);
  REQUIRE(HeadOf(f.b, f.of_a).seq == 1);
  REQUIRE(f.b.State()->heads.count(of_c) == 0);
  f.b.Do([&](Log& log) { return log.Apply(RunOf(c, of_c)); });
  f.RequireHealed();
  REQUIRE(HeadOf(f.b, of_c) == HeadOf(c, of_c));
}

TEST_CASE("A damaged message that comes in again is whole again", "[log][damage]") {
  DamageFixture f;
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key IN ('k2', 'own')");
  SECTION("sent again") {
    REQUIRE(f.b.Append(MakeMessage("k2")).kind == Appended::Kind::kKnown);
    REQUIRE(f.b.Append(MakeMessage("own")).kind == Appended::Kind::kKnown);
  }
  SECTION("pulled again") {
    LogProcess c = f.Open("c");
    c.Append(MakeMessage("k2"));
    c.Append(MakeMessage("own"));
    f.b.Do([&](Log& log) { return log.Apply(RunOf(c, *c.State()->live)); });
  }
  f.RequireHealed();
}

TEST_CASE("A message whose record is gone is announced", "[log][damage]") {
  DamageFixture f;
  f.b.db->Execute("DELETE FROM records WHERE message=(SELECT ref FROM messages WHERE key='k2')");
  f.Repair(f.of_a, 3);
  // k2 as well as k3 and k4.
  REQUIRE(HeadOf(f.b, f.of_b).seq == 4);
  f.RequireHealed();
}

TEST_CASE("A frozen epoch with a damaged body is repaired too", "[log][damage]") {
  DamageFixture f;
  f.b.db->Execute("UPDATE messages SET text='jello' WHERE key='k1'");
  f.b.Do([&](Log& log) { log.Freeze({f.of_a, 0}); });
  RequireSound(f.b);
  Keys keys = WalkKeys(f.b);
  std::sort(keys.begin(), keys.end());
  REQUIRE(keys == Keys{"k0", "k2", "k3", "k4", "own"});
}

TEST_CASE("Our own damage is not a fork", "[log][damage]") {
  DamageFixture f;
  const int64_t ref = f.b.Count("SELECT ref FROM epochs WHERE origin='a'");
  f.b.db->Execute(
      ("UPDATE records SET chain=zeroblob(32) WHERE seq=3 AND epoch=" + std::to_string(ref))
          .c_str());
  f.b.Do([&](Log& log) { log.Freeze({f.of_a, 3}); });
  REQUIRE(f.b.State()->forks.empty());
  REQUIRE(HeadOf(f.b, f.of_a).seq == 2);
  f.RequireHealed();
}

TEST_CASE("Damage of our own live epoch, seen at a peer's head, is no twin", "[log][damage]") {
  DamageFixture f;
  const Position shown = HeadOf(f.b, f.of_b);
  f.b.Append(MakeMessage("own2"));
  const int64_t ref = f.b.Count("SELECT ref FROM epochs WHERE origin='b'");
  f.b.db->Execute(
      ("UPDATE records SET chain=zeroblob(32) WHERE seq=1 AND epoch=" + std::to_string(ref))
          .c_str());
  SyncAnswer answer;
  answer.node = "a";
  answer.heads = {{f.of_b, shown}};
  const Verdict verdict = f.b.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    return VerifyAnswer(std::move(answer), {*state, LogProcess::kCluster, "b", "b1"}, reader);
  });
  f.b.Do([&](Log& log) { log.Heed(verdict.findings); });
  const LogStatePtr state = f.b.State();
  REQUIRE_FALSE(state->id_runs_twice);
  REQUIRE(state->forks.empty());
  REQUIRE(HeadOf(f.b, f.of_b).seq == 0);
  REQUIRE(state->live != f.of_b);
  Keys keys = WalkKeys(f.b);
  REQUIRE(std::count(keys.begin(), keys.end(), "own") == 1);
  REQUIRE(std::count(keys.begin(), keys.end(), "own2") == 1);
  RequireSound(f.b);
}

TEST_CASE("At the start a head that differs from its records is mended", "[log][damage]") {
  Fixture f;
  LogProcess a = f.Open("a");
  for (int i = 0; i < 4; ++i) a.Append(MakeMessage("k" + std::to_string(i)));
  const EpochKey epoch = *a.State()->live;
  {
    LogProcess b = f.Open("b");
    b.Do([&](Log& log) { return log.Apply(RunOf(a, epoch)); });
    SECTION("the last record's chain") {
      b.db->Execute("UPDATE records SET chain=zeroblob(32) WHERE seq=4");
    }
    SECTION("the last record's number") {
      b.db->Execute("UPDATE records SET seq=12 WHERE seq=4");
    }
    SECTION("the last row is gone") {
      b.db->Execute("DELETE FROM records WHERE seq=4");
    }
    SECTION("the head's chain") {
      b.db->Execute("UPDATE epochs SET chain=zeroblob(32)");
    }
    SECTION("the head's number") {
      b.db->Execute("UPDATE epochs SET seq=9");
    }
  }
  for (int start = 0; start < 2; ++start) {
    LogProcess b = f.Open("b");
    RequireSound(b);
    REQUIRE(HeadOf(b, epoch).seq >= 3);
    REQUIRE(
        b.Count("SELECT count(*) FROM epochs e WHERE e.chain<>(SELECT chain FROM records r WHERE "
                "r.epoch=e.ref AND r.seq=e.seq)") == 0);
    Keys keys = WalkKeys(b);
    std::sort(keys.begin(), keys.end());
    REQUIRE(keys.size() >= 3);
    b.Do([&](Log& log) { return log.Apply(RunOf(a, epoch)); });
    REQUIRE(HeadOf(b, epoch) == HeadOf(a, epoch));
  }
}

TEST_CASE("The index by name survives what happens to a message before it is written",
          "[log][damage]") {
  Fixture f;
  auto node = std::make_unique<LogProcess>(f.dir.File("a.db"), "a", f.clock, f.random);
  const auto restart = [&] {
    node.reset();
    node = std::make_unique<LogProcess>(f.dir.File("a.db"), "a", f.clock, f.random);
  };
  const auto found = [&] {
    return node->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      Filter filter;
      filter.sender = "eve";
      HistoryQuery query;
      query.filter = &filter;
      return reader.ReadHistory(query, *state, CopyNames(node->log->name_tail(), filter))
          .page.items.size();
    });
  };
  SECTION("removed and taken again under a smaller stamp") {
    const ValidMessage message = MakeMessage("k", "hello", "eve");
    const Stamp stamp = StampFromMs(f.clock.wall_ms);
    const int64_t ref = node->Append(message, stamp).message_ref;
    node->db->Execute("UPDATE messages SET text='damaged'");
    node->Do([&](Log& log) { log.RepairMessage(ref); });
    REQUIRE(found() == 0);
    node->Append(message, stamp + 1000);
    node->Append(MakeMessage("filler", "hello", "zoe"));
    LogProcess other = f.Open("b");
    other.Append(message, stamp);
    const EpochKey epoch = *other.State()->live;
    const VerifiedRun run = RunOf(other, epoch, {0, ChainSeed(LogProcess::kCluster, epoch)});
    node->Do([&](Log& log) { log.Apply(run); });
    REQUIRE(found() == 1);
    node->log->Flush();
    REQUIRE(found() == 1);
  }
  SECTION("its number was that of a message that is gone") {
    const int64_t ref = node->Append(MakeMessage("gone", "hello", "eve")).message_ref;
    node->log->Flush();
    node->db->Execute("UPDATE messages SET text='damaged'");
    node->Do([&](Log& log) { log.RepairMessage(ref); });
    restart();
    node->Append(MakeMessage("new", "hello", "eve"));
    REQUIRE(found() == 1);
    restart();
    REQUIRE(found() == 1);
  }
  SECTION("removed, and taken again at the place that the table has of it") {
    const ValidMessage message = MakeMessage("k", "hello", "eve");
    const Stamp stamp = StampFromMs(f.clock.wall_ms);
    const int64_t ref = node->Append(message, stamp).message_ref;
    node->log->Flush();
    node->db->Execute("UPDATE messages SET text='damaged'");
    node->Do([&](Log& log) { log.RepairMessage(ref); });
    REQUIRE(node->Append(message, stamp).message_ref != ref);
    REQUIRE(found() == 1);
    restart();
    REQUIRE(found() == 1);
    node->log->Flush();
    REQUIRE(found() == 1);
  }
}

}  // namespace chatchain
