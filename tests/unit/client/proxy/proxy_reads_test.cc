// SPDX-License-Identifier: MIT
// Reads through the whole proxy, over HTTP, with scripted nodes: which answer is final, who is
// asked when, and what is shared.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <string>
#include <vector>

#include "common/protocol/token.h"
#include "tests/support/running_proxy.h"

namespace chatchain::testing {
TEST_CASE("404 and an empty page are final once every ready node was asked", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    INFO(StrategyName(strategy));
    const auto nothing = [](const ScriptedRequest& request) {
      return request.target.find('?') != std::string::npos ? NodeSays(200, kEmptyPage)
                                                           : NodeProblem(404);
    };
    ScriptedNode one(nothing);
    ScriptedNode two(nothing);
    ScriptedNode other(Sound);
    {
      ClientConfig config = Config({one.address(), two.address()});
      config.read_strategy = strategy;
      Running proxy(config);
      proxy.AwaitProbes();
      const auto missing = proxy.Get("/messages/" + kId);
      CHECK(missing.status == 404);
      CHECK(Value(missing, "ChatChain-Attempts") == "2");
      const auto empty = proxy.Get("/messages?sender=x");
      CHECK(empty.status == 200);
      CHECK(empty.body == kEmptyPage);
      CHECK(Value(empty, "ChatChain-Attempts") == "2");
    }
    CHECK(one.requests() == 2);
    CHECK(two.requests() == 2);
    ClientConfig config = Config({one.address(), other.address()});
    config.read_strategy = strategy;
    Running proxy(config);
    proxy.AwaitProbes();
    for (int i = 0; i < 4; ++i) {
      CHECK(proxy.Get("/messages/" + kId).status == 200);
      CHECK(proxy.Get("/messages?sender=x").body == kFullPage);
    }
    // A node that is catching up has no say while another is ready.
    other.set_state("catching_up");
    proxy.Await(
        [&] { return proxy.Get("/network").body.find("catching_up") != std::string::npos; });
    const auto missing = proxy.Get("/messages/" + kId);
    CHECK(missing.status == 404);
    CHECK(Value(missing, "ChatChain-Attempts") == "1");
  }
}

TEST_CASE("a token leads to the node that gave it", "[proxy]") {
  const TokenCodec codec(kCluster);
  const auto giving = [&](Seq seq) {
    return [&codec, seq](const ScriptedRequest&) {
      return NodeSays(
          200, kFullPage,
          "ChatChain-Session: " + codec.EncodeSession({{{"0", 1}, {.seq = seq}}}) + "\r\n");
    };
  };
  ScriptedNode one(giving(1));
  ScriptedNode two(giving(2));
  Running proxy(Config({one.address(), two.address()}));
  proxy.AwaitProbes();
  while (one.requests() == 0 || two.requests() == 0) proxy.Get("/messages");
  const int before = two.requests();
  const std::string token = codec.EncodeSession({{{"0", 1}, {.seq = 2}}});
  for (int i = 0; i < 10; ++i) proxy.Get("/messages", With("ChatChain-Session", token));
  CHECK(two.requests() == before + 10);
}

TEST_CASE("a node that lies about its heads misleads nobody", "[proxy]") {
  TokenVector vector;
  vector[EpochKey{"a", 1}] = {.seq = 5};
  const TokenCodec tokens(kCluster);
  const std::string token = tokens.EncodeSession(vector);
  // It shows whatever heads make it the first to be asked, and knows nothing.
  ScriptedNode liar(
      [](const ScriptedRequest& request) {
        const std::string heads =
            R"([["a","0000000000000001",999999,")" + std::string(64, '0') + R"("]])";
        if (request.target == "/readyz") {
          return NodeSays(200, R"({"state":"ready","heads":)" + heads + "}");
        }
        if (request.target == "/nodes") return NodeSays(200, R"({"self":{"id":"liar"}})");
        return request.target.find('?') != std::string::npos ? NodeSays(200, kEmptyPage)
                                                             : NodeProblem(404);
      },
      /*probes=*/true);
  ScriptedNode sound(Sound);
  Running proxy(Config({liar.address(), sound.address()}));
  proxy.AwaitProbes();
  for (int i = 0; i < 4; ++i) {
    CHECK(proxy.Get("/messages/" + kId, With("ChatChain-Session", token)).body == kObject);
    CHECK(proxy.Get("/messages?sender=a", With("ChatChain-Session", token)).body == kFullPage);
  }
}

