// SPDX-License-Identifier: MIT
#include "node/service/feed.h"

#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <set>

#include "tests/support/store_test.h"

namespace chatchain::test {

namespace {

// A Storage that reads pages and feeds, over one node's log.
class LogStorage final : public Storage {
 public:
  explicit LogStorage(LogProcess& process) : process_(process) {}

  LogStatePtr State() const override { return process_.State(); }
  WriteState write_state() const override { return WriteState::kWritable; }
  Result<std::vector<Appended>, WriteError> Append(std::shared_ptr<const std::vector<AppendItem>>,
                                                   SteadyTime) override {
    return Err(WriteError{});
  }
  void AppendLater(AppendItem, SteadyTime,
                   std::function<void(Result<Appended, WriteError>)> done) override {
    done(Err(WriteError{}));
  }
  Try<HistoryPage> ReadHistory(const HistoryQuery& query, const LogState& state) override {
    ReadPage read = process_.WithReader([&](ReadConnection& reader, const LogStatePtr&) {
      return reader.ReadHistory(query, state, CopyNames(process_.log->name_tail(), *query.filter));
    });
    if (read.damage) return Err(Unavailable("damaged"));
    return std::move(read.page);
  }
  Try<FeedPage> ReadFeed(const FeedQuery& query, const LogState& state) override {
    ReadFeedPage read = process_.WithReader(
        [&](ReadConnection& reader, const LogStatePtr&) { return reader.ReadFeed(query, state); });
    if (read.damage) return Err(Unavailable("damaged"));
    return std::move(read.page);
  }
  Try<std::optional<ShownMessage>> Find(const MessageId&) override {
    return Err(Unavailable("not here"));
  }
  Try<std::vector<std::pair<EpochKey, Seq>>> PositionsOf(int64_t) override {
    return Err(Unavailable("not here"));
  }

 private:
  LogProcess& process_;
};

// Nobody to catch up from; what was asked for is lost, or only not here.
class NoPeers final : public CatchUp {
 public:
  Outcome Reach(const TokenVector& wanted, SteadyTime) override {
    ++asked;
    Outcome outcome;
    if (lost) {
      for (const auto& [key, mark] : wanted) outcome.lost.push_back(key);
    } else {
      outcome.behind = true;
    }
    return outcome;
  }
  bool lost = false;
  int asked = 0;
};

struct Node {
  Node(const TempDir& dir, const std::string& id, const Clock& clock, Random& random)
      : process(dir.File(id + ".db"), id, clock, random),
        storage(process),
        copies(id),
        service(storage, peers, copies),
        feed(storage, peers, LogProcess::kCluster) {}

  // All epochs of `from` that are not frozen here.
  void Pull(Node& from) {
    const LogStatePtr theirs = from.process.State();
    for (const auto& [key, head] : theirs->heads) {
      const LogStatePtr mine = process.State();
      const auto it = mine->epochs.find(key);
      if (it != mine->epochs.end() && it->second.frozen) continue;
      Position base{0, ChainSeed(LogProcess::kCluster, key)};
      if (it != mine->epochs.end()) base = it->second.head;
      if (base.seq >= head.seq) continue;
      const VerifiedRun run = RunOf(from.process, key, base);
      process.Do([&](Log& log) { log.Apply(run); });
    }
  }

