// SPDX-License-Identifier: MIT
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "client/proxy/proxy.h"
#include "tests/support/scripted_node.h"

namespace chatchain {

namespace {

using std::chrono::milliseconds;
using testing::NodeSays;
using testing::ScriptedAnswer;
using testing::ScriptedNode;
using testing::ScriptedRequest;

ClientConfig ConfigOf(const std::string& node) {
  ClientConfig config;
  config.nodes = {node};
  config.cluster_name = "test";
  config.probe_interval_ms = 5;
  config.connect_timeout_ms = 1'000;
  config.breaker_failures = 5;
  config.breaker_open_ms = 500;
  config.breaker_max_ms = 1'000;
  config.queue_per_node_messages = 100;
  config.batch_max_items = 100;
  return config;
}

// Counts the probes, and lets reads hang.
ScriptedNode::Script Counting(std::atomic<int>& probes, std::atomic<int>& reads) {
  return [&](const ScriptedRequest& request) {
    if (request.target == "/readyz") {
      ++probes;
      return NodeSays(200, R"({"state":"ready"})");
    }
    if (request.target.rfind("/messages", 0) != 0) return NodeSays(200, "{}");
    ++reads;
    return testing::Hang();
  };
}

void Await(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + milliseconds(10'000);
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < until);
    std::this_thread::yield();
  }
}

}  // namespace

// The last request may end on an event loop, where a prober's thread must not be waited for.
TEST_CASE("a node that was left is not probed any more, though a request still waits for it",
          "[proxy][reconfigure]") {
  std::atomic<int> old_probes{0};
  std::atomic<int> new_probes{0};
  std::atomic<int> reads{0};
  ScriptedNode old_node(Counting(old_probes, reads), /*probes=*/true);
  ScriptedNode new_node(Counting(new_probes, reads), /*probes=*/true);
  const SystemClock clock;
  SystemRandom random;
  Proxy proxy(ConfigOf(old_node.address()), clock, random);
  proxy.StartProbing();
  Await([&] { return old_probes >= 2; });
  std::promise<ReadResult> result;
  proxy.StartRead(
      {.target = "/messages/x", .deadline = std::chrono::steady_clock::now() + milliseconds(2'000)},
      [&](SharedAnswer<ReadResult> read) { result.set_value(std::move(read).Take()); });
  Await([&] { return reads == 1; });
  proxy.Reconfigure(ConfigOf(new_node.address()));
  const int left = old_probes;
  Await([&] { return new_probes >= 20; });
  CHECK(old_probes <= left + 1);  // one may have been on its way
  CHECK_FALSE(result.get_future().get().answered);
}

}  // namespace chatchain
