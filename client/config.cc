// SPDX-License-Identifier: MIT
#include "client/config.h"

#include <algorithm>

namespace chatchain {
namespace {

constexpr ConfigProgram kProgram = {
    .name = "chatchain-client",
    .table = "client",
    .summary = "the proxy of ChatChain, which gives a chat program one address for all nodes.",
};

// REQUIRES: `name` is one of the key's choices.
Strategy ParseStrategy(std::string_view name) {
  for (Strategy strategy : {Strategy::kFanout, Strategy::kHedged}) {
    if (StrategyName(strategy) == name) return strategy;
  }
  return Strategy::kFailover;
}

// The error, if `low` is above `high`.
Result<void, ConfigExit> CheckOrder(const ConfigValues& values, std::string_view low,
                                    std::string_view high) {
  const int64_t low_value = values.Integer(low);
  const int64_t high_value = values.Integer(high);
  if (low_value <= high_value) return {};
  return Err(ConfigError(values.Where(high), "is " + std::to_string(high_value) +
                                                 ", which is less than " + std::string(low) + ", " +
                                                 std::to_string(low_value)));
}

}  // namespace

std::string_view StrategyName(Strategy strategy) {
  switch (strategy) {
    case Strategy::kFanout: return "fanout";
    case Strategy::kHedged: return "hedged";
    case Strategy::kFailover: return "failover";
  }
  return "";
}

std::string NeedsRestart(const ClientConfig& running, const ClientConfig& wanted) {
  std::string keys;
  const auto check = [&](std::string_view key, bool same) {
    if (!same) keys.append(keys.empty() ? "" : ", ").append(key);
  };
  check("cluster.name", running.cluster_name == wanted.cluster_name);
  check("client.listen", running.listen == wanted.listen);
  check("client.log_level", running.log_level == wanted.log_level);
  check("client.request_timeout_ms", running.request_timeout_ms == wanted.request_timeout_ms);
  check("client.max_connections", running.max_connections == wanted.max_connections);
  check("client.max_in_flight", running.max_in_flight == wanted.max_in_flight);
  check("client.max_waiting_polls", running.max_waiting_polls == wanted.max_waiting_polls);
  check("client.cors_origins", running.cors_origins == wanted.cors_origins);
  check("client.web_dir", running.web_dir == wanted.web_dir);
  return keys;
}

Result<ClientConfig, ConfigExit> LoadClientConfig(int argc, const char* const* argv,
                                                  const Environment& environment) {
  auto loaded = LoadConfig(kProgram, argc, argv, environment);
  if (!loaded) return Err(std::move(loaded.error()));
  const ConfigValues& values = loaded->values;
  const auto integer = [&](std::string_view key) { return static_cast<int>(values.Integer(key)); };

  ClientConfig config;
  config.config_file = loaded->file;
  config.cluster_name = values.Text("cluster.name");
  config.listen = *ParseHostPort(values.Text("client.listen"));
  config.nodes = values.List("client.nodes");
  config.log_level = values.Text("client.log_level");
  config.write_strategy = ParseStrategy(values.Text("client.write_strategy"));
  config.read_strategy = ParseStrategy(values.Text("client.read_strategy"));
  config.request_timeout_ms = integer("client.request_timeout_ms");
  config.connect_timeout_ms = integer("client.connect_timeout_ms");
  config.probe_interval_ms = integer("client.probe_interval_ms");
  config.hedge_min_ms = integer("client.hedge_min_ms");
  config.hedge_max_ms = integer("client.hedge_max_ms");
  config.hedge_percent = integer("client.hedge_percent");
  config.breaker_failures = integer("client.breaker_failures");
  config.breaker_open_ms = integer("client.breaker_open_ms");
  config.breaker_max_ms = integer("client.breaker_max_ms");
  config.retry_percent = integer("client.retry_percent");
  config.retry_per_second = integer("client.retry_per_second");
  config.max_connections = integer("client.max_connections");
  config.max_in_flight = integer("client.max_in_flight");
  config.max_waiting_polls = integer("client.max_waiting_polls");
  config.rate_limit_per_second = integer("client.rate_limit_per_second");
  config.rate_limit_burst = integer("client.rate_limit_burst");
  config.access_log = values.Text("client.access_log");
  config.queue_per_node_messages = integer("client.queue_per_node");
  config.batch_max_items = integer("client.batch_max_items");
  config.cors_origins = values.List("client.cors_origins");
  config.web_dir = values.Text("client.web_dir");

  if (auto order = CheckOrder(values, "client.hedge_min_ms", "client.hedge_max_ms"); !order) {
    return Err(order.error());
  }
  if (auto order = CheckOrder(values, "client.breaker_open_ms", "client.breaker_max_ms"); !order) {
    return Err(order.error());
  }
  const std::string self = config.listen.ToString();
  if (std::find(config.nodes.begin(), config.nodes.end(), self) != config.nodes.end()) {
    return Err(ConfigError(values.Where("client.nodes"),
                           "names \"" + self + "\", which is the proxy itself"));
  }
  if (loaded->check_only) return Err(CheckPassed());
  return config;
}

}  // namespace chatchain
