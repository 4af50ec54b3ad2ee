// SPDX-License-Identifier: MIT
#include "node/store/record_tail.h"

#include <catch2/catch.hpp>

#include "node/sync/serve.h"
#include "tests/support/store_test.h"

namespace chatchain {
namespace {

using test::LogProcess;
using test::MakeMessage;
using test::ManualClock;
using test::RunOf;
using test::SeededRandom;
using test::TempDir;

struct Node {
  explicit Node(std::string id, uint64_t seed = 1)
      : random(seed), log(dir.File(id + ".db"), id, clock, random) {}

  EpochKey live() { return *log.State()->live; }
  Position head() { return log.State()->heads.at(live()); }

  struct Given {
    std::string json;
    size_t records = 0;
    bool from_tables = false;
    std::vector<CorruptRecord> corrupt;
  };
  // What a puller with `have` is sent, from the tables alone or from the memory first.
  Given Serve(const HeadVector& have, bool with_memory, size_t max_bytes = 1 << 20,
              size_t limit = 1000) {
    SyncRequest request;
    request.cluster = LogProcess::kCluster;
    request.node = "puller";
    request.have = have;
    request.max_bytes = max_bytes;
    request.limit = limit;
    return log.WithReader([&](ReadConnection& tables, const LogStatePtr& state) {
      Given given;
      TailReader memory(log.log->record_tail(), [&]() -> LogReader& {
        given.from_tables = true;
        return tables;
      });
      LogReader& reader = with_memory ? static_cast<LogReader&>(memory) : tables;
      Served served =
          ServeSync(request, {*state, reader, LogProcess::kCluster, log.id(), "instance"});
      given.json = std::move(served.records_json);
      given.records = served.records;
      given.corrupt = std::move(served.findings.corrupt);
      return given;
    });
  }
  // All positions of the live epoch, 0 first.
  std::vector<Position> Positions() {
    std::vector<Position> positions = {{0, ChainSeed(LogProcess::kCluster, live())}};
    for (const VerifiedRecord& each : RunOf(log, live()).records) {
      positions.push_back({each.record.seq, each.record.chain});
    }
    return positions;
  }

  TempDir dir;
  ManualClock clock;
  SeededRandom random;
  LogProcess log;
};

HeadVector Having(const EpochKey& epoch, const Position& position) {
  return position.seq == 0 ? HeadVector{} : HeadVector{{epoch, position}};
}

TEST_CASE("A peer is sent from memory what the tables would give", "[record_tail]") {
  Node node("a");
  Node other("b", 2);
  for (int i = 0; i < 60; ++i) {
    const auto message = MakeMessage("k" + std::to_string(i), std::string(i * 7 % 90 + 1, 'x'));
    node.log.Append(message);
    // Some messages have a record of another node too, which comes later, or was here first.
    if (i % 9 == 4) {
      other.log.Append(message);
      node.log.Do([&](Log& log) { return log.Apply(RunOf(other.log, other.live())); });
    }
  }
  size_t without_tables = 0;
  for (const Position& from : node.Positions()) {
    HeadVector have = Having(node.live(), from);
    // Who has the other node's records is not sent the bodies that they have in common.
    if (from.seq % 2 == 1) have.emplace(other.live(), other.head());
    for (const size_t max_bytes : {1UL, 700UL, 100'000UL}) {
      for (const size_t limit : {1UL, 5UL, 1000UL}) {
        INFO("from " << from.seq << ", " << max_bytes << " bytes, " << limit << " records");
        const Node::Given tables = node.Serve(have, false, max_bytes, limit);
        const Node::Given memory = node.Serve(have, true, max_bytes, limit);
        CHECK(memory.json == tables.json);
        CHECK(memory.records == tables.records);
        CHECK(memory.corrupt.empty());
        without_tables += memory.records > 0 && !memory.from_tables ? 1 : 0;
      }
    }
  }
  CHECK(without_tables > 10);
}

TEST_CASE("The newest records are sent without a look at the tables", "[record_tail]") {
  Node node("a");
  for (int i = 0; i < 100; ++i) node.log.Append(MakeMessage("k" + std::to_string(i)));
  const std::vector<Position> positions = node.Positions();
  const auto newest = node.Serve(Having(node.live(), positions[95]), true);
  CHECK(newest.records == 5);
  CHECK_FALSE(newest.from_tables);
  // The memory is bounded.
  const auto old = node.Serve(Having(node.live(), positions[3]), true);
  CHECK(old.records == 97);
  CHECK(old.from_tables);
}

TEST_CASE("What was rolled back is never sent", "[record_tail]") {
  Node node("a");
  node.log.Append(MakeMessage("k1"));
  const Position before = node.head();
  node.log.log->Begin();
  node.log.log->Append({MakeMessage("gone"), {}});
  node.log.log->Rollback();
  node.log.Do([](Log& log) { log.NoteCounter(1); });  // a commit that appends nothing
  CHECK(node.log.log->record_tail().ChainAt(node.live(), before.seq + 1) == std::nullopt);
  node.log.Append(MakeMessage("k2"));
  node.log.Append(MakeMessage("k3"));
  const auto given = node.Serve(Having(node.live(), before), true);
  CHECK(given.records == 2);
  CHECK(given.json.find("gone") == std::string::npos);
  CHECK(given.json == node.Serve(Having(node.live(), before), false).json);
}

TEST_CASE("What was given up as damaged is not sent from memory", "[record_tail]") {
  Node node("a");
  for (int i = 0; i < 5; ++i) node.log.Append(MakeMessage("k" + std::to_string(i)));
  const std::vector<Position> positions = node.Positions();
  const EpochKey epoch = node.live();
  node.log.db->Execute("UPDATE messages SET text='changed' WHERE key='k3'");
  // What is damaged on disk only is sent from memory as it was acknowledged.
  const auto sound = node.Serve(Having(epoch, positions[2]), true);
  CHECK(sound.json.find("\"k3\"") != std::string::npos);
  CHECK(sound.records == 3);
  CHECK_FALSE(sound.from_tables);
  CHECK(node.Serve(Having(epoch, positions[2]), false).corrupt.size() == 1);
  node.log.Do([&](Log& log) { log.Repair({epoch, 4}); });
  CHECK(node.log.State()->heads.at(epoch).seq == 3);
  CHECK(node.log.log->record_tail().ChainAt(epoch, 2) == std::nullopt);
  for (const bool with_memory : {false, true}) {
    const auto given = node.Serve(Having(epoch, positions[2]), with_memory);
    CHECK(given.json.find("k3") == std::string::npos);
    CHECK(given.corrupt.empty());
  }
}

TEST_CASE("Another branch finds nothing in memory", "[record_tail]") {
  Node node("a");
  for (int i = 0; i < 5; ++i) node.log.Append(MakeMessage("k" + std::to_string(i)));
  const RecordTail& tail = node.log.log->record_tail();
  const std::vector<Position> positions = node.Positions();
  CHECK(tail.Behind(node.live(), positions[2], 5).size() == 3);
  CHECK(tail.Behind(node.live(), positions[2], 4).size() == 2);
  CHECK(tail.Behind(node.live(), positions[5], 5).empty());
  CHECK(tail.Behind(node.live(), {2, positions[3].chain}, 5).empty());
  CHECK(tail.Behind({"a", 1}, positions[2], 5).empty());
  CHECK(tail.ChainAt(node.live(), 4) == positions[4].chain);
  CHECK(tail.ChainAt(node.live(), 6) == std::nullopt);
}

}  // namespace
}  // namespace chatchain