  LogProcess process;
  LogStorage storage;
  NoPeers peers;
  CopyTracker copies;
  Service service;
  Feed feed;
};

const Filter kAll;

std::vector<std::string> KeysOf(const FeedAnswer& answer) {
  std::vector<std::string> keys;
  for (const FeedStep& step : answer.steps) keys.push_back(step.shown.message.key);
  return keys;
}

// Pages of `limit` until the end; `*position` is then there.
std::vector<std::string> ReadOn(Feed& feed, FeedPosition* position, size_t limit = 100) {
  std::vector<std::string> keys;
  for (bool more = true; more;) {
    auto answer = feed.Read(*position, kAll, limit, 1 << 20);
    REQUIRE(answer);
    for (const std::string& key : KeysOf(*answer)) keys.push_back(key);
    *position = answer->position;
    more = answer->more;
  }
  return keys;
}

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("a message with several records is given at the first, once", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(1);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  const ValidMessage both = MakeMessage("both");
  a.process.Append(both);
  b.process.Append(both);
  a.process.Append(MakeMessage("a1"));
  b.process.Append(MakeMessage("b1"));
  a.Pull(b);
  b.Pull(a);

  FeedPosition at_a;
  CHECK(ReadOn(a.feed, &at_a) == Keys{"both", "a1", "b1"});
  FeedPosition at_b;
  CHECK(ReadOn(b.feed, &at_b) == Keys{"both", "b1", "a1"});
  // Both are everywhere now.
  CHECK(a.feed.Encode(at_a.covers) == a.feed.Encode(at_b.covers));
  CHECK(ReadOn(b.feed, &at_a) == Keys{});
}

TEST_CASE("the token after each message continues exactly behind it, also elsewhere", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(2);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  for (int i = 0; i < 6; ++i) {
    const ValidMessage shared = MakeMessage("s" + std::to_string(i));
    a.process.Append(shared);
    if (i % 2 == 0) b.process.Append(shared);
    b.process.Append(MakeMessage("b" + std::to_string(i)));
  }
  a.Pull(b);
  b.Pull(a);
  const auto all = a.feed.Read({}, kAll, 100, 1 << 20);
  REQUIRE(all);
  REQUIRE(all->steps.size() == 12);
  for (size_t i = 0; i < all->steps.size(); ++i) {
    Node& where = i % 2 == 0 ? a : b;
    auto position = where.feed.Decode(all->steps[i].token);
    REQUIRE(position);
    const Keys rest = ReadOn(where.feed, &*position, 1 + i % 3);
    std::set<std::string> seen(rest.begin(), rest.end());
    CHECK(seen.size() == rest.size());
    for (size_t k = 0; k < all->steps.size(); ++k) {
      CAPTURE(i, k);
      CHECK(seen.count(all->steps[k].shown.message.key) == (k > i ? 1 : 0));
    }
  }
}

TEST_CASE("whoever moves between nodes that cover the token sees each message once", "[feed]") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const TempDir dir;
    ManualClock clock;
    SeededRandom random(seed);
    std::vector<std::unique_ptr<Node>> nodes;
    for (const char* id : {"a", "b", "c"}) {
      nodes.push_back(std::make_unique<Node>(dir, id, clock, random));
    }
    std::set<std::string> sent;
    std::multiset<std::string> seen;
    FeedPosition position;
    for (int step = 0; step < 60; ++step) {
      clock.wall_ms += 5;
      if (random.OneIn(2)) {
        const std::string key = "m" + std::to_string(step);
        const ValidMessage message = MakeMessage(key);
        const uint64_t to = 1 + random.Below(7);
        for (size_t i = 0; i < nodes.size(); ++i) {
          if ((to >> i & 1) != 0) nodes[i]->process.Append(message);
        }
        sent.insert(key);
      }
      if (random.OneIn(2)) nodes[random.Below(3)]->Pull(*nodes[random.Below(3)]);
      Node& node = *nodes[random.Below(3)];
      node.feed.Reach(&position, {});
      if (position.behind) continue;
      auto answer = node.feed.Read(position, kAll, 1 + random.Below(4), 1 << 20);
      REQUIRE(answer);
      for (const std::string& key : KeysOf(*answer)) seen.insert(key);
      position = answer->position;
    }
    for (int round = 0; round < 2; ++round) {
      for (auto& to : nodes) {
        for (auto& from : nodes) to->Pull(*from);
      }
    }
    for (const std::string& key : ReadOn(nodes[random.Below(3)]->feed, &position)) seen.insert(key);
    CHECK(seen == std::multiset<std::string>(sent.begin(), sent.end()));
  }
}

TEST_CASE("a position beyond this node stays, and what it covers is not given later", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(3);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  for (const char* key : {"1", "2", "3"}) a.process.Append(MakeMessage(key));
  FeedPosition position;
  CHECK(ReadOn(a.feed, &position) == Keys{"1", "2", "3"});

  b.process.Append(MakeMessage("b"));
  b.feed.Reach(&position, {});
  CHECK(position.behind);
  CHECK_FALSE(position.gap);
  CHECK(ReadOn(b.feed, &position) == Keys{"b"});
  CHECK(position.behind);
  const auto still = b.feed.Read(position, kAll, 10, 1 << 20);
  REQUIRE(still);
  CHECK_FALSE(still->live_after);  // the ring would repeat

  a.process.Append(MakeMessage("4"));
  b.Pull(a);
  CHECK(ReadOn(b.feed, &position) == Keys{"4"});
  CHECK_FALSE(position.behind);
  const auto live = b.feed.Read(position, kAll, 10, 1 << 20);
  REQUIRE(live);
  CHECK(live->live_after == b.process.State()->last_message_ref);
  CHECK(b.peers.asked == 1);
}

