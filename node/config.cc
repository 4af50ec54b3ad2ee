// SPDX-License-Identifier: MIT
#include "node/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "common/util/log.h"

namespace chatchain {
namespace {

constexpr std::array kCommands = {
    ConfigSwitch{"verify", "",
                 "Recomputes every digest and chain in the data directory, names what is damaged, "
                 "and exits: 0 all is sound, 1 damage, 2 it could not be checked. Changes nothing; "
                 "the node may run meanwhile."},
    ConfigSwitch{"against", "URL",
                 "With --verify: also compares with a running node, such as http://10.0.0.2:8081, "
                 "and names the first difference of each log."},
    ConfigSwitch{"backup", "FILE",
                 "Copies the database of the data directory to a new file, verifies it, and exits. "
                 "The node may run meanwhile."},
    ConfigSwitch{"restore", "FILE",
                 "Verifies a backup, makes it the database of a data directory that has none, and "
                 "exits."},
};

constexpr ConfigProgram kProgram = {
    .name = "chatchain-node",
    .table = "node",
    .summary = "a node of ChatChain, which stores messages and exchanges them with its peers.",
    .commands = kCommands,
};
constexpr int kFirstPort = 8081;

// Node N listens on 127.0.0.1:(8081 + N) if nothing else is said.
std::optional<HostPort> DefaultListen(const std::string& node_id) {
  uint32_t number = 0;
  const auto [end, error] =
      std::from_chars(node_id.data(), node_id.data() + node_id.size(), number);
  if (error != std::errc() || end != node_id.data() + node_id.size()) return std::nullopt;
  if (number > static_cast<uint32_t>(UINT16_MAX - kFirstPort)) return std::nullopt;
  return HostPort{.host = "127.0.0.1", .port = static_cast<uint16_t>(kFirstPort + number)};
}

std::string DefaultDataDir(const std::string& node_id) {
  return "chatchain-data/node-" + node_id;
}

Result<NodeCommand, ConfigExit> CommandFrom(const LoadedConfig& loaded) {
  NodeCommand command;
  std::string given;
  for (const auto& [flag, kind] : {std::pair{"verify", NodeCommand::Kind::kVerify},
                                   {"backup", NodeCommand::Kind::kBackUp},
                                   {"restore", NodeCommand::Kind::kRestore}}) {
    const auto it = loaded.commands.find(flag);
    if (it == loaded.commands.end()) continue;
    if (!given.empty()) {
      return Err(ConfigError("--" + std::string(flag), "cannot be given with --" + given));
    }
    given = flag;
    command.kind = kind;
    command.file = it->second;
    if (kind != NodeCommand::Kind::kVerify && command.file.empty()) {
      return Err(ConfigError("--" + given, "must name a file"));
    }
  }
  const auto against = loaded.commands.find("against");
  if (against == loaded.commands.end()) return command;
  if (command.kind != NodeCommand::Kind::kVerify) {
    return Err(ConfigError("--against", "goes with --verify"));
  }
  std::string_view address = against->second;
  constexpr std::string_view kScheme = "http://";
  if (address.starts_with(kScheme)) address.remove_prefix(kScheme.size());
  if (address.ends_with('/')) address.remove_suffix(1);
  const auto peer = ParseHostPort(address);
  if (!peer || peer->port == 0) {
    return Err(ConfigError("--against",
                           "must be http://HOST:PORT, not \"" + LogSafe(against->second) + "\""));
  }
  command.against = peer->ToString();
  return command;
}

}  // namespace

Result<NodeConfig, ConfigExit> LoadNodeConfig(int argc, const char* const* argv,
                                              const Environment& environment) {
  auto loaded = LoadConfig(kProgram, argc, argv, environment);
  if (!loaded) return Err(std::move(loaded.error()));
  const ConfigValues& values = loaded->values;
  const auto integer = [&](std::string_view key) { return static_cast<int>(values.Integer(key)); };

  auto command = CommandFrom(*loaded);
  if (!command) return Err(std::move(command.error()));

  NodeConfig config;
  config.command = std::move(*command);
  config.config_file = loaded->file;
  config.cluster_name = values.Text("cluster.name");
  config.node_id = values.Text("node.id");
  config.peers = values.List("node.peers");
  config.data_dir = values.Text("node.data_dir");
  config.sync_interval_ms = integer("node.sync_interval_ms");
  config.log_level = values.Text("node.log_level");
  config.cors_origins = values.List("node.cors_origins");
  config.max_connections = integer("node.max_connections");
  config.max_in_flight = integer("node.max_in_flight");
  config.max_waiting_polls = integer("node.max_waiting_polls");
  config.request_timeout_ms = integer("node.request_timeout_ms");
  config.sync_page_records = integer("node.sync_page_records");
  config.sync_page_bytes = values.Integer("node.sync_page_bytes");
  config.session_wait_ms = integer("node.session_wait_ms");
  config.wal_checkpoint_bytes = values.Integer("node.wal_checkpoint_bytes");
  config.cache_mib = integer("node.cache_mib");
  config.read_connections = integer("node.read_connections");
  config.max_queue_items = integer("node.max_queue");

  if (config.command.kind != NodeCommand::Kind::kServe) {
    if (config.data_dir.empty() && config.node_id.empty()) {
      return Err(ConfigError("--data-dir",
                             "must be given (or node.data_dir, or --node-id, from "
                             "which it follows)"));
    }
    if (config.data_dir.empty()) config.data_dir = DefaultDataDir(config.node_id);
    if (loaded->check_only) return Err(CheckPassed());
    return config;
  }
  if (config.node_id.empty()) {
    // A file for many nodes names none of them, and is still worth checking.
    if (loaded->check_only) return Err(CheckPassed());
    return Err(ConfigError("--node-id", "must be given (or node.id, or CHATCHAIN_NODE_ID)"));
  }
  if (config.data_dir.empty()) config.data_dir = DefaultDataDir(config.node_id);

  const std::string& listen = values.Text("node.listen");
  const auto address = listen.empty() ? DefaultListen(config.node_id) : *ParseHostPort(listen);
  if (!address) {
    return Err(ConfigError("--listen",
                           "must be given (or node.listen, or CHATCHAIN_NODE_LISTEN): "
                           "the node id \"" +
                               config.node_id + "\" is not a number from which a port follows"));
  }
  config.listen = *address;
  const std::string self = config.listen.ToString();
  if (std::find(config.peers.begin(), config.peers.end(), self) != config.peers.end()) {
    return Err(ConfigError(values.Where("node.peers"),
                           "names \"" + self + "\", which is this node itself; name the others"));
  }
  if (loaded->check_only) return Err(CheckPassed());
  return config;
}

}  // namespace chatchain
