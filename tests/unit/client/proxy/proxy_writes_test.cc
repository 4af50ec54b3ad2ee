// SPDX-License-Identifier: MIT
// Writes through the whole proxy, over HTTP, with scripted nodes: keys, batches, queues, and who is
// asked when.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/protocol/hlc.h"
#include "common/protocol/json.h"
#include "common/util/encoding.h"
#include "tests/support/running_proxy.h"

namespace chatchain::testing {
TEST_CASE("key-reused is the answer only when no node took the message", "[proxy]") {
  const std::string reused =
      R"({"type":"urn:chatchain:problem:key-reused","title":"t","status":422,"detail":"d"})";
  for (const Strategy strategy : kStrategies) {
    INFO(StrategyName(strategy));
    ScriptedNode one([&](const ScriptedRequest& r) { return BatchSays(r, 422, reused); });
    ScriptedNode two([&](const ScriptedRequest& r) { return BatchSays(r, 422, reused); });
    ScriptedNode takes([&](const ScriptedRequest& r) { return BatchSays(r, 201, kObject); });
    ClientConfig config = Config({one.address(), two.address()});
    config.write_strategy = strategy;
    {
      Running proxy(config);
      proxy.AwaitProbes();
      const auto answer = proxy.Post(kMessage, With("Idempotency-Key", "k"));
      CHECK(answer.status == 422);
      CHECK(answer.body == reused);
      CHECK(one.requests() == 1);
      CHECK(two.requests() == 1);
    }
    config.nodes = {one.address(), takes.address()};
    Running proxy(config);
    proxy.AwaitProbes();
    for (int i = 0; i < 4; ++i) {
      CHECK(proxy.Post(kMessage, With("Idempotency-Key", "k")).status == 201);
    }
  }
}

TEST_CASE("every try carries the same key and the same stamp", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    const auto refuse = [](const ScriptedRequest&) { return NodeProblem(503); };
    ScriptedNode one(refuse);
    ScriptedNode two(refuse);
    ClientConfig config = Config({one.address(), two.address()});
    config.write_strategy = strategy;
    Running proxy(config);
    CHECK(proxy.Post(kMessage).status == 503);
    std::set<std::string> items;
    for (const ScriptedNode* node : {&one, &two}) {
      for (const ScriptedRequest& request : node->seen()) {
        CHECK(request.target == "/messages/batch");
        CHECK(!request.Header("ChatChain-Deadline-Ms").empty());
        for (const std::string& item : BatchItems(request)) items.insert(item);
      }
    }
    REQUIRE(items.size() == 1);
    const Json item = Json::parse(*items.begin());
    CHECK(item.at("sender") == "a");
    CHECK(item.at("stamp").get<std::string>().size() == 16);
    CHECK(UuidV7Time(item.at("key").get<std::string>()));
    CHECK(one.requests() + two.requests() >= 2);
  }
}

TEST_CASE("an answer to a write says what happened", "[proxy]") {
  int status = 201;
  ScriptedNode node([&](const ScriptedRequest& r) { return BatchSays(r, status, kObject); });
  Running proxy(Config({node.address()}));
  auto answer = proxy.Post(kMessage, With("Idempotency-Key", "mine"));
  CHECK(answer.status == 201);
  CHECK(answer.body == kObject);
  CHECK(Value(answer, "Location") == "/messages/" + kId);
  CHECK(Value(answer, "Idempotent-Replayed").empty());
  CHECK(Value(answer, "ChatChain-Attempts") == "1");
  CHECK(Json::parse(BatchItems(node.seen().back())[0]).at("key") == "mine");
  status = 200;
  answer = proxy.Post(kMessage, With("Idempotency-Key", "mine"));
  CHECK(answer.status == 200);
  CHECK(Value(answer, "Idempotent-Replayed") == "true");
}

