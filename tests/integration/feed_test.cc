// SPDX-License-Identifier: MIT
// P6: whoever follows misses nothing and sees nothing twice, whatever happens to nodes and proxies,
// in each of the three ways.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/support/feed_reader.h"
#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr FeedWay kWays[] = {FeedWay::kPoll, FeedWay::kStream, FeedWay::kSocket};

uint16_t PortOf(const std::string& address) {
  return static_cast<uint16_t>(std::stoul(address.substr(address.rfind(':') + 1)));
}

// Sends to one process of a node only, one after another, each acknowledged before the next: all
// that is known of their order is that of one epoch of that node's log. Who catches up fetches
// several epochs at once, so between two lives of a node no order is promised.
class DirectWriter {
 public:
  // `life`: of the node's process.
  DirectWriter(Node& node, Ledger& ledger, int first, int life)
      : address_(node.address()),
        name_("direct" + node.name() + "life" + std::to_string(life)),
        ledger_(ledger),
        next_(first) {
    thread_ = std::thread([this] { Run(); });
  }
  ~DirectWriter() { Stop(); }
  // The number to go on with.
  int Stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return next_;
  }

 private:
  void Run() {
    Api api(address_, seconds(1));
    while (!stopping_) {
      Outgoing message = MakeMessage(name_);
      message.text = name_ + "#" + std::to_string(next_);
      message.key = message.text;
      while (!stopping_) {
        const Answer answer = api.Send(message);
        if (answer.ok()) {
          ledger_.Acknowledged(message, answer.id());
          ++next_;
          break;
        }
        std::this_thread::sleep_for(milliseconds(20));
      }
      std::this_thread::sleep_for(milliseconds(25));
    }
  }

  const std::string address_;
  const std::string name_;
  Ledger& ledger_;
  int next_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

std::set<std::string> TextsOf(const std::vector<Shown>& history) {
  std::set<std::string> texts;
  for (const Shown& shown : history) texts.insert(shown.text);
  return texts;
}

void CheckOrder(const Seen& seen) {
  std::map<std::string, int> last;
  std::string wrong;
  for (const std::string& text : seen.texts) {
    const size_t hash = text.find('#');
    if (!text.starts_with("direct") || hash == std::string::npos) continue;
    const int number = std::stoi(text.substr(hash + 1));
    int& before = last[text.substr(0, hash)];
    if (number < before) wrong += text + " after #" + std::to_string(before) + "; ";
    before = number;
  }
  CHECK(wrong == "");
}

void CheckSawAll(FeedReader& reader, const std::set<std::string>& history) {
  const bool all = Eventually(seconds(30), [&] { return reader.count() >= history.size(); });
  reader.Stop();
  const Seen seen = reader.seen();
  CAPTURE(Name(reader.way()), seen.connections, seen.excused, seen.texts.size(), history.size());
  CHECK(all);
  CHECK(seen.repeats == std::vector<std::string>{});
  CHECK(seen.problems == std::vector<std::string>{});
  CHECK(seen.gaps == 0);
  const std::set<std::string> texts(seen.texts.begin(), seen.texts.end());
  std::vector<std::string> missed;
  std::set_difference(history.begin(), history.end(), texts.begin(), texts.end(),
                      std::back_inserter(missed));
  CHECK(missed == std::vector<std::string>{});
  CHECK(texts.size() == history.size());
  CheckOrder(seen);
}

}  // namespace

