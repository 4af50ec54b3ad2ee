// SPDX-License-Identifier: MIT
// A whole proxy in this process, over HTTP, and what tests say of it and of scripted nodes.
#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/app.h"
#include "common/http/client.h"
#include "common/util/log.h"
#include "tests/support/scripted_node.h"

namespace chatchain::testing {

using std::chrono::milliseconds;

inline constexpr std::string_view kCluster = "test";
inline const std::string kId = "06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g";
inline const std::string kMessage = R"({"sender":"a","recipient":"b","text":"hi"})";
inline const std::string kFullPage =
    R"({"messages":[{"id":"06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g","text":"hi"}],"next":null,"after":"t"})";
inline const std::string kEmptyPage = R"({"messages":[],"next":null,"after":"t"})";
inline const std::string kObject = R"({"id":"06gztbr0jysnc4hw8hwa6jf0de6y9p3rna4g","text":"hi"})";

inline ClientConfig Config(std::vector<std::string> nodes) {
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

inline http::Headers With(std::string name, std::string value) {
  http::Headers headers;
  headers.Add(std::move(name), std::move(value));
  return headers;
}

inline std::string Value(const http::ClientResponse& answer, std::string_view name) {
  return std::string(answer.headers.Get(name).value_or(""));
}

inline int64_t MillisOf(const std::function<void()>& action) {
  const auto begin = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin).count();
}

// A sound node.
inline ScriptedAnswer Sound(const ScriptedRequest& request) {
  if (request.method == "POST") return BatchSays(request, 201, kObject);
  return request.target.find('?') != std::string::npos || request.target == "/messages"
             ? NodeSays(200, kFullPage)
             : NodeSays(200, kObject);
}

// Keeps those who come until it is opened.
class Gate {
 public:
  void Wait() const { opened_.wait(); }
  void Open() { open_.set_value(); }

 private:
  std::promise<void> open_;
  const std::shared_future<void> opened_ = open_.get_future().share();
};

// A node that answers once the gate is open.
inline ScriptedNode::Script Behind(const Gate& gate, ScriptedNode::Script script) {
  return [&gate, script = std::move(script)](const ScriptedRequest& request) {
    gate.Wait();
    return script(request);
  };
}

inline const Strategy kStrategies[] = {Strategy::kFanout, Strategy::kHedged, Strategy::kFailover};

}  // namespace chatchain::testing
