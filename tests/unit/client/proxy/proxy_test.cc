// SPDX-License-Identifier: MIT
// The whole proxy, over HTTP, with scripted nodes: every way in which a node can misbehave, under
// every strategy, while another one lives.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/app.h"
#include "common/http/client.h"
#include "common/protocol/hlc.h"
#include "common/protocol/json.h"
#include "common/protocol/token.h"
#include "common/util/encoding.h"
#include "common/util/log.h"
#include "tests/support/scripted_node.h"

namespace chatchain {
namespace {

using std::chrono::milliseconds;
using testing::BatchItems;
using testing::BatchSays;
using testing::CloseAfter;
using testing::Hang;
using testing::NodeProblem;
using testing::NodeSays;
using testing::ScriptedAnswer;
using testing::ScriptedNode;
using testing::ScriptedRequest;

constexpr std::string_view kCluster = "test";
const std::string kId = "06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g";
const std::string kMessage = R"({"sender":"a","recipient":"b","text":"hi"})";
const std::string kFullPage =
    R"({"messages":[{"id":"06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g","text":"hi"}],"next":null,"after":"t"})";
const std::string kEmptyPage = R"({"messages":[],"next":null,"after":"t"})";
const std::string kObject = R"({"id":"06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g","text":"hi"})";

ClientConfig Config(std::vector<std::string> nodes) {
  spdlog::set_level(spdlog::level::off);  // before any thread of a proxy logs
  ClientConfig config;
  config.cluster_name = std::string(kCluster);
  config.listen = {"127.0.0.1", 0};
  config.nodes = std::move(nodes);
  config.log_level = "off";
  config.request_timeout_ms = 3000;
  config.connect_timeout_ms = 300;
  config.probe_interval_ms = 50;
  config.hedge_min_ms = 20;
  config.hedge_max_ms = 50;
  config.hedge_percent = 10;
  config.breaker_failures = 5;
  config.breaker_open_ms = 500;
  config.breaker_max_ms = 10'000;
  config.retry_percent = 20;
  config.retry_per_second = 10;
  config.max_connections = 1000;
  config.max_in_flight = 256;
  config.queue_per_node_messages = 1000;
  config.batch_max_items = 1000;
  return config;
}

// A running proxy and a client of it.
class Running {
 public:
  explicit Running(ClientConfig config) : app_(std::move(config)) {
    const auto started = app_.Start();
    REQUIRE(started);
    client_ = std::make_unique<http::Client>(app_.address());
  }