TEST_CASE("what exists nowhere any more is told as a gap, and given up", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(4);
  Node a(dir, "a", clock, random);
  Node wiped(dir, "b", clock, random);
  for (const char* key : {"1", "2"}) a.process.Append(MakeMessage(key));
  wiped.Pull(a);
  a.process.Append(MakeMessage("3"));
  FeedPosition position;
  ReadOn(a.feed, &position);

  // Two of three are here: the third is lost, the two are not repeated.
  wiped.peers.lost = true;
  wiped.feed.Reach(&position, {});
  CHECK(position.gap);
  CHECK_FALSE(position.behind);
  wiped.process.Append(MakeMessage("new"));
  CHECK(ReadOn(wiped.feed, &position) == Keys{"new"});
}

TEST_CASE("messages of a forked epoch are given under the records that replace it", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(5);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  for (const char* key : {"1", "2", "3"}) a.process.Append(MakeMessage(key));
  b.Pull(a);
  FeedPosition half;
  auto first = b.feed.Read(half, kAll, 2, 1 << 20);
  REQUIRE(first);
  REQUIRE(KeysOf(*first) == Keys{"1", "2"});
  half = first->position;
  FeedPosition whole;
  ReadOn(b.feed, &whole);

  const EpochKey forked = a.process.State()->heads.begin()->first;
  b.process.Do([&](Log& log) { log.Freeze({forked, 0}); });
  REQUIRE(b.process.State()->forks == std::vector<EpochKey>{forked});

  // Who had all of the epoch gets nothing again, who had a part the rest, a new one all.
  CHECK(ReadOn(b.feed, &whole) == Keys{});
  CHECK(ReadOn(b.feed, &half) == Keys{"3"});
  FeedPosition begin;
  CHECK(ReadOn(b.feed, &begin) == Keys{"1", "2", "3"});
  CHECK(begin.covers.count(forked) == 0);
  // On another branch, or beyond our end of this one: nothing may be taken for seen.
  FeedPosition elsewhere;
  elsewhere.covers[forked] = {3, 42};
  CHECK(ReadOn(b.feed, &elsewhere) == Keys{"1", "2", "3"});
  FeedPosition beyond;
  beyond.covers[forked] = {9, 42};
  CHECK(ReadOn(b.feed, &beyond) == Keys{"1", "2", "3"});
}

TEST_CASE("a walk back does not go on where a record is missing that it covers", "[feed]") {
  TempDir dir;
  ManualClock clock;
  SeededRandom random(1);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  // Of two records of the message, the earlier one gives it its place.
  a.process.Append(MakeMessage("twice"), StampFromMs(clock.wall_ms - 3000));
  b.process.Append(MakeMessage("twice"), StampFromMs(clock.wall_ms - 1000));
  a.process.Append(MakeMessage("once"), StampFromMs(clock.wall_ms - 2000));
  a.Pull(b);
  ListQuery back;
  back.descending = true;
  const auto first = a.service.History(back, std::nullopt, 1, {}, clock.Steady());
  REQUIRE(first);
  REQUIRE(first->page.items.size() == 1);
  CHECK(first->page.items.front().shown.message.key == "once");
  REQUIRE(first->next);

  // b knows the message at its later place only, where the walk has been already.
  const auto behind = b.service.History(back, first->next, 1, {}, clock.Steady());
  REQUIRE(!behind);
  CHECK(behind.error().status == 503);
  b.peers.lost = true;
  const auto lost = b.service.History(back, first->next, 1, {}, clock.Steady());
  REQUIRE(!lost);
  CHECK(lost.error().status == 400);

  const auto rest = a.service.History(back, first->next, 1, {}, clock.Steady());
  REQUIRE(rest);
  REQUIRE(rest->page.items.size() == 1);
  CHECK(rest->page.items.front().shown.message.key == "twice");
  CHECK(!rest->next);
}

