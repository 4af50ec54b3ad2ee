// SPDX-License-Identifier: MIT
// What the proxy is told at its start, checked and typed; config.toml says what each key means.
#pragma once

#include <string>
#include <vector>

#include "common/util/config.h"
#include "common/util/host_port.h"

namespace chatchain {

enum class Strategy { kFanout, kHedged, kFailover };
// As the configuration and /network spell it.
std::string_view StrategyName(Strategy strategy);

struct ClientConfig {
  std::string config_file;  // as it was named; empty: none was read

  std::string cluster_name;

  HostPort listen;                 // port 0: any free one
  std::vector<std::string> nodes;  // "HOST:PORT" each, at least one, none twice
  std::string log_level;
  Strategy write_strategy = Strategy::kFanout;
  Strategy read_strategy = Strategy::kHedged;
  int request_timeout_ms = 0;
  int connect_timeout_ms = 0;
  int probe_interval_ms = 0;
  int hedge_min_ms = 0;
  int hedge_max_ms = 0;  // >= hedge_min_ms
  int hedge_percent = 0;
  int breaker_failures = 0;
  int breaker_open_ms = 0;
  int breaker_max_ms = 0;  // >= breaker_open_ms
  int retry_percent = 0;
  int retry_per_second = 0;
  int max_connections = 0;
  int max_in_flight = 0;
  int max_waiting_polls = 0;
  int rate_limit_per_second = 0;  // 0: none
  int rate_limit_burst = 1;
  std::string access_log;  // a path; empty: none
  int queue_per_node_messages = 0;
  int batch_max_items = 0;
  std::vector<std::string> cors_origins;
  std::string web_dir;  // empty: where the installation has it

  bool operator==(const ClientConfig&) const = default;
};

// The keys in which the two differ although only a restart can change them, as the file calls them;
// "" when there are none.
std::string NeedsRestart(const ClientConfig& running, const ClientConfig& wanted);

// As LoadConfig() does, with the rules that join several keys. Whatever the error holds ends the
// program: `return PrintExit(config.error())`.
Result<ClientConfig, ConfigExit> LoadClientConfig(int argc, const char* const* argv,
                                                  const Environment& environment);

}  // namespace chatchain