TEST_CASE("identical reads in flight share one request to a node", "[proxy]") {
  constexpr int kClients = 12;
  Gate gate;
  ScriptedNode node(Behind(gate, Sound));
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  const std::string token = TokenCodec(kCluster).EncodeSession({});
  std::vector<std::future<http::ClientResponse>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(
        std::async(std::launch::async, [&] { return proxy.Get("/messages/" + kId); }));
  }
  // Another session, and another target, are another question.
  clients.push_back(std::async(std::launch::async, [&] {
    return proxy.Get("/messages/" + kId, With("ChatChain-Session", token));
  }));
  clients.push_back(std::async(std::launch::async, [&] {
    return proxy.Get("/messages/" + kId, With("ChatChain-Consistency", "strict"));
  }));
  clients.push_back(std::async(std::launch::async, [&] { return proxy.Get("/messages?limit=7"); }));
  proxy.Await([&] { return proxy.Metric("chatchain_proxy_requests_in_flight") > kClients + 3; });
  proxy.Await([&] { return node.requests() >= 4; });
  gate.Open();
  for (auto& client : clients) CHECK(client.get().status == 200);
  // All have reached their handlers, but a slow one may have come after the answer.
  CHECK(node.requests() <= 4 + kClients / 2);
  CHECK(proxy.Metric("chatchain_proxy_shared_reads_total") + node.requests() == kClients + 3);
}

TEST_CASE("an old answer, and 412, give way to a node that has caught up", "[proxy]") {
  ScriptedNode stale([](const ScriptedRequest& request) {
    if (!request.Header("ChatChain-Consistency").empty()) return NodeProblem(412);
    return NodeSays(200, R"({"messages":[{"id":"old"}],"next":null})", "ChatChain-Stale: 1\r\n");
  });
  ScriptedNode fresh(Sound);
  {
    Running proxy(Config({stale.address(), fresh.address()}));
    proxy.AwaitProbes();
    for (int i = 0; i < 4; ++i) {
      CHECK(proxy.Get("/messages").body == kFullPage);
      CHECK(proxy.Get("/messages", With("ChatChain-Consistency", "strict")).status == 200);
    }
  }
  Running proxy(Config({stale.address(), DeadAddress()}));
  const auto answer = proxy.Get("/messages");
  CHECK(answer.status == 200);
  CHECK(Value(answer, "ChatChain-Stale") == "1");
  CHECK(proxy.Get("/messages", With("ChatChain-Consistency", "strict")).status == 412);
}

TEST_CASE("reads move on from as many mute nodes as there are", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    INFO(StrategyName(strategy));
    const auto hang = [](const ScriptedRequest&) { return Hang(); };
    ScriptedNode one(hang);
    ScriptedNode two(hang);
    ScriptedNode sound(Sound);
    ClientConfig config = Config({one.address(), two.address(), sound.address()});
    config.read_strategy = strategy;
    config.request_timeout_ms = 9000;  // a try alone has 3 s
    Running proxy(config);
    proxy.AwaitProbes();
    const auto read = [&] { CHECK(proxy.Get("/messages").status == 200); };
    // Two nodes that a hedge or a move costs 250 ms each, and not the 750 ms of a mute one.
    CHECK(MillisOf(read) < 1200);
    for (int i = 0; i < 5; ++i) read();
    // By now both are known to be slow, or the test would have met them again.
    CHECK(MillisOf(read) < 500);
  }
}