TEST_CASE("what reached a node by sync before it came from the proxy is new all the same",
          "[proxy]") {
  std::atomic<bool> older{false};
  ScriptedNode node([&](const ScriptedRequest& request) {
    const auto stamp =
        ParseHexU64(Json::parse(BatchItems(request).front()).at("stamp").get<std::string>());
    const int64_t ms = StampMs(*stamp) - (older ? 1 : 0);
    return BatchSays(request, 200, R"({"id":"x","accepted_at":")" + FormatTime(ms) + "\"}");
  });
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  auto answer = proxy.Post(kMessage, With("Idempotency-Key", "k"));
  CHECK(answer.status == 201);
  CHECK_FALSE(answer.headers.Get("Idempotent-Replayed"));
  // A stamp that was given may be that of the request which is repeated.
  answer = proxy.Post(kMessage, With("ChatChain-Stamp", "0197000000000000"));
  CHECK(answer.status == 200);
  CHECK(Value(answer, "Idempotent-Replayed") == "true");
  const std::string item = R"({"sender":"a","recipient":"b","text":"hi","key":"k"})";
  answer = proxy.Post("{\"messages\":[" + item + "," + item + "]}", {}, "/messages/batch");
  const Json results = Json::parse(answer.body).at("results");
  CHECK(results[0].at("status") == 201);
  CHECK(results[1].at("status") == 200);
  older = true;
  CHECK(proxy.Post(kMessage, With("Idempotency-Key", "k")).status == 200);
}

TEST_CASE("items of a batch are judged one by one", "[proxy]") {
  // Each node takes what the other refuses.
  const auto only = [](std::string text) {
    return [text](const ScriptedRequest& request) {
      std::string results;
      for (const std::string& item : BatchItems(request)) {
        const bool takes = Json::parse(item).at("text") == text;
        if (!results.empty()) results += ',';
        results += takes ? "{\"status\":201,\"message\":" + kObject + "}"
                         : R"({"status":503,"problem":{"detail":"not mine"}})";
      }
      return NodeSays(200, "{\"results\":[" + results + "]}");
    };
  };
  ScriptedNode one(only("one"));
  ScriptedNode two(only("two"));
  Running proxy(Config({one.address(), two.address()}));
  proxy.AwaitProbes();
  const auto item = [](const std::string& text) {
    return R"({"sender":"a","recipient":"b","text":")" + text + "\"}";
  };
  const auto answer = proxy.Post(
      "{\"messages\":[" + item("one") + ",{\"bad\":1}," + item("two") + "," + item("three") + "]}",
      {}, "/messages/batch");
  REQUIRE(answer.status == 200);
  const Json results = Json::parse(answer.body).at("results");
  REQUIRE(results.size() == 4);
  CHECK(results[0].at("status") == 201);
  CHECK(results[1].at("status") == 400);
  CHECK(results[2].at("status") == 201);
  CHECK(results[3].at("status") == 503);
  // The bad one went nowhere; the others have one key each.
  std::set<std::string> keys;
  for (const std::string& sent : BatchItems(one.seen().front())) {
    keys.insert(Json::parse(sent).at("key").get<std::string>());
  }
  CHECK(keys.size() == 3);
}

TEST_CASE("messages with the same key in flight share one result", "[proxy]") {
  constexpr int kClients = 8;
  Gate gate;
  ScriptedNode node(Behind(gate, Sound));
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  std::vector<std::future<http::ClientResponse>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(
        std::launch::async, [&] { return proxy.Post(kMessage, With("Idempotency-Key", "k")); }));
  }
  proxy.Await([&] { return proxy.Metric("chatchain_proxy_requests_in_flight") > kClients; });
  proxy.Await([&] { return node.requests() >= 1; });
  gate.Open();
  int fresh = 0;
  for (auto& client : clients) {
    const auto answer = client.get();
    CHECK(answer.body == kObject);
    CHECK(answer.headers.Get("ChatChain-Node"));
    const bool replayed = answer.headers.Get("Idempotent-Replayed").has_value();
    CHECK(answer.status == (replayed ? 200 : 201));
    fresh += replayed ? 0 : 1;
  }
  CHECK(proxy.Metric("chatchain_proxy_shared_writes_total") >= 1);
  CHECK(fresh == kClients - proxy.Metric("chatchain_proxy_shared_writes_total"));
}

TEST_CASE("what queues up behind a request travels as one batch", "[proxy]") {
  constexpr int kClients = 40;
  Gate gate;
  std::atomic<int> batches{0};
  std::atomic<size_t> largest{0};
  ScriptedNode node([&](const ScriptedRequest& request) {
    const size_t items = BatchItems(request).size();
    size_t before = largest;
    while (before < items && !largest.compare_exchange_weak(before, items)) {
    }
    if (++batches <= 2) gate.Wait();  // both senders are held
    return BatchSays(request, 201, kObject);
  });
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  std::vector<std::future<int>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(std::launch::async, [&] { return proxy.Post(kMessage).status; }));
  }
  const std::string queued =
      "chatchain_proxy_node_queued_messages{node=\"" + node.address() + "\"}";
  // Each sender may have taken a few before it was held.
  proxy.Await([&] { return proxy.Metric("chatchain_proxy_requests_in_flight") > kClients; });
  proxy.Await([&] { return batches == 2 && proxy.Metric(queued) > 0; });
  gate.Open();
  for (auto& client : clients) CHECK(client.get() == 201);
  CHECK(largest > 1);
  CHECK(batches < kClients);
}

