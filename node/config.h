// SPDX-License-Identifier: MIT
// What a node is told at its start, checked and typed; config.toml says what each key means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/util/config.h"
#include "common/util/host_port.h"

namespace chatchain {

// What the program is to do.
struct NodeCommand {
  enum class Kind { kServe, kVerify, kBackUp, kRestore };
  Kind kind = Kind::kServe;
  std::string file;     // of a backup
  std::string against;  // kVerify: "HOST:PORT" of a peer to compare with; empty: none

  bool operator==(const NodeCommand&) const = default;
};

struct NodeConfig {
  NodeCommand command;
  std::string config_file;  // as it was named; empty: none was read

  std::string cluster_name;

  std::string node_id;
  std::vector<std::string> peers;  // "HOST:PORT" each, none twice, without this node
  HostPort listen;                 // port 0: any free one; of kServe
  std::string data_dir;
  int sync_interval_ms = 0;
  std::string log_level;
  std::vector<std::string> cors_origins;
  int max_connections = 0;
  int max_in_flight = 0;
  int max_waiting_polls = 0;
  int request_timeout_ms = 0;
  int sync_page_records = 0;
  int64_t sync_page_bytes = 0;
  int session_wait_ms = 0;
  int64_t wal_checkpoint_bytes = 0;
  int cache_mib = 0;
  int read_connections = 0;
  int max_queue_items = 0;

  bool operator==(const NodeConfig&) const = default;
};

// As LoadConfig() does, with the rules that join several keys. Whatever the error holds ends the
// program: `return PrintExit(config.error())`.
Result<NodeConfig, ConfigExit> LoadNodeConfig(int argc, const char* const* argv,
                                              const Environment& environment);

}  // namespace chatchain
