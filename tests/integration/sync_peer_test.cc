// SPDX-License-Identifier: MIT
// Peers that belong elsewhere, lie, or talk nonsense: nothing wrong is taken, it is named, and the
// node goes on serving.
#include <catch2/catch.hpp>
#include <fstream>
#include <mutex>
#include <thread>

#include "tests/support/fake_peer.h"
#include "tests/support/ledger.h"
#include "tests/support/sanitized.h"

namespace chatchain::testing {

namespace {

Message FakeMessage(const std::string& text) {
  Message message;
  message.sender = "faker";
  message.recipient = "user1";
  message.text = text;
  message.key = "key of " + text;
  return message;
}

// Two good records, then one that `spoil` spoils, then a good one.
FakeLog Spoiled(const std::string& origin, const std::function<void(FakeLog&)>& spoil) {
  FakeLog log("itest", origin);
  log.Append(FakeMessage(origin + " one"));
  log.Append(FakeMessage(origin + " two"));
  log.Append(FakeMessage(origin + " three"));
  spoil(log);
  log.Append(FakeMessage(origin + " four"));
  return log;
}

uint64_t SeqOf(const Json& nodes, const std::string& origin) {
  for (const Json& head : nodes["self"]["heads"]) {
    if (head[0] == origin) return head[2];
  }
  return 0;
}

size_t ResidentMiB(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stoul(line.substr(6)) / 1024;
  }
  return 0;
}

ClusterOptions Nodes(int nodes) {
  ClusterOptions options;
  options.nodes = nodes;
  return options;
}

}  // namespace

TEST_CASE("a node of another cluster is refused and nothing is exchanged") {
  Cluster cluster(Nodes(2));
  cluster.node(1).options().cluster = "elsewhere";
  cluster.StartAll();
  Ledger ours;
  Ledger theirs;
  SendAll(cluster.node(0).address(), ours, 5, "ours");
  SendAll(cluster.node(1).address(), theirs, 5, "theirs");
  for (const size_t i : {0, 1}) {
    CHECK(Eventually(seconds(10), [&] {
      const Json error = cluster.api(i).Nodes()["peers"][0]["last_error"];
      return error.is_string() && error.get<std::string>().find("cluster") != std::string::npos;
    }));
    CHECK(cluster.node(i).Said("another cluster"));
    CHECK(cluster.api(i).Nodes()["self"]["messages"] == 5);
    CHECK(cluster.api(i).Ready());  // a wrong peer must not keep it from serving
  }
  const Answer refused = cluster.api(0).Sync(
      {{"v", 1}, {"cluster", "elsewhere"}, {"node", "1"}, {"have", Json::array()}});
  CHECK(refused.status == 403);
  CHECK(refused.detail().find("itest") != std::string::npos);
  CHECK(refused.body.find("ours") == std::string::npos);
  CheckHolds(cluster.node(0).address(), ours);
  CheckHolds(cluster.node(1).address(), theirs);
}

TEST_CASE("the next page is asked for while the last one is written, and taken behind it") {
  constexpr Seq kRecords = 40;
  constexpr Seq kPage = 4;
  enum class Spoilt { kNothing, kText, kBody };
  std::atomic<Spoilt> spoilt{Spoilt::kNothing};
  SECTION("all good") {}
  SECTION("a record of the second page does not match its digest") {
    spoilt = Spoilt::kText;
  }
  SECTION("a body is left out that the puller does not have: its page stops at it") {
    spoilt = Spoilt::kBody;
  }
  FakeLog log("itest", "paged");
  for (Seq i = 0; i < kRecords; ++i) log.Append(FakeMessage("text " + std::to_string(i)));
  std::atomic<Seq> asked_ahead{0};
  std::atomic<Seq> served{0};
  std::atomic<Seq> furthest{0};
  FakePeer fake([&](const httplib::Request& request, httplib::Response& response) {
    const auto asked = DecodeSyncRequest(request.body);
    SyncAnswer answer;
    answer.node = "fake";
    answer.heads = {{log.key(), log.head()}};
    std::string records;
    if (asked && asked->relay) {  // nothing for long polls
      Seq seq = 0;
      for (const HeadVector* vector : {&asked->have, &asked->ahead}) {
        const auto it = vector->find(log.key());
        if (it != vector->end()) seq = std::max(seq, it->second.seq);
      }
      if (!asked->ahead.empty()) ++asked_ahead;
      const Seq last = std::min(seq + kPage, kRecords);
      served += last - seq;
      furthest = std::max<Seq>(furthest, last);
      for (; seq < last; ++seq) {
        WireRecord wire = log.records()[seq];
        if (seq == kPage + 1 && spoilt == Spoilt::kText) wire.message->text += "!";
        if (seq == kPage + 1 && spoilt == Spoilt::kBody) wire.message.reset();
        records += records.empty() ? "" : ",";
        AppendWireRecord(&records, wire);
      }
      answer.more = last < kRecords;
    }
    response.set_content(EncodeSyncAnswer(answer, records), "application/json");
  });
  Cluster cluster(Nodes(1));
  cluster.node(0).options().peers.push_back(fake.address());
  cluster.StartAll();
  const auto reaches = [&](Seq seq) {
    return Eventually(seconds(15), [&] { return SeqOf(cluster.api(0).Nodes(), "paged") == seq; });
  };
  if (spoilt == Spoilt::kNothing) {
    CHECK(reaches(kRecords));
    CHECK(asked_ahead >= kRecords / kPage - 2);
    CHECK(served == kRecords);  // each once
    CHECK_FALSE(cluster.node(0).Said("refused"));
  } else {
    CHECK(reaches(kPage + 1));
    // Asked again and again, but never far behind what cannot be taken.
    const Seq asked = served;
    CHECK(Eventually(seconds(15), [&] { return served > asked + 10 * kPage; }));
    CHECK(furthest <= 4 * kPage);
    CHECK(SeqOf(cluster.api(0).Nodes(), "paged") == kPage + 1);
    spoilt = Spoilt::kNothing;
    CHECK(reaches(kRecords));
  }
  CHECK(cluster.api(0).Nodes()["self"]["messages"] == kRecords);
}

