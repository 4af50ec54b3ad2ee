// SPDX-License-Identifier: MIT
#include "client/config.h"

#include <catch2/catch.hpp>

#include "tests/support/config.h"

namespace chatchain {
namespace {

Result<ClientConfig, ConfigExit> Load(const std::vector<std::string>& arguments,
                                      const Environment& environment = {}) {
  return LoadWith(LoadClientConfig, arguments, environment);
}

}  // namespace

TEST_CASE("the proxy runs with no configuration at all", "[config]") {
  const auto config = Load({});
  REQUIRE(config);
  CHECK(config->listen.ToString() == "127.0.0.1:8080");
  CHECK(config->nodes ==
        std::vector<std::string>{"127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"});
  CHECK(config->write_strategy == Strategy::kFanout);
  CHECK(config->read_strategy == Strategy::kHedged);
  CHECK(config->request_timeout_ms == 5000);
  CHECK(config->hedge_min_ms == 20);
  CHECK(config->hedge_max_ms == 500);
}

TEST_CASE("every key of [cluster] and [client] reaches the proxy's configuration", "[config]") {
  const auto defaults = Load({});
  REQUIRE(defaults);
  for (const ConfigKey& key : ConfigKeys()) {
    INFO(key.Dotted());
    Environment environment = {{key.Environment(), OtherValue(key)}};
    // Upper bounds stay above their lower ones.
    if (key.name == "hedge_max_ms") environment.emplace("CHATCHAIN_CLIENT_HEDGE_MIN_MS", "1");
    if (key.name == "breaker_max_ms") environment.emplace("CHATCHAIN_CLIENT_BREAKER_OPEN_MS", "10");
    const auto config = Load({}, environment);
    REQUIRE(config);
    CHECK((*config != *defaults) == (key.table != "node"));
  }
}

TEST_CASE("both strategies take all three names", "[config]") {
  for (Strategy strategy : {Strategy::kFanout, Strategy::kHedged, Strategy::kFailover}) {
    const std::string name(StrategyName(strategy));
    const auto config = Load(
        {}, {{"CHATCHAIN_CLIENT_WRITE_STRATEGY", name}, {"CHATCHAIN_CLIENT_READ_STRATEGY", name}});
    REQUIRE(config);
    CHECK(config->write_strategy == strategy);
    CHECK(config->read_strategy == strategy);
  }
}

TEST_CASE("keys of the proxy that contradict each other are refused", "[config]") {
  const auto error = [](const Environment& environment) { return Load({}, environment).error(); };
  CHECK(error({{"CHATCHAIN_CLIENT_HEDGE_MAX_MS", "10"}}).text ==
        "CHATCHAIN_CLIENT_HEDGE_MAX_MS: is 10, which is less than client.hedge_min_ms, 20");
  CHECK(error({{"CHATCHAIN_CLIENT_BREAKER_MAX_MS", "100"}}).code == 2);
  CHECK(Load({"--nodes", "127.0.0.1:8080"}).error().text ==
        "--nodes: names \"127.0.0.1:8080\", which is the proxy itself");
  CHECK(Load({"--nodes", ""}).error().code == 2);
  CHECK(Load({"--check-config"}).error().code == 0);
}

}  // namespace chatchain