  http::ClientResponse Send(http::ClientRequest request) {
    auto answer = client_->Send(request, std::chrono::steady_clock::now() + milliseconds(10'000));
    if (!answer) return {.status = -1, .body = answer.error().detail};
    return std::move(*answer);
  }
  http::ClientResponse Get(std::string target, http::Headers headers = {}) {
    return Send({.method = "GET", .target = std::move(target), .headers = std::move(headers)});
  }
  http::ClientResponse Post(std::string body, http::Headers headers = {},
                            std::string target = "/messages") {
    return Send({.method = "POST",
                 .target = std::move(target),
                 .headers = std::move(headers),
                 .body = std::move(body),
                 .content_type = "application/json"});
  }
  // Waits until every node was probed.
  void AwaitProbes() {
    Await([&] { return Get("/network").body.find("\"unknown\"") == std::string::npos; });
  }
  template <typename Condition>
  void Await(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + milliseconds(10'000);
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::yield();
    }
  }
  // The value of a metric's sample; -1 when there is none.
  double Metric(const std::string& sample) {
    const std::string text = Get("/metrics").body;
    const size_t at = text.find("\n" + sample + " ");
    if (at == std::string::npos) return -1;
    return std::stod(text.substr(at + sample.size() + 2));
  }
  ClientApp& app() { return app_; }

 private:
  ClientApp app_;
  std::unique_ptr<http::Client> client_;
};

http::Headers With(std::string name, std::string value) {
  http::Headers headers;
  headers.Add(std::move(name), std::move(value));
  return headers;
}

std::string Value(const http::ClientResponse& answer, std::string_view name) {
  return std::string(answer.headers.Get(name).value_or(""));
}

int64_t MillisOf(const std::function<void()>& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin).count();
}

// A sound node.
ScriptedAnswer Sound(const ScriptedRequest& request) {
  if (request.method == "POST") return BatchSays(request, 201, kObject);
  return request.target.find('?') != std::string::npos || request.target == "/messages"
             ? NodeSays(200, kFullPage)
             : NodeSays(200, kObject);
}

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

const Strategy kStrategies[] = {Strategy::kFanout, Strategy::kHedged, Strategy::kFailover};

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
    ClientConfig config = Config({testing::DeadAddress(), sound.address(), testing::DeadAddress()});
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
  const std::string first = testing::DeadAddress();
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
  ClientConfig config = Config({node.address(), testing::DeadAddress()});
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

TEST_CASE("copies are nodes that took the message, or that one of them knows of", "[proxy]") {
  const auto as = [](std::string id, int copies) {
    return [id, copies](const ScriptedRequest& request) {
      ScriptedAnswer answer =
          request.Header("ChatChain-Acks").empty()
              ? BatchSays(request, 201, kObject)
              : BatchSays(request, 202, R"({"id":"x","copies":)" + std::to_string(copies) + "}");
      const size_t at = answer.bytes.find("scripted");
      answer.bytes.replace(at, 8, id);
      return answer;
    };
  };
  ScriptedNode one(as("one", 1));
  ScriptedNode two(as("two", 1));
  ScriptedNode knows(as("knows", 2));
  const auto dead = testing::DeadAddress();
  struct Row {
    std::string_view what;
    std::vector<std::string> nodes;
    std::string acks;
    int status;
    int copies;
  };
  const Row rows[] = {
      {"two nodes, two copies", {one.address(), two.address(), dead}, "2", 201, 2},
      {"majority", {one.address(), two.address(), dead}, "majority", 201, 2},
      {"all, one dead", {one.address(), two.address(), dead}, "all", 202, 2},
      {"one node, no other", {one.address(), dead}, "2", 202, 1},
      {"one node that knows of another", {knows.address(), dead}, "2", 201, 2},
      {"one is enough", {one.address(), dead}, "1", 201, 1},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Running proxy(Config(row.nodes));
    proxy.AwaitProbes();
    const auto answer = proxy.Post(kMessage, With("ChatChain-Acks", row.acks));
    CHECK(answer.status == row.status);
    CHECK(Json::parse(answer.body).at("copies") == row.copies);
  }
}

TEST_CASE("while many write, copies are the pulls of peers; the rest is asked where those fail",
          "[proxy]") {
  const int known = GENERATE(2, 1);
  INFO("copies that a node knows of: " << known);
  constexpr int kClients = 40;
  constexpr int kEach = 5;
  std::atomic<size_t> items{0};
  // Three nodes, each of which has learnt of `known` copies by the time it answers; of all of them
  // where it is asked again, since others have taken the message by then.
  std::mutex mutex;
  std::set<std::string> asked_before;
  std::array<std::unique_ptr<ScriptedNode>, 3> nodes;
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i] = std::make_unique<ScriptedNode>([&, i](const ScriptedRequest& request) {
      items += BatchItems(request).size();
      std::this_thread::sleep_for(milliseconds(20));
      const bool asked = !request.Header("ChatChain-Acks").empty();
      int copies = known;
      if (asked) {
        const std::lock_guard<std::mutex> lock(mutex);
        for (const std::string& item : BatchItems(request)) {
          if (!asked_before.insert(item).second) copies = 2;
        }
      }
      ScriptedAnswer answer =
          asked ? BatchSays(request, copies >= 2 ? 201 : 202,
                            R"({"id":"x","copies":)" + std::to_string(copies) + "}")
                : BatchSays(request, 201, kObject);
      answer.bytes.replace(answer.bytes.find("scripted"), 8, "node-" + std::to_string(i));
      return answer;
    });
  }
  Running proxy(Config({nodes[0]->address(), nodes[1]->address(), nodes[2]->address()}));
  proxy.AwaitProbes();
  std::vector<std::future<int>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(std::launch::async, [&] {
      int stored = 0;
      for (int n = 0; n < kEach; ++n) {
        const auto answer = proxy.Post(kMessage, With("ChatChain-Acks", "2"));
        const auto body = Json::parse(answer.body);
        stored += answer.status == 201 && body.value("copies", 0) >= 2 ? 1 : 0;
      }
      return stored;
    }));
  }
  for (auto& client : clients) CHECK(client.get() == kEach);
  // Two records a message, or more, would be what two nodes took.
  if (known == 2) CHECK(items < 3 * kClients * kEach / 2);
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
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  ScriptedNode node([&](const ScriptedRequest& request) {
    released.wait();
    return Sound(request);
  });
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
  release.set_value();
  for (auto& client : clients) CHECK(client.get().status == 200);
  // All have reached their handlers, but a slow one may have come after the answer.
  CHECK(node.requests() <= 4 + kClients / 2);
  CHECK(proxy.Metric("chatchain_proxy_shared_reads_total") + node.requests() == kClients + 3);
}