TEST_CASE("filters leave out messages, not positions", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(6);
  Node a(dir, "a", clock, random);
  a.process.Append(MakeMessage("1", "x", "ann", "bob"));
  a.process.Append(MakeMessage("2", "x", "eve", "bob"));
  Filter ann;
  ann.sender = "ann";
  const auto answer = a.feed.Read({}, ann, 10, 1 << 20);
  REQUIRE(answer);
  CHECK(KeysOf(*answer) == Keys{"1"});
  CHECK(answer->position.covers == ToTokenVector(a.process.State()->heads));
}

TEST_CASE("who follows every commit is given a message with two new records once", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(8);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  const auto follow = [&](FeedPosition* position, int64_t* last) {
    const auto answer = a.feed.Read(*position, kAll, 10, 1 << 20, *last);
    REQUIRE(answer);
    REQUIRE(answer->live_after);
    *position = answer->position;
    *last = *answer->live_after;
    return KeysOf(*answer);
  };
  FeedPosition position;
  int64_t last = 0;
  CHECK(follow(&position, &last) == Keys{});
  for (const char* key : {"1", "2"}) {
    const ValidMessage message = MakeMessage(key);
    a.process.Append(message);
    b.process.Append(message);
  }
  a.Pull(b);
  CHECK(follow(&position, &last) == Keys{"1", "2"});
  const ValidMessage third = MakeMessage("3");
  b.process.Append(third);
  a.Pull(b);
  CHECK(follow(&position, &last) == Keys{"3"});
  a.process.Append(third);
  CHECK(follow(&position, &last) == Keys{});
}

TEST_CASE("who follows every commit is given what is new, whatever is repaired", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(7);
  Node a(dir, "a", clock, random);
  a.process.Append(MakeMessage("1"));
  FeedPosition position;
  ReadOn(a.feed, &position);
  const int64_t last = a.process.State()->last_message_ref;
  // Announced anew under another record, without the one that was followed.
  const EpochKey epoch = a.process.State()->heads.begin()->first;
  a.process.db->Execute("UPDATE records SET chain=zeroblob(32)");
  a.process.Do([&](Log& log) { log.Repair({epoch, 1}); });
  a.process.Append(MakeMessage("2"));
  const auto answer = a.feed.Read(position, kAll, 10, 1 << 20, last);
  REQUIRE(answer);
  CHECK(KeysOf(*answer) == Keys{"2"});
}

// What a feed's order promises, and what it cannot: see docs/decisions/0006-feed.md.

TEST_CASE("where two origins took messages in two orders, a third node gives one of these",
          "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(1);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  Node c(dir, "c", clock, random);
  Node d(dir, "d", clock, random);
  for (const char* key : {"1", "2"}) a.process.Append(MakeMessage(key));
  for (const char* key : {"2", "1"}) b.process.Append(MakeMessage(key));
  c.Pull(a);
  c.Pull(b);
  d.Pull(b);
  d.Pull(a);
  FeedPosition at_c;
  FeedPosition at_d;
  CHECK(ReadOn(c.feed, &at_c) == Keys{"1", "2"});
  CHECK(ReadOn(d.feed, &at_d) == Keys{"2", "1"});
}

TEST_CASE("a message that one origin brings first stands before older ones of another", "[feed]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(1);
  Node a(dir, "a", clock, random);
  Node b(dir, "b", clock, random);
  Node c(dir, "c", clock, random);
  a.process.Append(MakeMessage("1"));
  a.process.Append(MakeMessage("2"));
  b.process.Append(MakeMessage("2"));
  // That "2" is also a's, and after "1" there, is not known here yet.
  c.Pull(b);
  FeedPosition position;
  CHECK(ReadOn(c.feed, &position) == Keys{"2"});
  c.Pull(a);
  CHECK(ReadOn(c.feed, &position) == Keys{"1"});
  CHECK(ReadOn(a.feed, &position) == Keys{});
}