TEST_CASE("one position continues in every way at every node and proxy", "[feed]") {
  Cluster cluster;
  cluster.StartAll();
  std::vector<std::string> where = cluster.addresses();
  if (ClientProgram()) where.push_back(cluster.StartProxy().address());
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 20, "early");
  AwaitEqualDigests(cluster.addresses());
  const Json page = cluster.api(1).Get("/messages?limit=100").json();
  REQUIRE(page["messages"].size() == 20);
  std::string token = page["after"];
  int sent = 0;
  for (int turn = 0; turn < 3; ++turn) {
    for (const std::string& address : where) {
      const FeedWay way = kWays[(turn + sent) % 3];
      SendAll(cluster.node(sent % 3).address(), ledger, 1, "late");
      ++sent;
      FeedReader reader(way, {PortOf(address)}, token);
      CAPTURE(Name(way), address, turn);
      // What the token of the last one covers is not given again, what was sent since then is.
      REQUIRE(Eventually(seconds(10), [&] { return reader.count() >= 1; }));
      reader.Stop();
      const Seen seen = reader.seen();
      CHECK(seen.texts.size() == 1);
      CHECK(seen.repeats.empty());
      CHECK(seen.problems.empty());
      token = seen.token;
    }
  }
}

TEST_CASE("a session token is no position, nor is any other text", "[feed]") {
  Cluster cluster({.nodes = 1});
  cluster.StartAll();
  std::vector<std::string> where = cluster.addresses();
  if (ClientProgram()) where.push_back(cluster.StartProxy().address());
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 1, "ann");
  const std::string session = cluster.api(0).Get("/messages").header("ChatChain-Session");
  REQUIRE_FALSE(session.empty());
  for (const std::string& address : where) {
    CAPTURE(address);
    Api api(address);
    for (const std::string path : {"/messages/poll", "/messages/stream"}) {
      for (const std::string& bad : {session, std::string("nonsense"), std::string("")}) {
        CAPTURE(path, bad);
        CHECK(api.Get(path + "?after=" + bad).status == 400);
      }
      CHECK(api.Get(path + "?order=desc").status == 400);
      CHECK(api.Get(path + "?sender=").status == 422);
    }
    CHECK(api.Get("/messages/stream", {{"Last-Event-ID", session}}).status == 400);
    CHECK(api.Get("/messages/poll?wait_ms=30001").status == 422);
    CHECK(api.Get("/messages/poll?limit=0").status == 422);
    CHECK(api.Get("/ws").status == 426);
    RawWebSocket socket(PortOf(address), "/ws");
    REQUIRE(socket.open());
    socket.Send("{\"op\":\"subscribe\",\"after\":\"" + session + "\"}");
    const auto said = socket.ReadText();
    REQUIRE(said);
    const Json refusal = Json::parse(*said);
    CHECK(refusal["op"] == "error");
    CHECK(refusal["problem"]["status"] == 400);
  }
}

TEST_CASE("a filter leaves out the others, and the position moves on", "[feed]") {
  Cluster cluster({.nodes = 1});
  cluster.StartAll();
  std::vector<std::string> where = cluster.addresses();
  if (ClientProgram()) where.push_back(cluster.StartProxy().address());
  for (const std::string& address : where) {
    CAPTURE(address);
    std::vector<std::unique_ptr<FeedReader>> readers;
    for (const FeedWay way : kWays) {
      readers.push_back(
          std::make_unique<FeedReader>(way, std::vector{PortOf(address)}, "begin", "&room=tea"));
    }
    Api api(cluster.node(0).address());
    const std::string tag = std::to_string(PortOf(address));
    for (int i = 0; i < 5; ++i) {
      const std::string text = tag + "/" + std::to_string(i);
      REQUIRE(api.Send({.sender = "ann", .room = "tea", .text = text}).ok());
      REQUIRE(api.Send({.sender = "ann", .room = "coffee", .text = text + "c"}).ok());
    }
    for (auto& reader : readers) {
      CAPTURE(Name(reader->way()));
      const bool all = Eventually(seconds(10), [&] {
        const Seen seen = reader->seen();
        return std::count_if(seen.texts.begin(), seen.texts.end(),
                             [&](const std::string& text) { return text.starts_with(tag); }) == 5;
      });
      reader->Stop();
      CAPTURE(reader->seen().texts, reader->seen().problems, reader->seen().connections);
      CHECK(all);
      for (const std::string& text : reader->seen().texts) CHECK(text.back() != 'c');
    }
  }
}