TEST_CASE("an answer that is not final does not wait for nodes that hang", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    INFO(StrategyName(strategy));
    const auto hang = [](const ScriptedRequest&) { return Hang(); };
    ScriptedNode one(hang);
    ScriptedNode two(hang);
    ScriptedNode sound([](const ScriptedRequest&) { return NodeSays(200, kEmptyPage); });
    ClientConfig config = Config({one.address(), two.address(), sound.address()});
    config.read_strategy = strategy;
    config.request_timeout_ms = 9000;
    Running proxy(config);
    proxy.AwaitProbes();
    http::ClientResponse answer;
    CHECK(MillisOf([&] { answer = proxy.Get("/messages?sender=x"); }) < 1200);
    CHECK(answer.status == 200);
    CHECK(answer.body == kEmptyPage);
  }
}

TEST_CASE("a slow read is hedged; without a budget it moves on once its node is quiet", "[proxy]") {
  for (const int percent : {10, 0}) {
    INFO(percent);
    Gate gate;
    std::atomic<bool> slow{false};
    const auto script = [&](const ScriptedRequest& request) {
      // The first of the two to be asked answers only in the end.
      if (slow.exchange(false)) gate.Wait();
      return Sound(request);
    };
    ScriptedNode one(script);
    ScriptedNode two(script);
    ClientConfig config = Config({one.address(), two.address()});
    config.hedge_percent = percent;
    Running proxy(config);
    proxy.AwaitProbes();
    for (int i = 0; i < 20; ++i) CHECK(proxy.Get("/messages").status == 200);
    slow = true;
    http::ClientResponse answer;
    const int64_t took_ms = MillisOf([&] { answer = proxy.Get("/messages"); });
    CHECK(answer.status == 200);
    CHECK(Value(answer, "ChatChain-Attempts") == "2");
    CHECK(proxy.Metric("chatchain_proxy_hedges_total") == 1);
    CHECK(proxy.Metric("chatchain_proxy_hedges_refused_total") == (percent == 0 ? 1 : 0));
    CHECK(took_ms >= (percent == 0 ? 240 : 20));
    CHECK(took_ms < 2500);
    gate.Open();
  }
}

TEST_CASE("NDJSON walks the pages through whichever node answers", "[proxy]") {
  const auto page = [](const std::string& id, const std::string& next) {
    return NodeSays(200, R"({"messages":[{"id":")" + id + "\"}],\"next\":" + next + "}");
  };
  // The first page only, and then never again.
  ScriptedNode dies([&](const ScriptedRequest& request) {
    return request.target.find("cursor=") == std::string::npos ? page("1", "\"c/1\"")
                                                               : CloseAfter();
  });
  ScriptedNode goes_on([&](const ScriptedRequest& request) {
    if (request.target.find("cursor=c%2F1") != std::string::npos) return page("2", "\"c2\"");
    if (request.target.find("cursor=c2") != std::string::npos) return page("3", "null");
    return NodeProblem(503);
  });
  const http::Headers accept = With("Accept", "application/x-ndjson");
  {
    Running proxy(Config({dies.address(), goes_on.address()}));
    const auto answer = proxy.Get("/messages?sender=a%20b&order=desc", accept);
    CHECK(answer.status == 200);
    CHECK(Value(answer, "Content-Type") == "application/x-ndjson");
    CHECK(answer.body == "{\"id\":\"1\"}\n{\"id\":\"2\"}\n{\"id\":\"3\"}\n");
    for (const ScriptedRequest& request : goes_on.seen()) {
      CHECK(request.target.find("sender=a%20b") != std::string::npos);
      CHECK(request.target.find("order=desc") != std::string::npos);
    }
    const auto two = proxy.Get("/messages?limit=2", accept);
    CHECK(two.body == "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");
  }
  // Nobody goes on: the reader must see that something is missing.
  ClientConfig config = Config({dies.address()});
  config.request_timeout_ms = 1000;
  Running proxy(config);
  CHECK(proxy.Get("/messages", accept).status == -1);
  // Before the first line it is an ordinary answer.
  ScriptedNode bad([](const ScriptedRequest&) { return NodeProblem(400); });
  Running other(Config({bad.address()}));
  CHECK(other.Get("/messages?cursor=x", accept).status == 400);
}

}  // namespace chatchain::testing