TEST_CASE("a full queue is said early", "[proxy]") {
  ScriptedNode node([](const ScriptedRequest&) { return Hang(); });
  ClientConfig config = Config({node.address()});
  config.queue_per_node_messages = 2;
  config.request_timeout_ms = 1500;
  Running proxy(config);
  proxy.AwaitProbes();
  std::vector<std::future<http::ClientResponse>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::async(std::launch::async, [&] { return proxy.Post(kMessage); }));
  }
  int busy = 0;
  for (auto& client : clients) {
    const auto answer = client.get();
    CHECK(answer.status == 503);
    CHECK(Value(answer, "Retry-After") == "1");
    busy += answer.body.find("queue is full") != std::string::npos ? 1 : 0;
  }
  CHECK(busy >= 12 - 2 - 2 - 2);
}

TEST_CASE("a hung node does not delay what another has answered", "[proxy]") {
  ScriptedNode hung([](const ScriptedRequest&) { return Hang(); });
  ScriptedNode sound(Sound);
  ClientConfig config = Config({hung.address(), sound.address()});
  config.queue_per_node_messages = 10;
  Running proxy(config);
  proxy.AwaitProbes();
  // Whoever waited for it would wait for its share of the deadline, each time.
  int late = 0;
  const int64_t took_ms = MillisOf([&] {
    for (int i = 0; i < 200; ++i) {
      late += MillisOf([&] { REQUIRE(proxy.Post(kMessage).status == 201); }) >= 500 ? 1 : 0;
    }
  });
  CHECK(late < 10);
  if (!kSanitized) CHECK(took_ms < 2500);
  CHECK(sound.requests() > 0);
}

TEST_CASE("while many write, nodes do not repeat each other's work", "[proxy]") {
  constexpr int kClients = 40;
  constexpr int kEach = 10;
  std::atomic<size_t> items{0};
  const auto slow = [&](const ScriptedRequest& request) {
    items += BatchItems(request).size();
    // As a disk would, and long enough that most clients wait at any time, on slow machines too:
    // what few clients write goes to all nodes.
    std::this_thread::sleep_for(milliseconds(40));
    return BatchSays(request, 201, kObject);
  };
  ScriptedNode one(slow);
  ScriptedNode two(slow);
  ScriptedNode three(slow);
  Running proxy(Config({one.address(), two.address(), three.address()}));
  proxy.AwaitProbes();
  std::vector<std::future<int>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(std::launch::async, [&] {
      int stored = 0;
      for (int n = 0; n < kEach; ++n) stored += proxy.Post(kMessage).status == 201 ? 1 : 0;
      return stored;
    }));
  }
  for (auto& client : clients) CHECK(client.get() == kEach);
  // Three times as many would be every node's share of everything.
  // A sanitizer makes every lead late.
  if (!kSanitized) CHECK(items < 2 * kClients * kEach);
}

TEST_CASE("while many write, a hung lead is left at once", "[proxy]") {
  constexpr int kClients = 40;
  constexpr int64_t kFailed = 1'000'000;
  ScriptedNode hung([](const ScriptedRequest&) { return Hang(); });
  ScriptedNode sound([](const ScriptedRequest& request) {
    std::this_thread::sleep_for(milliseconds(2));
    return BatchSays(request, 201, kObject);
  });
  Running proxy(Config({hung.address(), sound.address()}));
  proxy.AwaitProbes();
  std::vector<std::future<int64_t>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(std::launch::async, [&] {
      int64_t longest_ms = 0;
      for (int n = 0; n < 5; ++n) {
        int status = 0;
        longest_ms = std::max(longest_ms, MillisOf([&] { status = proxy.Post(kMessage).status; }));
        if (status != 201) return kFailed;
      }
      return longest_ms;
    }));
  }
  // It counts as mute only after 750 ms. Beneath a sanitizer 40 clients take as long by themselves.
  for (auto& client : clients) CHECK(client.get() < (kSanitized ? kFailed : 700));
}

}  // namespace chatchain::testing