namespace {

// A proxy below which two nodes have lost each other, each with a message of its own, and a
// follower who saw one of them: that tells whom the proxy follows.
struct Parted {
  Parted() : cluster(Options()) {
    cluster.StartAll();
    ClientProxy& started = cluster.StartProxy();
    proxy = std::make_unique<Api>(started.address());
    port = {PortOf(started.address())};
    first = std::make_unique<FeedReader>(FeedWay::kStream, port);
    // Until one comes by what the proxy follows, not by a page.
    size_t early = 0;
    REQUIRE(Eventually(seconds(10), [&] {
      if (cluster.api(0).Send(MakeMessage("early")).status == 201) ++early;
      return proxy->Metric("chatchain_feed_published_total") > 0;
    }));
    REQUIRE(Eventually(seconds(10), [&] { return first->count() == early; }));
    AwaitEqualDigests(cluster.addresses());
    begin = cluster.api(0).Get("/messages").json()["after"];
    cluster.Cut(0, 1);
    for (size_t i = 0; i < 2; ++i) {
      own.push_back(MakeMessage("only-at-" + std::to_string(i)));
      REQUIRE(cluster.api(i).Send(own.back()).status == 201);
    }
    REQUIRE(Eventually(seconds(10), [&] { return first->count() > early; }));
    followed = first->seen().texts[early] == own[0].text ? 0 : 1;
  }
  static ClusterOptions Options() {
    ClusterOptions options;
    options.nodes = 2;
    options.faulty_links = true;
    return options;
  }
  Api other() { return cluster.api(1 - followed); }

  Cluster cluster;
  std::unique_ptr<Api> proxy;
  std::vector<uint16_t> port;
  std::string begin;  // a position before both
  std::unique_ptr<FeedReader> first;
  std::vector<Outgoing> own;  // of each node
  size_t followed = 0;
};

}  // namespace

TEST_CASE("what a proxy passed on is not kept from those who come later", "[feed]") {
  if (!ClientProgram()) {
    WARN("skipped: chatchain-client is not built");
    return;
  }
  Parted parted;
  const bool first_leaves = GENERATE(true, false);
  CAPTURE(first_leaves);
  if (first_leaves) {
    parted.first->Stop();
    // It follows nobody any more once it asks nothing any more.
    double polls = -1;
    REQUIRE(Eventually(
        seconds(20),
        [&] {
          const double before = polls;
          polls = parted.proxy->Metric("chatchain_follow_polls_total");
          return before == polls;
        },
        milliseconds(1500)));
  }
  parted.cluster.node(parted.followed).Kill();
  FeedReader second(FeedWay::kStream, parted.port, parted.begin);
  const auto sees = [&](const Outgoing& message) {
    return Eventually(seconds(10), [&] {
      const std::vector<std::string> texts = second.seen().texts;
      return std::count(texts.begin(), texts.end(), message.text) == 1;
    });
  };
  REQUIRE(sees(parted.own[1 - parted.followed]));
  const Outgoing later = MakeMessage("later");
  REQUIRE(parted.other().Send(later).status == 201);
  REQUIRE(sees(later));
  // Its sender tries once more, elsewhere. It may have come before, while the proxy remembered it.
  const Outgoing& again = parted.own[parted.followed];
  REQUIRE(parted.other().Send(again).status == 201);
  CHECK(sees(again));
  second.Stop();
  CHECK(second.count() == 3);
  CHECK(second.seen().repeats.empty());
  parted.first->Stop();
  CHECK(parted.first->seen().repeats.empty());
}