TEST_CASE("a long poll whose news a round has brought already is followed by the next at once") {
  constexpr int kInterval_ms = 4000;
  FakeLog log("itest", "raced");
  log.Append(FakeMessage("one"));
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> polls;
  FakePeer fake([&](const httplib::Request& request, httplib::Response& response) {
    const auto asked = DecodeSyncRequest(request.body);
    if (asked && asked->wait_ms > 0) {
      std::lock_guard lock(mutex);
      polls.push_back(std::chrono::steady_clock::now());
    }
    std::vector<FakeLog> logs = {log};
    response.set_content(SyncAnswerOf(logs), "application/json");  // whatever is held
  });
  Cluster cluster(Nodes(1));
  cluster.node(0).options().peers.push_back(fake.address());
  cluster.node(0).options().sync_interval_ms = kInterval_ms;
  cluster.StartAll();
  const auto count = [&] {
    std::lock_guard lock(mutex);
    return polls.size();
  };
  REQUIRE(Eventually(seconds(30), [&] { return count() >= 3; }));
  std::lock_guard lock(mutex);
  CHECK(polls[1] - polls[0] < milliseconds(kInterval_ms / 2));
  // This peer does not wait at all: it is not asked without end.
  CHECK(polls[2] - polls[1] > milliseconds(kInterval_ms / 2));
}

