// SPDX-License-Identifier: MIT
#include "node/sync/serve.h"

#include <catch2/catch.hpp>

#include "tests/support/fake_log.h"

namespace chatchain {

namespace {

using test::FakeLog;

const EpochKey kMine = {"a", uint64_t{1} << 32 | 7};
const EpochKey kOther = {"b", uint64_t{1} << 32 | 8};
const EpochKey kThird = {"c", uint64_t{1} << 32 | 9};

SyncRequest Request(HeadVector have = {}) {
  SyncRequest request;
  request.cluster = FakeLog::kCluster;
  request.node = "p";
  request.instance = "puller";
  request.have = std::move(have);
  return request;
}

struct Taken {
  Served served;
  std::vector<WireRecord> records;
};

// Through the codec, as it travels.
Taken Serve(FakeLog& log, const SyncRequest& request) {
  Taken taken;
  taken.served = ServeSync(request, {log.state, log, FakeLog::kCluster, "a", "server"});
  auto answer = DecodeSyncAnswer(EncodeSyncAnswer(taken.served.answer, taken.served.records_json));
  REQUIRE(answer);
  REQUIRE(answer->malformed.empty());
  REQUIRE(answer->records.size() == taken.served.records);
  taken.records = std::move(answer->records);
  return taken;
}

size_t CountOf(const Taken& taken, const EpochKey& key) {
  return static_cast<size_t>(
      std::count_if(taken.records.begin(), taken.records.end(),
                    [&](const WireRecord& wire) { return wire.record.epoch == key; }));
}

}  // namespace

TEST_CASE("A puller gets what is above its heads, in order", "[serve]") {
  FakeLog log;
  log.Append(kMine, 5);
  log.Append(kOther, 3);
  const auto have_2 = HeadVector{{kMine, log.At(kMine, 2)}};

  Taken all = Serve(log, Request());
  REQUIRE(all.records.size() == 8);
  REQUIRE_FALSE(all.served.answer.more);
  for (size_t i = 0; i < 5; ++i) REQUIRE(all.records[i].record.seq == i + 1);
  REQUIRE(all.served.findings.empty());
  REQUIRE(all.served.answer.heads == log.state.heads);

  const Taken rest = Serve(log, Request(have_2));
  REQUIRE(rest.records.size() == 6);
  REQUIRE(rest.records[0].record.seq == 3);
  REQUIRE(rest.served.holds == have_2);

  REQUIRE(Serve(log, Request(log.state.heads)).records.empty());
  REQUIRE_FALSE(HasNews(Request(log.state.heads), log.state, "a"));
  REQUIRE(HasNews(Request(have_2), log.state, "a"));
}

TEST_CASE("Without relay only the node's own origin is given", "[serve]") {
  FakeLog log;
  log.Append(kMine, 1);
  log.Append(kOther, 3);
  SyncRequest request = Request();
  request.relay = false;
  REQUIRE(Serve(log, request).records.size() == 1);
  request.have = {{kMine, log.At(kMine, 1)}};
  REQUIRE(Serve(log, request).records.empty());
  REQUIRE_FALSE(HasNews(request, log.state, "a"));
}

TEST_CASE("A page ends at its limits, and says that there is more", "[serve]") {
  FakeLog log;
  log.Append(kMine, 10);
  SyncRequest request = Request();
  SECTION("records") {
    request.limit = 4;
    const Taken page = Serve(log, request);
    REQUIRE(page.records.size() == 4);
    REQUIRE(page.served.answer.more);
    request.have = {{kMine, log.At(kMine, 6)}};
    REQUIRE_FALSE(Serve(log, request).served.answer.more);
  }
  SECTION("bytes: at least one record") {
    request.max_bytes = 1;
    const Taken page = Serve(log, request);
    REQUIRE(page.records.size() == 1);
    REQUIRE(page.served.answer.more);
  }
}

TEST_CASE("An answer goes on behind what the puller is just writing", "[serve]") {
  FakeLog log;
  log.Append(kMine, 6);
  log.Append(kOther, 2);
  SyncRequest request = Request({{kMine, log.At(kMine, 1)}});
  const auto seqs = [&] {
    std::vector<Seq> all;
    for (const WireRecord& wire : Serve(log, request).records) {
      if (wire.record.epoch == kMine) all.push_back(wire.record.seq);
    }
    return all;
  };
  SECTION("a position that is ours too") {
    request.ahead = {{kMine, log.At(kMine, 4)}, {kOther, log.At(kOther, 2)}};
    const Taken page = Serve(log, request);
    REQUIRE(page.records.size() == 2);
    REQUIRE(page.records[0].record.seq == 5);
    REQUIRE_FALSE(page.served.answer.more);
    // It acknowledges nothing.
    REQUIRE(page.served.holds == request.have);
  }
  SECTION("an epoch of which it has nothing yet") {
    request.have.clear();
    request.ahead = {{kMine, log.At(kMine, 4)}};
    REQUIRE(seqs() == std::vector<Seq>{5, 6});
  }
  SECTION("all of it") {
    request.ahead = log.state.heads;
    const Taken page = Serve(log, request);
    REQUIRE(page.records.empty());
    REQUIRE_FALSE(page.served.answer.more);
  }
  SECTION("another branch is ignored") {
    request.ahead = {{kMine, {4, Sha256("x")}}};
    REQUIRE(seqs() == std::vector<Seq>{2, 3, 4, 5, 6});
  }
  SECTION("more than we hold is ignored") {
    request.ahead = {{kMine, {7, log.At(kMine, 6).chain}}};
    REQUIRE(seqs() == std::vector<Seq>{2, 3, 4, 5, 6});
  }
  SECTION("less than it has is ignored") {
    request.have = {{kMine, log.At(kMine, 4)}};
    request.ahead = {{kMine, log.At(kMine, 2)}};
    REQUIRE(seqs() == std::vector<Seq>{5, 6});
  }
  SECTION("a body that only the page being written has is sent") {
    log.AppendCopy(kOther, {kMine, 3});
    request.ahead = {{kMine, log.At(kMine, 6)}, {kOther, log.At(kOther, 2)}};
    const Taken page = Serve(log, request);
    REQUIRE(page.records.size() == 1);
    REQUIRE(page.records[0].message);
  }
}

TEST_CASE("No epoch fills the page of the others", "[serve]") {
  FakeLog log;
  log.Append(kMine, 100);
  log.Append(kOther, 3);
  log.Append(kThird, 100);
  SyncRequest request = Request();
  request.limit = 21;
  SECTION("by records") {}
  SECTION("by bytes") {
    request.limit = 1000;
    request.max_bytes = 6000;
  }
  const Taken page = Serve(log, request);
  REQUIRE(page.served.answer.more);
  REQUIRE(page.records.size() <= request.limit);
  REQUIRE(CountOf(page, kMine) > 0);
  REQUIRE(CountOf(page, kOther) > 0);
  REQUIRE(CountOf(page, kThird) > 0);
  REQUIRE(page.records.size() >= 15);  // what one leaves over goes to the others
}

TEST_CASE("A body that the puller has under another record is left out", "[serve]") {
  FakeLog log;
  log.Append(kOther, 2);
  log.AppendCopy(kMine, {kOther, 2});

  const Taken with = Serve(log, Request({{kOther, log.At(kOther, 2)}}));
  REQUIRE(with.records.size() == 1);
  REQUIRE_FALSE(with.records[0].message);
  REQUIRE(with.records[0].id);  // where the puller finds it

  REQUIRE(Serve(log, Request({{kOther, log.At(kOther, 1)}})).records[0].message);

  // Not where what it has is another branch.
  const Taken forked = Serve(log, Request({{kOther, {2, Sha256("another branch")}}}));
  REQUIRE(CountOf(forked, kMine) == 1);
  REQUIRE(forked.records[0].message);
}

TEST_CASE("A payload of an unknown kind travels whole", "[serve]") {
  FakeLog log;
  log.AppendPayload(kOther, "room.v2", std::string("\0bytes", 6));
  const Taken taken = Serve(log, Request());
  REQUIRE(taken.records[0].payload == std::string("\0bytes", 6));
  REQUIRE(taken.records[0].record.kind == "room.v2");
}

TEST_CASE("Another chain at the puller's head is a fork", "[serve]") {
  FakeLog log;
  log.Append(kMine, 5);
  log.Append(kOther, 5);
  for (const Seq seq : {Seq{5}, Seq{3}, Seq{1}}) {
    const Taken taken = Serve(log, Request({{kOther, {seq, Sha256("x")}}}));
    REQUIRE(taken.served.answer.forks == std::vector<EpochKey>{kOther});
    REQUIRE(taken.served.findings.forked.size() == 1);
    REQUIRE(taken.served.findings.forked[0].seen_at == seq);
    REQUIRE(CountOf(taken, kOther) == 0);
    REQUIRE(CountOf(taken, kMine) == 5);
    REQUIRE(taken.served.holds.empty());
  }
}

TEST_CASE("Damage of ours is neither served nor called a fork", "[serve]") {
  FakeLog log;
  log.Append(kMine, 5);
  SECTION("a chain") {
    log.records.at(kMine)[2].wire.record.chain = Sha256("flipped");
  }
  SECTION("a body") {
    log.records.at(kMine)[2].wire.record.digest = Sha256("flipped");
  }
  SECTION("a row") {
    log.records.at(kMine)[2].wire.record.seq = 99;
  }

  Taken taken = Serve(log, Request());
  REQUIRE(taken.records.size() == 2);
  REQUIRE(taken.served.findings.corrupt.size() == 1);
  REQUIRE(taken.served.findings.corrupt[0].seq == 3);
  REQUIRE(taken.served.answer.forks.empty());
  REQUIRE_FALSE(taken.served.answer.more);

  // The puller holds what is damaged here.
  FakeLog sound;
  sound.Append(kMine, 5);
  taken = Serve(log, Request({{kMine, sound.At(kMine, 3)}}));
  REQUIRE(taken.served.answer.forks.empty());
  REQUIRE(taken.served.findings.forked.empty());
}

TEST_CASE("Frozen epochs are not served, and named to those who hold them", "[serve]") {
  FakeLog log;
  log.Append(kMine, 1);
  log.Append(kOther, 2);
  log.Freeze(kOther);
  REQUIRE(Serve(log, Request()).served.answer.forks.empty());
  const Taken held = Serve(log, Request({{kOther, {1, Sha256("x")}}}));
  REQUIRE(held.served.answer.forks == std::vector<EpochKey>{kOther});
  REQUIRE(CountOf(held, kOther) == 0);
  REQUIRE(held.served.holds.empty());
}

TEST_CASE("An epoch that the puller has frozen is not sent, and frozen here", "[serve]") {
  FakeLog log;
  log.Append(kMine, 1);
  log.Append(kOther, 2);
  SyncRequest request = Request();
  request.forks = {kOther, kThird};
  const Taken taken = Serve(log, request);
  REQUIRE(CountOf(taken, kOther) == 0);
  REQUIRE(taken.records.size() == 1);
  REQUIRE(taken.served.findings.forked.size() == 1);
  REQUIRE(taken.served.findings.forked[0].epoch == kOther);
  request.have = {{kMine, log.At(kMine, 1)}};
  REQUIRE_FALSE(HasNews(request, log.state, "a"));
}

TEST_CASE("A puller ahead of us holds what we hold, except in our own epochs", "[serve]") {
  FakeLog log;
  log.Append(kMine, 2);
  log.Append(kOther, 2);
  log.state.live = kMine;
  const Taken taken = Serve(log, Request({{kMine, {3, Sha256("x")}},
                                          {kOther, {9, Sha256("y")}},
                                          {kThird, {1, Sha256("unknown here")}}}));
  REQUIRE(taken.records.empty());
  REQUIRE(taken.served.holds.size() == 1);
  REQUIRE(taken.served.holds.count(kOther) == 1);
  REQUIRE(taken.served.findings.taken_epoch == kMine);
}

TEST_CASE("Who asks for chains gets those that are held, and nothing else happens", "[serve]") {
  FakeLog log;
  log.Append(kMine, 5);
  log.Append(kOther, 3);
  log.Append(kThird, 2);
  log.Freeze(kThird);
  SyncRequest request = Request({{kOther, {3, Sha256("another branch")}}});
  request.node = "a";  // would be a twin
  request.chains = {{kMine, 1}, {kMine, 5},  {kMine, 6},        {kOther, 2},
                    {kMine, 1}, {kThird, 2}, {{"nobody", 1}, 1}};
  const Taken taken = Serve(log, request);
  CHECK(taken.records.empty());
  CHECK_FALSE(taken.served.answer.more);
  CHECK(taken.served.answer.forks.empty());
  CHECK(taken.served.holds.empty());
  CHECK(taken.served.findings.empty());
  const std::vector<std::pair<LogPosition, Hash>> expected = {
      {{kMine, 1}, log.At(kMine, 1).chain},
      {{kMine, 5}, log.At(kMine, 5).chain},
      {{kOther, 2}, log.At(kOther, 2).chain},
      {{kMine, 1}, log.At(kMine, 1).chain},
      {{kThird, 2}, log.At(kThird, 2).chain}};
  CHECK(taken.served.answer.chains == expected);
  CHECK(taken.served.answer.heads == log.state.heads);

  request.chains.emplace();
  CHECK(Serve(log, request).served.answer.chains->empty());
}

TEST_CASE("A twin is told by its instance", "[serve]") {
  FakeLog log;
  log.Append(kMine, 1);
  log.state.live = kMine;
  SyncRequest request = Request();
  request.node = "a";
  REQUIRE(Serve(log, request).served.findings.twin);
  REQUIRE_FALSE(Serve(log, request).served.findings.taken_epoch);
  request.epoch = kMine.epoch;
  REQUIRE(Serve(log, request).served.findings.taken_epoch == kMine);
  request.instance = "server";  // we pull from ourselves
  REQUIRE_FALSE(Serve(log, request).served.findings.twin);
}

}  // namespace chatchain