TEST_CASE("sixty follow through two proxies while nodes and a proxy fail", "[feed]") {
  if (!ClientProgram()) {
    WARN("skipped: chatchain-client is not built");
    return;
  }
  Cluster cluster;
  cluster.StartAll();
  ClientProxy& first = cluster.StartProxy();
  ClientProxy& second = cluster.StartProxy();
  const std::vector<uint16_t> ports = {PortOf(first.address()), PortOf(second.address())};
  Ledger ledger;
  std::vector<std::unique_ptr<FeedReader>> readers;
  for (const FeedWay way : kWays) {
    for (int i = 0; i < 20; ++i) {
      auto mine = ports;
      if (i % 2 == 1) std::swap(mine[0], mine[1]);
      // When the proxy that will be killed is gone, these go on straight at a node.
      if (i % 5 == 4) mine = {ports[1], PortOf(cluster.node(i % 3).address())};
      readers.push_back(std::make_unique<FeedReader>(way, mine));
    }
  }
  // And some without a proxy, who move between the nodes by themselves.
  std::vector<uint16_t> nodes;
  for (const std::string& address : cluster.addresses()) nodes.push_back(PortOf(address));
  for (const FeedWay way : kWays) {
    readers.push_back(std::make_unique<FeedReader>(way, nodes));
    std::rotate(nodes.begin(), nodes.begin() + 1, nodes.end());
  }
  Load::Options options;
  options.writers = 3;
  options.pause = milliseconds(20);
  options.timeout = seconds(3);
  const std::vector<std::string> proxies = {first.address(), second.address()};
  std::vector<int> lives(cluster.size(), 1);
  std::vector<int> next(cluster.size(), 1);
  using Direct = std::vector<std::unique_ptr<DirectWriter>>;
  const auto write_to = [&](size_t node) {
    return std::make_unique<DirectWriter>(cluster.node(node), ledger, next[node], lives[node]);
  };
  const auto begin_life = [&](size_t node) {
    ++lives[node];
    next[node] = 1;
  };
  const auto with_load = [&](const std::function<void(Load&, Direct&)>& nemesis,
                             const std::vector<std::string>& targets) {
    Load load(targets, ledger, options);
    Direct direct;
    for (size_t i = 0; i < cluster.size(); ++i) direct.push_back(write_to(i));
    load.AwaitMore(40);
    nemesis(load, direct);
    load.AwaitMore(40);
    load.Stop();
    for (size_t i = 0; i < cluster.size(); ++i) next[i] = direct[i]->Stop();
  };

  for (size_t victim = 0; victim < cluster.size(); ++victim) {
    with_load(
        [&](Load& load, Direct& direct) {
          cluster.node(victim).Kill();
          direct[victim]->Stop();
          load.AwaitMore(60);
          begin_life(victim);
          cluster.node(victim).Start();
          direct[victim] = write_to(victim);
        },
        proxies);
    with_load(
        [&](Load& load, Direct&) {
          cluster.node(victim).Pause();
          load.AwaitMore(60, seconds(60));
          cluster.node(victim).Resume();
        },
        proxies);
  }
  // A wiped disk takes with it what nobody else has: that is not the promise.
  AwaitEqualDigests(cluster.addresses());
  cluster.node(2).Kill();
  cluster.node(2).Wipe();
  begin_life(2);
  cluster.node(2).Start();
  with_load([&](Load& load, Direct&) { load.AwaitMore(40); }, proxies);
  // Those at the second proxy go on at the first one, with their last token.
  AwaitEqualDigests(cluster.addresses());
  with_load([&](Load&, Direct&) { second.process().Kill(); }, {first.address()});

  AwaitEqualDigests(cluster.addresses());
  const auto history = cluster.api(0).ListAll();
  REQUIRE(history);
  CHECK(ledger.wrong() == std::vector<std::string>{});
  const std::set<std::string> texts = TextsOf(*history);
  for (auto& reader : readers) CheckSawAll(*reader, texts);
  CheckConverged(cluster.addresses(), ledger);
}

}  // namespace chatchain::testing