TEST_CASE("of a sync answer what is wrong is refused and named, and the rest is taken") {
  std::vector<FakeLog> logs;
  const auto add = [&](const std::string& origin, const std::function<void(WireRecord&)>& spoil) {
    logs.push_back(Spoiled(origin, [&](FakeLog& log) { spoil(log.records()[2]); }));
  };
  logs.push_back(Spoiled("a-good", [](FakeLog&) {}));
  add("bad-digest", [](WireRecord& wire) { wire.record.digest.bytes[5] ^= 1; });
  add("bad-chain", [](WireRecord& wire) { wire.record.chain.bytes[31] ^= 1; });
  add("bad-stamp", [](WireRecord& wire) { wire.record.stamp += 1; });
  add("bad-kind", [](WireRecord& wire) { wire.record.kind = "massage"; });
  add("bad-text", [](WireRecord& wire) { wire.message->text += "!"; });
  add("bad-time", [](WireRecord& wire) { wire.message->timestamp = 5; });
  add("bad-key", [](WireRecord& wire) { wire.message->key = "another"; });
  add("bad-seq", [](WireRecord& wire) { wire.record.seq = 4; });
  add("bad-repeat", [](WireRecord& wire) { wire.record.seq = 2; });
  add("bad-json", [](WireRecord& wire) { wire.record.kind = "no kind"; });
  add("bad-left-out", [](WireRecord& wire) { wire.message.reset(); });
  add("bad-both", [](WireRecord& wire) { wire.payload = "x"; });
  // Well proven, but nothing that a client could have sent.
  logs.push_back(FakeLog("itest", "bad-rule"));
  logs.back().Append(FakeMessage("bad-rule one"));
  logs.back().Append(FakeMessage("bad-rule two"));
  logs.back().Append(FakeMessage(""));
  logs.push_back(FakeLog("itest", "bad-payload"));
  logs.back().AppendPayload("later.kind", "payload one");
  logs.back().AppendPayload("later.kind", "payload two");
  logs.back().AppendPayload("later.kind", "payload three");
  logs.back().records()[2].payload = "another payload";
  logs.push_back(FakeLog("another-cluster", "bad-seed"));  // its chain begins elsewhere
  logs.back().Append(FakeMessage("bad-seed one"));
  logs.push_back(Spoiled("z-good", [](FakeLog& log) {
    log.AppendPayload("room.event", std::string("\0payload\xff", 9));
  }));
  const std::string answer = SyncAnswerOf(logs);
  FakePeer fake([&](const httplib::Request&, httplib::Response& response) {
    response.set_content(answer, "application/json");
  });

  Cluster cluster(Nodes(2));
  cluster.node(0).options().peers.push_back(fake.address());
  cluster.StartAll();
  // Node 1 learns of it from node 0 only.
  CHECK(Eventually(seconds(15), [&] { return SeqOf(cluster.api(1).Nodes(), "z-good") == 5; }));
  AwaitEqualDigests(cluster.addresses());
  for (const size_t i : {0, 1}) {
    const Json nodes = cluster.api(i).Nodes();
    CHECK(SeqOf(nodes, "a-good") == 4);
    CHECK(SeqOf(nodes, "z-good") == 5);
    for (FakeLog& log : logs) {
      const std::string& origin = log.key().origin;
      if (origin.rfind("bad", 0) != 0) continue;
      INFO(origin);
      CHECK(SeqOf(nodes, origin) == (origin == "bad-seed" ? 0 : 2));
    }
    std::string why;
    const auto all = cluster.api(i).ListAll("", &why);
    REQUIRE(all);
    for (const Shown& shown : *all) {
      INFO(ToText(shown));
      const bool good = shown.text.find("good") == 2;
      const std::string number = shown.text.substr(shown.text.rfind(' '));
      CHECK((good || number == " one" || number == " two"));
      CHECK(shown.text.find("payload") == std::string::npos);
    }
    CHECK(all->size() == 4 + 4 + 2 * 13);  // bad-payload shows nothing, bad-seed has nothing
  }
  for (FakeLog& log : logs) {
    const std::string& origin = log.key().origin;
    if (origin.rfind("bad", 0) != 0) continue;
    INFO(origin);
    CHECK(cluster.node(0).Said(ToText(log.key()) + " at "));
  }
  CHECK(cluster.api(0).Metric("chatchain_node_sync_refused_records_total", fake.address()) > 0);
  CHECK(cluster.api(1).Metric("chatchain_node_sync_refused_records_total") == 0);

  // All of it is on disk, unknown kinds included.
  cluster.node(0).Kill();
  cluster.node(1).Kill();
  cluster.node(0).Wipe();
  cluster.node(0).options().peers = {cluster.node(1).address()};
  cluster.StartAll();
  AwaitEqualDigests(cluster.addresses());
  CHECK(SeqOf(cluster.api(0).Nodes(), "z-good") == 5);
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 5, "after");
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("a peer that talks nonsense costs nothing but itself") {
  std::vector<FakeLog> logs = {FakeLog("itest", "fake")};
  logs[0].Append(FakeMessage("good in the end"));
  const std::string good = SyncAnswerOf(logs);
  std::atomic<bool> sane{false};
  FakePeer::Answerer nonsense;
  const std::atomic<bool>* stopping = nullptr;

  const auto text = [&](const std::string& body, int status = 200) {
    nonsense = [body, status](const httplib::Request&, httplib::Response& response) {
      response.status = status;
      response.set_content(body, "application/json");
    };
  };
  SECTION("not JSON") {
    text("<html>");
  }
  SECTION("nothing") {
    text("");
  }
  SECTION("an error") {
    text("{}", 500);
  }
  SECTION("no answer's members") {
    text("{}");
  }
  SECTION("wrong types") {
    text(R"({"v":1,"node":"fake","now":1,"heads":{"a":1},"forks":7,"records":"none"})");
  }
  SECTION("nested deeply") {
    text(std::string(100'000, '['));
  }
  SECTION("another version") {
    std::string other = good;
    other.replace(other.find("\"v\":1"), 5, "\"v\":9");
    text(other);
  }
  SECTION("more without end, and never a record") {
    std::vector<FakeLog> none = {FakeLog("itest", "fake")};
    std::string empty = SyncAnswerOf(none, /*more=*/true);
    // A head of seq 0 is no head.
    const size_t from = empty.find("[[");
    empty.replace(from, empty.find("]]") + 2 - from, "[]");
    text(empty);
  }
  SECTION("an answer without end") {
    nonsense = [&](const httplib::Request&, httplib::Response& response) {
      response.set_chunked_content_provider(
          "application/json", [&](size_t, httplib::DataSink& sink) {
            static const std::string block(65536, ' ');
            return !stopping->load() && sink.write(block.data(), block.size());
          });
    };
  }
  SECTION("an answer that is announced as huge") {
    nonsense = [&](const httplib::Request&, httplib::Response& response) {
      response.set_content_provider(
          size_t{10} << 30, "application/json", [&](size_t, size_t, httplib::DataSink& sink) {
            static const std::string block(65536, ' ');
            return !stopping->load() && sink.write(block.data(), block.size());
          });
    };
  }
  SECTION("an answer byte by byte") {
    nonsense = [&](const httplib::Request&, httplib::Response& response) {
      response.set_chunked_content_provider(
          "application/json", [&](size_t, httplib::DataSink& sink) {
            Eventually(milliseconds(20), [&] { return stopping->load(); });
            return !stopping->load() && sink.write(" ", 1);
          });
    };
  }
  if (!nonsense) return;  // Catch runs the body once more when there is no section left

  FakePeer fake([&](const httplib::Request& request, httplib::Response& response) {
    if (sane) {
      response.set_content(good, "application/json");
    } else {
      nonsense(request, response);
    }
  });
  stopping = &fake.stopping();
  Cluster cluster(Nodes(2));
  cluster.node(0).options().peers.push_back(fake.address());
  cluster.StartAll();
  REQUIRE(Eventually(seconds(10), [&] { return fake.requests() >= 1; }));
  Ledger ledger;
  Load load({cluster.node(0).address()}, ledger, {.timeout = seconds(8)});
  load.AwaitMore(200);
  const int before = fake.requests();
  const auto begun = std::chrono::steady_clock::now();
  load.AwaitMore(300);
  load.Stop();
  const auto took =
      std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun);
  // Once an interval of 100 ms on each of two connections, and no more.
  CHECK(fake.requests() - before <= took.count() / 100 * 3 + 10);
  CHECK(load.failures() == 0);
  CheckConverged(cluster.addresses(), ledger, seconds(10));
  // A sanitizer keeps books of its own on each byte.
  const size_t most_mib = kSanitized ? 2000 : 400;
  CHECK(ResidentMiB(cluster.node(0).process().pid()) < most_mib);
  sane = true;
  CHECK(Eventually(seconds(30), [&] { return SeqOf(cluster.api(1).Nodes(), "fake") == 1; }));
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("POST /sync refuses what it cannot read and serves within its bounds") {
  Cluster cluster(Nodes(1));
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 30, "zero");
  Api api = cluster.api(0);
  const Json good = {{"v", 1}, {"cluster", "itest"}, {"node", "9"}, {"have", Json::array()}};
  const auto with = [&](const std::string& member, Json value) {
    Json changed = good;
    changed[member] = std::move(value);
    return changed;
  };
  const auto check = [&](const Json& request, int status, const std::string& part) {
    const Answer answer = api.Sync(request);
    INFO(request.dump().substr(0, 200) << " -> " << answer.text());
    CHECK(answer.status == status);
    CHECK(answer.detail().find(part) != std::string::npos);
  };
  check(with("v", 2), 422, "v");
  check(with("cluster", 5), 422, "cluster");
  check(with("node", "a b"), 422, "node");
  check(with("have", "all"), 422, "have");
  check(with("have", Json::array({Json::array({"0", "xyz", 1, ""})})), 422, "have");
  check(with("limit", 0), 422, "limit");
  check(with("wait_ms", -1), 422, "wait_ms");
  check(with("relay", "yes"), 422, "relay");
  check(Json::array(), 400, "");

  CHECK(api.Sync(with("from_the_future", true)).status == 200);
  Answer all = api.Sync(good);
  REQUIRE(all.status == 200);
  CHECK(all.json()["records"].size() == 30);
  CHECK(all.json()["more"] == false);
  const Answer few = api.Sync(with("limit", 7));
  CHECK(few.json()["records"].size() == 7);
  CHECK(few.json()["more"] == true);
  const Answer small = api.Sync(with("max_bytes", 1));
  CHECK(small.json()["records"].size() == 1);
  CHECK(small.json()["more"] == true);
  const Answer nothing = api.Sync(with("have", all.json()["heads"]));
  CHECK(nothing.json()["records"].empty());
  // A long poll is answered as soon as there is something, and not before.
  std::thread writer([&] { cluster.api(0).Send(MakeMessage("late")); });
  Json waiting = with("have", all.json()["heads"]);
  waiting["wait_ms"] = 5000;
  waiting["relay"] = false;
  const Answer waited = api.Sync(waiting);
  writer.join();
  CHECK(waited.json()["records"].size() == 1);
}

}  // namespace chatchain::testing