TEST_CASE("messages with the same key in flight share one result", "[proxy]") {
  constexpr int kClients = 8;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  ScriptedNode node([&](const ScriptedRequest& request) {
    released.wait();
    return BatchSays(request, 201, kObject);
  });
  Running proxy(Config({node.address()}));
  proxy.AwaitProbes();
  std::vector<std::future<http::ClientResponse>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::async(
        std::launch::async, [&] { return proxy.Post(kMessage, With("Idempotency-Key", "k")); }));
  }
  proxy.Await([&] { return proxy.Metric("chatchain_proxy_requests_in_flight") > kClients; });
  proxy.Await([&] { return node.requests() >= 1; });
  release.set_value();
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
  Running proxy(Config({testing::DeadAddress()}));
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
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<bool> hold{false};
  ScriptedNode first([&](const ScriptedRequest& request) {
    if (hold.exchange(false)) released.wait();
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
  release.set_value();
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
  Running proxy(Config({stale.address(), testing::DeadAddress()}));
  const auto answer = proxy.Get("/messages");
  CHECK(answer.status == 200);
  CHECK(Value(answer, "ChatChain-Stale") == "1");
  CHECK(proxy.Get("/messages", With("ChatChain-Consistency", "strict")).status == 412);
}

TEST_CASE("what queues up behind a request travels as one batch", "[proxy]") {
  constexpr int kClients = 40;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> batches{0};
  std::atomic<size_t> largest{0};
  ScriptedNode node([&](const ScriptedRequest& request) {
    const size_t items = BatchItems(request).size();
    size_t before = largest;
    while (before < items && !largest.compare_exchange_weak(before, items)) {
    }
    if (++batches <= 2) released.wait();  // both senders are held
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
  release.set_value();
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
  const int64_t took_ms = MillisOf([&] {
    for (int i = 0; i < 200; ++i) REQUIRE(proxy.Post(kMessage).status == 201);
  });
  CHECK(took_ms < 2500);
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
  CHECK(items < 2 * kClients * kEach);
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
  // It counts as mute only after 750 ms.
  for (auto& client : clients) CHECK(client.get() < 700);
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
    std::promise<void> release;
    const std::shared_future<void> released = release.get_future().share();
    std::atomic<bool> slow{false};
    const auto script = [&](const ScriptedRequest& request) {
      // The first of the two to be asked answers only in the end.
      if (slow.exchange(false)) released.wait();
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
    release.set_value();
  }
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

TEST_CASE("what the proxy says of the network and of itself", "[proxy]") {
  ScriptedNode node(Sound);
  const std::string dead = testing::DeadAddress();
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
  Running proxy(Config({node.address(), testing::DeadAddress()}));
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
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  ScriptedNode node([&](const ScriptedRequest& request) {
    released.wait();
    return Sound(request);
  });
  Running proxy(Config({node.address()}));
  auto read = std::async(std::launch::async, [&] { return proxy.Get("/messages").status; });
  auto write = std::async(std::launch::async, [&] { return proxy.Post(kMessage).status; });
  proxy.Await([&] { return node.requests() == 2; });
  auto drained = std::async(std::launch::async, [&] { return proxy.app().Drain(5000); });
  CHECK(drained.wait_for(milliseconds(50)) == std::future_status::timeout);
  release.set_value();
  CHECK(read.get() == 200);
  CHECK(write.get() == 201);
  CHECK(drained.get());
}

}  // namespace chatchain
