// SPDX-License-Identifier: MIT
#include "common/util/config_keys.h"

#include <array>

namespace chatchain {
namespace {

using enum ConfigType;

constexpr std::array kTables = {
    ConfigTable{"cluster", "What all nodes of one network must agree on."},
    ConfigTable{"node", "One node: chatchain-node."},
    ConfigTable{"client", "The proxy: chatchain-client."},
};

constexpr std::string_view kLogLevels = "trace|debug|info|warn|error|off";
constexpr std::string_view kStrategies = "fanout|hedged|failover";

// One paragraph a key reads better than one member a line.
// clang-format off
constexpr ConfigKey kKeys[] = {
    {.table = "cluster", .name = "name", .type = kName, .fallback = "chatchain", .min = 1,
     .max = 64, .choices = "_.-",
     .help = "Nodes sync only with nodes of the same cluster name."},

    {.table = "node", .name = "id", .type = kName, .flag = "node-id", .value_name = "ID",
     .fallback = "", .optional = true, .min = 1, .max = 64, .choices = "_-",
     .help = "The name of this node, unique in the cluster; must be given somewhere."},
    {.table = "node", .name = "peers", .type = kAddressList, .flag = "peers",
     .value_name = "HOST:PORT,...", .fallback = "", .min = 0, .max = 64,
     .help = "All other nodes of the cluster; none runs a single node."},
    {.table = "node", .name = "listen", .type = kListen, .flag = "listen",
     .value_name = "HOST:PORT", .fallback = "", .optional = true,
     .help = "Where to serve; not set, 127.0.0.1:(8081 + id) if the id is a number; port 0 "
             "takes a free one."},
    {.table = "node", .name = "data_dir", .type = kPath, .flag = "data-dir", .value_name = "DIR",
     .fallback = "", .optional = true, .min = 1, .max = 4096,
     .help = "Where the database lies, made if missing; not set, chatchain-data/node-<id> below "
             "the working directory."},
    {.table = "node", .name = "sync_interval_ms", .type = kInteger, .flag = "sync-interval-ms",
     .value_name = "N", .unit = "ms", .fallback = "1000", .min = 10, .max = 60'000,
     .help = "How often each peer is asked for what is missing."},
    {.table = "node", .name = "log_level", .type = kChoice, .flag = "log-level",
     .value_name = "LEVEL", .fallback = "info", .choices = kLogLevels,
     .help = "The least severe kind of line that the log shows."},
    {.table = "node", .name = "cors_origins", .type = kOriginList, .fallback = "", .min = 0,
     .max = 256,
     .help = "Web origins whose pages may call this node."},
    {.table = "node", .name = "max_connections", .type = kInteger, .unit = "connections",
     .fallback = "12000", .min = 1, .max = 1'000'000,
     .help = "Open connections; more are refused."},
    {.table = "node", .name = "max_in_flight", .type = kInteger, .unit = "requests",
     .fallback = "1024", .min = 1, .max = 65'536,
     .help = "Requests worked on at once; more are answered 503."},
    {.table = "node", .name = "max_waiting_polls", .type = kInteger, .unit = "requests",
     .fallback = "8192", .min = 1, .max = 1'000'000,
     .help = "Long polls that may wait at once, beside the requests worked on; more are answered "
             "503."},
    {.table = "node", .name = "request_timeout_ms", .type = kInteger, .unit = "ms",
     .fallback = "5000", .min = 100, .max = 600'000,
     .help = "The longest that one request may take."},
    {.table = "node", .name = "sync_page_records", .type = kInteger, .unit = "records",
     .fallback = "1000", .min = 1, .max = 10'000,
     .help = "Records in one sync answer at most."},
    {.table = "node", .name = "sync_page_bytes", .type = kInteger, .unit = "bytes",
     .fallback = "8388608", .min = 65'536, .max = 67'108'864,
     .help = "Size of one sync answer at most; a single larger record still travels alone."},
    {.table = "node", .name = "session_wait_ms", .type = kInteger, .unit = "ms", .fallback = "500",
     .min = 0, .max = 60'000,
     .help = "How long a read waits for what its session token has seen elsewhere."},
    {.table = "node", .name = "wal_checkpoint_bytes", .type = kInteger, .unit = "bytes",
     .fallback = "16777216", .min = 65'536, .max = 4'294'967'296,
     .help = "Size of the write-ahead log at which it is folded into the database."},
    {.table = "node", .name = "cache_mib", .type = kInteger, .unit = "MiB", .fallback = "16",
     .min = 1, .max = 65'536,
     .help = "Page cache of each database connection."},
    {.table = "node", .name = "read_connections", .type = kInteger, .unit = "connections",
     .fallback = "4", .min = 1, .max = 64,
     .help = "Database connections for reading, i.e. reads at once."},
    {.table = "node", .name = "max_queue", .type = kInteger, .unit = "items", .fallback = "10000",
     .min = 1, .max = 1'000'000,
     .help = "Writes that wait for the disk; more are answered 503."},

    {.table = "client", .name = "listen", .type = kListen, .flag = "listen",
     .value_name = "HOST:PORT", .fallback = "127.0.0.1:8080",
     .help = "Where to serve; port 0 takes a free one."},
    {.table = "client", .name = "nodes", .type = kAddressList, .flag = "nodes",
     .value_name = "HOST:PORT,...", .fallback = "127.0.0.1:8081,127.0.0.1:8082,127.0.0.1:8083",
     .min = 1, .max = 64,
     .help = "All nodes of the cluster."},
    {.table = "client", .name = "log_level", .type = kChoice, .flag = "log-level",
     .value_name = "LEVEL", .fallback = "info", .choices = kLogLevels,
     .help = "The least severe kind of line that the log shows."},
    {.table = "client", .name = "write_strategy", .type = kChoice, .fallback = "fanout",
     .choices = kStrategies,
     .help = "Whom a write goes to: fanout all ready nodes at once, hedged one and a second if "
             "it is slow, failover one after another."},
    {.table = "client", .name = "read_strategy", .type = kChoice, .fallback = "hedged",
     .choices = kStrategies,
     .help = "Whom a read goes to; see write_strategy."},
    {.table = "client", .name = "request_timeout_ms", .type = kInteger, .unit = "ms",
     .fallback = "5000", .min = 100, .max = 600'000,
     .help = "The deadline of one request, over all its tries."},
    {.table = "client", .name = "connect_timeout_ms", .type = kInteger, .unit = "ms",
     .fallback = "300", .min = 10, .max = 60'000,
     .help = "How long opening a connection to a node may take."},
    {.table = "client", .name = "probe_interval_ms", .type = kInteger, .unit = "ms",
     .fallback = "1000", .min = 10, .max = 60'000,
     .help = "How often each node is asked whether it is ready."},
    {.table = "client", .name = "hedge_min_ms", .type = kInteger, .unit = "ms", .fallback = "20",
     .min = 1, .max = 60'000,
     .help = "The second node is asked no sooner than this."},
    {.table = "client", .name = "hedge_max_ms", .type = kInteger, .unit = "ms", .fallback = "500",
     .min = 1, .max = 60'000,
     .help = "The second node is asked no later than this."},
    {.table = "client", .name = "hedge_percent", .type = kInteger, .unit = "%", .fallback = "10",
     .min = 0, .max = 100,
     .help = "Share of reads that may ask a second node because the first is slow."},
    {.table = "client", .name = "breaker_failures", .type = kInteger, .unit = "failures",
     .fallback = "5", .min = 1, .max = 1000,
     .help = "Failures in a row after which a node is left alone for a while."},
    {.table = "client", .name = "breaker_open_ms", .type = kInteger, .unit = "ms",
     .fallback = "500", .min = 10, .max = 600'000,
     .help = "How long a failing node is left alone at first; doubled each time that its probe "
             "fails."},
    {.table = "client", .name = "breaker_max_ms", .type = kInteger, .unit = "ms",
     .fallback = "10000", .min = 10, .max = 600'000,
     .help = "How long a failing node is left alone at most."},
    {.table = "client", .name = "retry_percent", .type = kInteger, .unit = "%", .fallback = "20",
     .min = 0, .max = 100,
     .help = "Retries allowed as a share of requests, beside retry_per_second."},
    {.table = "client", .name = "retry_per_second", .type = kInteger, .unit = "retries/s",
     .fallback = "10", .min = 0, .max = 100'000,
     .help = "Retries allowed each second, beside retry_percent."},
    {.table = "client", .name = "max_connections", .type = kInteger, .unit = "connections",
     .fallback = "12000", .min = 1, .max = 1'000'000,
     .help = "Open connections; more are refused."},
    {.table = "client", .name = "max_in_flight", .type = kInteger, .unit = "requests",
     .fallback = "1024", .min = 1, .max = 65'536,
     .help = "Requests worked on at once; more are answered 503."},
    {.table = "client", .name = "max_waiting_polls", .type = kInteger, .unit = "requests",
     .fallback = "8192", .min = 1, .max = 1'000'000,
     .help = "Long polls that may wait at once, beside the requests worked on; more are answered "
             "503."},
    {.table = "client", .name = "rate_limit_per_second", .type = kInteger, .unit = "requests/s",
     .fallback = "0", .min = 0, .max = 1'000'000,
     .help = "Requests to /messages that one client address may make; more are answered 429; 0 "
             "means no limit."},
    {.table = "client", .name = "rate_limit_burst", .type = kInteger, .unit = "requests",
     .fallback = "100", .min = 1, .max = 1'000'000,
     .help = "How many of them may come at once."},
    {.table = "client", .name = "access_log", .type = kPath, .fallback = "", .optional = true,
     .min = 1, .max = 4096,
     .help = "A file that gets a line of JSON for each request; not set, none is written."},
    {.table = "client", .name = "queue_per_node", .type = kInteger, .unit = "messages",
     .fallback = "10000", .min = 1, .max = 1'000'000,
     .help = "Messages that wait to be sent to one node, of 64 MiB together at most; more are "
             "answered 503."},
    {.table = "client", .name = "batch_max_items", .type = kInteger, .unit = "messages",
     .fallback = "256", .min = 1, .max = 1000,
     .help = "Waiting messages that travel to a node in one request at most."},
    {.table = "client", .name = "cors_origins", .type = kOriginList, .fallback = "", .min = 0,
     .max = 256,
     .help = "Web origins whose pages may call the proxy."},
    {.table = "client", .name = "web_dir", .type = kPath, .fallback = "", .optional = true,
     .min = 1, .max = 4096,
     .help = "Where the files of the chat page lie; not set, share/chatchain/web beside the "
             "program's bin/."},
};
// clang-format on

}  // namespace

std::string ConfigKey::Dotted() const {
  return std::string(table) + "." + std::string(name);
}

std::string ConfigKey::Environment() const {
  std::string variable = "CHATCHAIN_" + std::string(table) + "_" + std::string(name);
  for (char& c : variable) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return variable;
}

std::span<const ConfigTable> ConfigTables() {
  return kTables;
}
std::span<const ConfigKey> ConfigKeys() {
  return kKeys;
}

const ConfigKey* FindConfigKey(std::string_view dotted) {
  for (const ConfigKey& key : kKeys) {
    if (key.Dotted() == dotted) return &key;
  }
  return nullptr;
}

}  // namespace chatchain