TEST_CASE("messages of one origin alone keep its order at every node, through moves and fan-out",
          "[feed]") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const TempDir dir;
    ManualClock clock;
    SeededRandom random(seed);
    std::deque<Node> nodes;
    for (const char* id : {"a", "b", "c"}) nodes.emplace_back(dir, id, clock, random);
    FeedPosition position;
    std::vector<int> given;
    std::map<int, size_t> origin_of;  // of those with one record
    const auto follow = [&](Node& at) {
      for (const std::string& key : ReadOn(at.feed, &position, 1 + random.Below(5))) {
        given.push_back(std::stoi(key));
      }
    };
    for (int number = 0; number < 60; ++number) {
      const size_t origin = random.Below(3);
      const ValidMessage message = MakeMessage(std::to_string(number));
      nodes[origin].process.Append(message);
      if (random.Below(3) == 0) {
        nodes[(origin + 1) % 3].process.Append(message);
      } else {
        origin_of[number] = origin;
      }
      if (random.Below(2) == 0) nodes[random.Below(3)].Pull(nodes[random.Below(3)]);
      if (random.Below(3) == 0) follow(nodes[random.Below(3)]);
    }
    for (Node& to : nodes) {
      for (Node& from : nodes) {
        if (&to != &from) to.Pull(from);
      }
    }
    follow(nodes[0]);
    std::set<int> once;
    std::map<size_t, int> last;
    for (const int number : given) {
      // Only a node that is behind repeats, by other records; the first time counts.
      if (!once.insert(number).second) continue;
      const auto origin = origin_of.find(number);
      if (origin == origin_of.end()) continue;
      const auto before = last.find(origin->second);
      if (before != last.end()) CHECK(number > before->second);
      last[origin->second] = number;
    }
    CHECK(once.size() == 60);
  }
}

TEST_CASE("a position that leaves out a sealed epoch covers it", "[feed][seal]") {
  const TempDir dir;
  ManualClock clock;
  SeededRandom random(11);
  auto first = std::make_unique<Node>(dir, "a", clock, random);
  first->process.Append(MakeMessage("1"));
  first->process.Append(MakeMessage("2"));
  const FeedPosition before = *first->feed.Decode(std::nullopt);
  first.reset();
  Node a(dir, "a", clock, random);
  a.process.Append(MakeMessage("3"));
  const LogStatePtr state = a.process.State();
  const auto [old, head] = *state->heads.begin();
  const EpochKey live = *state->live;
  a.process.Do([&, &old = old, &head = head](Log& log) {
    log.AppendSeals({{old, head}});
    log.MarkShared({{live, 2}});
  });
  a.process.Append(MakeMessage("4"));
  FeedPosition folded = *a.feed.Decode(std::nullopt);
  REQUIRE(folded.covers.size() == 1);
  CHECK(ReadOn(a.feed, &folded).empty());

  SECTION("an older token goes on behind it") {
    FeedPosition position = before;
    CHECK(ReadOn(a.feed, &position) == Keys{"3", "4"});
    CHECK(position.covers == folded.covers);
  }
  SECTION("from the beginning, every token of a step means what was given") {
    FeedPosition position = *a.feed.Decode("begin");
    Keys keys;
    for (int step = 0; step < 4; ++step) {
      const auto answer = a.feed.Read(position, kAll, 1, 1 << 20);
      REQUIRE(answer);
      REQUIRE(answer->steps.size() == 1);
      keys.push_back(answer->steps.front().shown.message.key);
      position = *a.feed.Decode(answer->steps.front().token);
    }
    CHECK(keys == Keys{"1", "2", "3", "4"});
    CHECK(position.covers == folded.covers);
  }
  SECTION("who does not know the seal holds back, as long as it may come") {
    Node b(dir, "b", clock, random);
    const VerifiedRun run = RunOf(a.process, old);
    b.process.Do([&](Log& log) { log.Apply(run); });
    FeedPosition position = folded;
    CHECK(ReadOn(b.feed, &position).empty());
    CHECK(position.behind);
    CHECK(position.covers == folded.covers);
    // Nobody can bring it: given again, and said to be behind.
    position.hold_back = false;
    CHECK(ReadOn(b.feed, &position) == Keys{"1", "2"});
    CHECK(position.behind);

    position = folded;
    CHECK(ReadOn(b.feed, &position).empty());
    b.Pull(a);
    a.process.Append(MakeMessage("5"));
    b.Pull(a);
    CHECK(ReadOn(b.feed, &position) == Keys{"5"});
    CHECK(!position.behind);
  }
}

}  // namespace chatchain::test
