// SPDX-License-Identifier: MIT
// The whole proxy, over HTTP, with scripted nodes: every way in which a node can misbehave, under
// every strategy, while another one lives.
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
#include "common/protocol/token.h"
#include "tests/support/running_proxy.h"

namespace chatchain::testing {
namespace {

struct Misbehaviour {
  std::string_view what;
  ScriptedNode::Script script;
  bool probes = false;  // it takes the probes too
};

std::vector<Misbehaviour> Misbehaviours() {
  const std::string start =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nChatChain-Node: x\r\n";
  return {
      {"hangs after accept, probes too", [](const auto&) { return Hang(); }, true},
      {"hangs after accept", [](const auto&) { return Hang(); }},
      {"hangs mid-answer",
       [=](const auto&) { return Hang(start + "Content-Length: 99\r\n\r\n{"); }},
      {"closes without an answer", [](const auto&) { return CloseAfter(); }},
      {"closes, probes too", [](const auto&) { return CloseAfter(); }, true},
      {"closes mid-answer",
       [=](const auto&) { return CloseAfter(start + "Content-Length: 99\r\n\r\n{\"mess"); }},
      {"says 500", [](const auto&) { return NodeProblem(500); }},
      {"says 503", [](const auto&) { return NodeProblem(503); }},
      {"says 503, probes too", [](const auto&) { return NodeProblem(503); }, true},
      {"says 429", [](const auto&) { return NodeProblem(429); }},
      {"speaks garbage", [](const auto&) { return CloseAfter("\x16\x03\x01 what?\r\n\r\n"); }},
      {"is another server",
       [](const auto&) {
         return ScriptedAnswer{
             "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"};
       },
       true},
      {"gives JSON of another kind", [](const auto&) { return NodeSays(200, "{\"hello\":1"); }},
      {"sends too little",
       [=](const auto&) { return CloseAfter(start + "Content-Length: 5000\r\n\r\n" + kFullPage); }},
      {"sends too much",
       [=](const auto&) {
         return ScriptedAnswer{start + "Content-Length: 3\r\n\r\n" + kFullPage};
       }},
      {"repeats Content-Length",
       [=](const auto&) {
         return CloseAfter(start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{\"a\":1}");
       }},
      {"announces a huge answer",
       [=](const auto&) { return Hang(start + "Content-Length: 99999999999\r\n\r\n{"); }},
      {"announces a huge chunk",
       [=](const auto&) {
         return Hang(start + "Transfer-Encoding: chunked\r\n\r\n7fffffffffff\r\n{");
       }},
      {"has an endless head",
       [=](const auto&) { return CloseAfter(start + "X: " + std::string(300'000, 'x')); }},
      {"redirects", [](const auto&) { return NodeSays(302, "{}"); }},
  };
}

}  // namespace

TEST_CASE("no request fails while one node lives, whatever the other one does", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    for (const Misbehaviour& bad : Misbehaviours()) {
      INFO(StrategyName(strategy) << ": the other node " << bad.what);
      ScriptedNode sound(Sound);
      ScriptedNode broken(bad.script, bad.probes);
      ClientConfig config = Config({broken.address(), sound.address()});
      config.read_strategy = strategy;
      config.write_strategy = strategy;
      Running proxy(config);
      for (int i = 0; i < 2; ++i) {
        // Below the deadline of 3 s: the bound of a try, not that of the request, ended the wait.
        http::ClientResponse answer;
        CHECK(MillisOf([&] { answer = proxy.Get("/messages?limit=10"); }) < 2500);
        CHECK(answer.status == 200);
        CHECK(answer.body == kFullPage);
        CHECK(Value(answer, "ChatChain-Node") == "scripted");
        CHECK(!Value(answer, "ChatChain-Attempts").empty());
        CHECK(MillisOf([&] { answer = proxy.Get("/messages/" + kId); }) < 2500);
        CHECK(answer.status == 200);
        CHECK(MillisOf([&] { answer = proxy.Post(kMessage); }) < 2500);
        CHECK(answer.status == 201);
      }
    }
  }
}

TEST_CASE("a node that refuses connections costs nothing", "[proxy]") {
  for (const Strategy strategy : kStrategies) {
    ScriptedNode sound(Sound);
    ClientConfig config = Config({DeadAddress(), sound.address(), DeadAddress()});
    config.read_strategy = strategy;
    config.write_strategy = strategy;
    Running proxy(config);
    const int64_t took_ms = MillisOf([&] {
      for (int i = 0; i < 20; ++i) {
        CHECK(proxy.Get("/messages").status == 200);
        CHECK(proxy.Post(kMessage).status == 201);
      }
    });
    CHECK(took_ms < 2000);
  }
}

TEST_CASE("with no node alive the answer comes soon and names each", "[proxy]") {
  const std::string first = DeadAddress();
  ScriptedNode failing([](const auto&) { return NodeProblem(500); });
  Running proxy(Config({first, failing.address()}));
  for (const bool write : {false, true}) {
    http::ClientResponse answer;
    const int64_t took_ms =
        MillisOf([&] { answer = write ? proxy.Post(kMessage) : proxy.Get("/messages/" + kId); });
    CHECK(took_ms < 1500);
    CHECK(answer.status == 503);
    CHECK(Value(answer, "Content-Type") == "application/problem+json");
    CHECK(Value(answer, "Retry-After") == "1");
    const std::string detail = Json::parse(answer.body).at("detail");
    CHECK(detail.find(first) != std::string::npos);
    CHECK(detail.find(failing.address() + ": 500 scripted") != std::string::npos);
  }
}

TEST_CASE("a node that came back is used at once, breaker or not", "[proxy]") {
  std::atomic<bool> alive{true};
  ScriptedNode node(
      [&](const ScriptedRequest& request) { return alive ? Sound(request) : CloseAfter(); });
  ClientConfig config = Config({node.address(), DeadAddress()});
  config.breaker_open_ms = 60'000;
  config.breaker_max_ms = 60'000;
  Running proxy(config);
  proxy.AwaitProbes();
  alive = false;
  for (int i = 0; i < 6; ++i) CHECK(proxy.Get("/messages").status == 503);
  CHECK(proxy.Get("/network").body.find("\"open\"") != std::string::npos);
  alive = true;
  CHECK(proxy.Get("/messages").status == 200);
  CHECK(proxy.Post(kMessage).status == 201);
}

TEST_CASE("bad input is answered by the proxy and reaches no node", "[proxy]") {
  ScriptedNode node(Sound);
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  const auto post = [&](std::string body) { return proxy.Post(std::move(body)).status; };
  CHECK(post("") == 400);
  CHECK(post("{") == 400);
  CHECK(post("[]") == 400);
  CHECK(post(R"({"sender":"a","recipient":"b","text":"x","extra":1})") == 400);
  CHECK(post(R"({"sender":"a","sender":"a","recipient":"b","text":"x"})") == 400);
  CHECK(post(R"({"sender":"a","text":"x"})") == 422);
  CHECK(post(R"({"sender":"a","recipient":"b","room":"r","text":"x"})") == 422);
  CHECK(post(R"({"sender":"a","recipient":"b","text":5})") == 422);
  CHECK(post(R"({"sender":"a","recipient":"b","text":"x","timestamp":1e30})") == 422);
  CHECK(post(std::string(2 << 20, 'x')) == 413);
  CHECK(proxy.Post(kMessage, With("Idempotency-Key", std::string(257, 'k'))).status == 422);
  CHECK(proxy.Post(kMessage, With("ChatChain-Acks", "2")).status == 422);
  CHECK(proxy.Post(kMessage, With("ChatChain-Acks", "many")).status == 422);
  CHECK(proxy.Post(kMessage, With("ChatChain-Session", "garbage")).status == 400);
  CHECK(proxy.Post(kMessage, With("ChatChain-Session", "")).status == 400);
  CHECK(proxy.Post(kMessage, With("ChatChain-Consistency", "loose")).status == 422);
  CHECK(proxy.Post(kMessage, With("ChatChain-Stamp", "xyz")).status == 422);
  CHECK(proxy.Post(kMessage, {}, "/messages?x=1").status == 400);
  CHECK(proxy.Post("{\"messages\":[]}", {}, "/messages/batch").status == 422);
  CHECK(proxy.Post("{\"messages\":{}}", {}, "/messages/batch").status == 422);
  CHECK(proxy.Post("{}", {}, "/messages/batch").status == 422);
  CHECK(proxy.Post("{\"messages\":[" + kMessage + "],\"x\":1}", {}, "/messages/batch").status ==
        400);
  CHECK(proxy
            .Post("{\"messages\":[" + kMessage + "]}", With("Idempotency-Key", "k"),
                  "/messages/batch")
            .status == 400);
  CHECK(proxy.Get("/messages?limit=0").status == 422);
  CHECK(proxy.Get("/messages?colour=red").status == 400);
  CHECK(proxy.Get("/messages", With("Accept", "image/png")).status == 406);
  CHECK(proxy.Get("/messages/no-such-id").status == 404);
  CHECK(proxy.Get("/nowhere").status == 404);
  CHECK(proxy.Send({.method = "DELETE", .target = "/messages"}).status == 405);
  CHECK(proxy
            .Send({.method = "POST",
                   .target = "/messages",
                   .body = kMessage,
                   .content_type = "text/plain"})
            .status == 415);
  CHECK(node.requests() == 0);
}

TEST_CASE("a client's own deadline is kept, and blamed on no node", "[proxy]") {
  ScriptedNode node([](const ScriptedRequest&) { return Hang(); });
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  for (int i = 0; i < 8; ++i) {
    http::ClientResponse answer;
    CHECK(MillisOf([&] { answer = proxy.Get("/messages", With("ChatChain-Deadline-Ms", "20")); }) <
          1000);
    CHECK(answer.status == 503);
  }
  CHECK(proxy.Get("/network").body.find("\"closed\"") != std::string::npos);
  CHECK(proxy.Get("/messages", With("ChatChain-Deadline-Ms", "soon")).status == 422);
  CHECK(proxy.Post(kMessage, With("ChatChain-Deadline-Ms", "soon")).status == 422);
}

TEST_CASE("session tokens: joined to a write's answer, handed on with a read", "[proxy]") {
  const TokenCodec codec(kCluster);
  const TokenVector held = {{{"0", 1}, {.seq = 5}}};
  const TokenVector brought = {{{"0", 1}, {.seq = 3}}, {{"1", 1}, {.seq = 9}}};
  const std::string header = "ChatChain-Session: " + codec.EncodeSession(held) + "\r\n";
  ScriptedNode node([&](const ScriptedRequest& request) {
    if (request.method == "GET") return NodeSays(200, kFullPage, header);
    ScriptedAnswer answer = BatchSays(request, 201, kObject);
    answer.bytes.insert(answer.bytes.find("Content-Length"), header);
    return answer;
  });
  Running proxy(Config({node.address()}));
  CHECK(Value(proxy.Post(kMessage), "ChatChain-Session") == codec.EncodeSession(held));
  const auto answer = proxy.Post(kMessage, With("ChatChain-Session", codec.EncodeSession(brought)));
  const auto token = codec.DecodeSession(Value(answer, "ChatChain-Session"));
  REQUIRE(token);
  CHECK(*token == TokenVector{{{"0", 1}, {.seq = 5}}, {{"1", 1}, {.seq = 9}}});

  http::Headers headers = With("ChatChain-Session", codec.EncodeSession(brought));
  headers.Add("ChatChain-Consistency", "strict");
  CHECK(proxy.Get("/messages", headers).status == 200);
  CHECK(node.seen().back().Header("ChatChain-Session") == codec.EncodeSession(brought));
  CHECK(node.seen().back().Header("ChatChain-Consistency") == "strict");
}

TEST_CASE("a client over its rate is told so; other routes are open", "[proxy]") {
  ScriptedNode node(Sound);
  ClientConfig config = Config({node.address()});
  config.rate_limit_per_second = 1;
  config.rate_limit_burst = 3;
  Running proxy(config);
  for (int i = 0; i < 3; ++i) CHECK(proxy.Get("/messages").status == 200);
  http::ClientResponse answer = proxy.Post(kMessage);
  CHECK(answer.status == 429);
  CHECK(Value(answer, "Retry-After") == "1");
  CHECK(Value(answer, "Content-Type") == "application/problem+json");
  CHECK(answer.headers.Get("ChatChain-Session"));
  CHECK(node.requests() == 3);
  CHECK(proxy.Get("/network").status == 200);
  CHECK(proxy.Metric("chatchain_proxy_rate_limited_total") == 1);
}

TEST_CASE("answers about messages carry a session token, errors of the proxy too", "[proxy]") {
  Running proxy(Config({DeadAddress()}));
  const TokenCodec tokens(kCluster);
  TokenVector vector;
  vector[EpochKey{"a", 1}] = {.seq = 7};
  const std::string brought = tokens.EncodeSession(vector);
  for (const auto& answer : {proxy.Get("/messages/" + kId), proxy.Get("/messages/nothing"),
                             proxy.Get("/messages?x=1"), proxy.Post("{"), proxy.Post(kMessage),
                             proxy.Get("/messages", With("ChatChain-Session", "?"))}) {
    INFO(answer.status << " " << answer.body);
    CHECK(answer.status >= 400);
    CHECK(tokens.DecodeSession(Value(answer, "ChatChain-Session")));
  }
  CHECK(Value(proxy.Get("/messages/" + kId, With("ChatChain-Session", brought)),
              "ChatChain-Session") == brought);
}

TEST_CASE("nodes and limits can be replaced while it works", "[proxy]") {
  Gate gate;
  std::atomic<bool> hold{false};
  ScriptedNode first([&](const ScriptedRequest& request) {
    if (hold.exchange(false)) gate.Wait();
    return Sound(request);
  });
  ScriptedNode second(Sound);
  const ClientConfig config = Config({first.address()});
  Running proxy(config);
  proxy.AwaitProbes();
  CHECK(proxy.Get("/messages").status == 200);
  hold = true;
  auto begun = std::async(std::launch::async, [&] { return proxy.Get("/messages").status; });
  proxy.Await([&] { return first.requests() == 2; });

  ClientConfig wanted = Config({second.address()});
  wanted.read_strategy = Strategy::kFailover;
  wanted.rate_limit_per_second = 1;
  wanted.rate_limit_burst = 2;
  const auto reloaded = proxy.app().Reload(wanted);
  REQUIRE(reloaded);
  CHECK(reloaded->empty());
  CHECK(proxy.Get("/messages?limit=5").status == 200);
  CHECK(second.requests() == 1);
  const Json network = Json::parse(proxy.Get("/network").body);
  CHECK(network.at("nodes").size() == 1);
  CHECK(network.at("nodes")[0].at("address") == second.address());
  CHECK(network.at("strategy").at("read") == "failover");
  CHECK(proxy.Get("/messages?limit=5").status == 200);
  CHECK(proxy.Get("/messages?limit=5").status == 429);
  // What had begun ends with the node that it began with.
  gate.Open();
  CHECK(begun.get() == 200);

  wanted.nodes = {first.address(), second.address()};
  wanted.max_connections += 1;
  const auto more = proxy.app().Reload(wanted);
  REQUIRE(more);
  CHECK(*more == "client.max_connections");
  proxy.AwaitProbes();
  CHECK(Json::parse(proxy.Get("/network").body).at("ready") == 2);
  wanted.access_log = "/nowhere/at/all";
  CHECK_FALSE(proxy.app().Reload(wanted));
}

TEST_CASE("while everything is slow, tries stay within the budget", "[proxy]") {
  struct Row {
    int slow_ms;
    int clients;
    int most;  // tries
  };
  constexpr int kReads = 120;
  const Row row = GENERATE(
      // Slower than the hedge delay of the first reads: a tenth more, and what the bucket began
      // with.
      Row{60, 8, kReads * 11 / 10 + 6},
      // So slow that reads would move on: a fifth more on top, what that bucket began with, and its
      // ten a second.
      Row{400, 30, kReads * 13 / 10 + 6 + 50 + 10 * 3});
  INFO(row.slow_ms);
  std::atomic<int> tries{0};
  const auto script = [&](const ScriptedRequest& request) {
    ++tries;
    std::this_thread::sleep_for(milliseconds(row.slow_ms));
    return Sound(request);
  };
  ScriptedNode one(script);
  ScriptedNode two(script);
  ScriptedNode three(script);
  ClientConfig config = Config({one.address(), two.address(), three.address()});
  config.hedge_max_ms = 20;
  Running proxy(config);
  proxy.AwaitProbes();
  std::vector<std::future<int>> clients;  // each gives the number of its good answers
  for (int client = 0; client < row.clients; ++client) {
    clients.push_back(std::async(std::launch::async, [&, client] {
      int good = 0;
      for (int i = 0; i < kReads / row.clients; ++i) {
        // No two alike: those would share one request.
        const std::string sender = std::to_string(client) + "-" + std::to_string(i);
        good += proxy.Get("/messages?sender=" + sender).status == 200 ? 1 : 0;
      }
      return good;
    }));
  }
  for (auto& client : clients) CHECK(client.get() == kReads / row.clients);
  CHECK(tries >= kReads);
  CHECK(tries <= row.most);
}

TEST_CASE("what the proxy says of the network and of itself", "[proxy]") {
  ScriptedNode node(Sound);
  const std::string dead = DeadAddress();
  Running proxy(Config({node.address(), dead}));
  proxy.AwaitProbes();
  proxy.Get("/messages");
  proxy.Await(
      [&] { return proxy.Get("/network").body.find("\"messages\":7") != std::string::npos; });
  const Json network = Json::parse(proxy.Get("/network").body);
  CHECK(network.at("total") == 2);
  CHECK(network.at("ready") == 1);
  CHECK(network.at("converged") == true);
  CHECK(network.at("strategy") == Json{{"read", "hedged"}, {"write", "fanout"}});
  const Json& up = network.at("nodes").at(0);
  CHECK(up.at("id") == "scripted");
  CHECK(up.at("state") == "ready");
  CHECK(up.at("breaker") == "closed");
  CHECK(up.at("lag") == 0);
  CHECK(up.at("latency_ms").at("p50").is_number());
  CHECK(up.at("last_error").is_null());
  const Json& down = network.at("nodes").at(1);
  CHECK(down.at("state") == "down");
  CHECK(down.at("id").is_null());
  CHECK(down.at("last_error").get<std::string>().find(dead) != std::string::npos);

  const auto ready = proxy.Get("/readyz");
  CHECK(ready.status == 200);
  CHECK(Json::parse(ready.body).at("state") == "ready");
  CHECK(proxy.Get("/healthz").status == 200);
  CHECK(proxy.Get("/version").status == 200);
  CHECK(proxy.Get("/").body.find("ChatChain") != std::string::npos);

  node.set_state("read_only");
  proxy.Await([&] { return proxy.Get("/readyz").status == 503; });
  CHECK(Json::parse(proxy.Get("/readyz").body).at("state") == "read_only");
  CHECK(proxy.Get("/network").status == 200);
  CHECK(proxy.Get("/messages").status == 200);  // it still reads
}

TEST_CASE("metrics are Prometheus text without duplicates, with monotonic histograms", "[proxy]") {
  ScriptedNode node(Sound);
  Running proxy(Config({node.address(), DeadAddress()}));
  for (int i = 0; i < 5; ++i) {
    proxy.Get("/messages");
    proxy.Post(kMessage);
  }
  const std::string text = proxy.Get("/metrics").body;
  std::set<std::string> series;
  std::set<std::string> typed;
  std::string histogram;
  double last = 0;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    REQUIRE(end != std::string::npos);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    INFO(line);
    if (line.rfind("# TYPE ", 0) == 0)
      CHECK(typed.insert(line.substr(7, line.find(' ', 7) - 7)).second);
    if (line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    const std::string name = line.substr(0, space);
    const double value = std::stod(line.substr(space + 1));
    CHECK(series.insert(name).second);
    const size_t le = name.find("le=\"");
    if (le == std::string::npos) continue;
    if (name.substr(0, le) != histogram) last = 0;
    histogram = name.substr(0, le);
    CHECK(value >= last);
    last = value;
  }
  CHECK(proxy.Metric("chatchain_proxy_requests_total{route=\"POST /messages\",code=\"2xx\"}") == 5);
  CHECK(proxy.Metric("chatchain_proxy_request_duration_seconds_count{route=\"GET /messages\"}") ==
        5);
  CHECK(typed.count("chatchain_proxy_node_answers_total") == 1);
}

TEST_CASE("a drain finishes what is in flight", "[proxy]") {
  Gate gate;
  ScriptedNode node(Behind(gate, Sound));
  Running proxy(Config({node.address()}));
  auto read = std::async(std::launch::async, [&] { return proxy.Get("/messages").status; });
  auto write = std::async(std::launch::async, [&] { return proxy.Post(kMessage).status; });
  proxy.Await([&] { return node.requests() == 2; });
  auto drained = std::async(std::launch::async, [&] { return proxy.app().Drain(5000); });
  CHECK(drained.wait_for(milliseconds(50)) == std::future_status::timeout);
  gate.Open();
  CHECK(read.get() == 200);
  CHECK(write.get() == 201);
  CHECK(drained.get());
}

}  // namespace chatchain::testing
