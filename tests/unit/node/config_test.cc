// SPDX-License-Identifier: MIT
#include "node/config.h"

#include <catch2/catch.hpp>

#include "tests/support/config.h"

namespace chatchain {
namespace {

Result<NodeConfig, ConfigExit> Load(const std::vector<std::string>& arguments,
                                    const Environment& environment = {}) {
  return LoadWith(LoadNodeConfig, arguments, environment);
}

}  // namespace

TEST_CASE("a node needs no more than its id", "[config]") {
  const auto config = Load({"--node-id", "0"});
  REQUIRE(config);
  CHECK(config->node_id == "0");
  CHECK(config->cluster_name == "chatchain");
  CHECK(config->listen.ToString() == "127.0.0.1:8081");
  CHECK(config->data_dir == "chatchain-data/node-0");
  CHECK(config->peers.empty());
  CHECK(config->sync_interval_ms == 1000);
  CHECK(config->request_timeout_ms == 5000);
  CHECK(config->session_wait_ms == 500);
  CHECK(config->sync_page_bytes == 8 * 1024 * 1024);
  CHECK(config->wal_checkpoint_bytes == 16 * 1024 * 1024);
  CHECK(config->log_level == "info");
}

TEST_CASE("flags fill the node's configuration", "[config]") {
  const auto config =
      Load({"--node-id", "b_2-X", "--peers", "127.0.0.1:8082,[::1]:8083", "--listen", "0.0.0.0:0",
            "--data-dir", "/d", "--sync-interval-ms", "50", "--log-level", "off"});
  REQUIRE(config);
  CHECK(config->node_id == "b_2-X");
  CHECK(config->peers == std::vector<std::string>{"127.0.0.1:8082", "[::1]:8083"});
  CHECK(config->listen == HostPort{.host = "0.0.0.0", .port = 0});
  CHECK(config->data_dir == "/d");
  CHECK(config->sync_interval_ms == 50);
  CHECK(config->log_level == "off");
}

TEST_CASE("every key of [cluster] and [node] reaches the node's configuration", "[config]") {
  const auto defaults = Load({}, {{"CHATCHAIN_NODE_ID", "0"}});
  REQUIRE(defaults);
  for (const ConfigKey& key : ConfigKeys()) {
    INFO(key.Dotted());
    Environment environment = {{key.Environment(), OtherValue(key)}};
    environment.emplace("CHATCHAIN_NODE_ID", "0");
    // A non-numeric id needs an address; give it the default one.
    if (key.name == "id") environment.emplace("CHATCHAIN_NODE_LISTEN", "127.0.0.1:8081");
    const auto config = Load({}, environment);
    REQUIRE(config);
    CHECK((*config != *defaults) == (key.table != "client"));
  }
}

TEST_CASE("the address follows from a numeric id and must be given otherwise", "[config]") {
  const auto listen = [](const std::string& id) { return Load({"--node-id", id}); };
  CHECK(listen("2")->listen.ToString() == "127.0.0.1:8083");
  CHECK(listen("57454")->listen.ToString() == "127.0.0.1:65535");
  for (const char* id : {"57455", "99999999999999999999", "a", "1a", "-1"}) {
    const auto config = listen(id);
    REQUIRE_FALSE(config);
    CHECK(config.error().code == 2);
    CHECK(config.error().text.starts_with("--listen: must be given (or node.listen, "));
  }
}

TEST_CASE("a node without an id does not start, but a file without one is worth a check",
          "[config]") {
  const auto config = Load({});
  REQUIRE_FALSE(config);
  CHECK(config.error().code == 2);
  CHECK(config.error().text == "--node-id: must be given (or node.id, or CHATCHAIN_NODE_ID)");
  const auto checked = Load({"--check-config"});
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == 0);
  CHECK(checked.error().text == "ok");
  CHECK(checked.error().to_stdout);
  CHECK(Load({"--check-config", "--node-id", "a"}).error().code == 2);
  CHECK(Load({"--check-config", "--node-id", "1"}).error().code == 0);
  CHECK(Load({"--check-config", "--node-id", ""}).error().code == 0);
  CHECK(Load({"--node-id", ""}).error().code == 2);
}

TEST_CASE("a node is not its own peer", "[config]") {
  const auto config = Load({"--node-id", "0", "--peers", "127.0.0.1:8082,127.0.0.1:8081"});
  REQUIRE_FALSE(config);
  CHECK(config.error().code == 2);
  CHECK(config.error().text ==
        "--peers: names \"127.0.0.1:8081\", which is this node itself; name the others");
}

TEST_CASE("commands need a data directory, not an id, and one at a time", "[config]") {
  using Kind = NodeCommand::Kind;
  CHECK(Load({"--node-id", "0"})->command == NodeCommand{});
  const auto verify = Load({"--verify", "--data-dir", "/d"});
  REQUIRE(verify);
  CHECK(verify->command == NodeCommand{.kind = Kind::kVerify, .file = "", .against = ""});
  CHECK(verify->data_dir == "/d");
  CHECK(Load({"--verify", "--node-id", "a"})->data_dir == "chatchain-data/node-a");
  const auto backup = Load({"--backup", "/b/file", "--data-dir", "/d"});
  REQUIRE(backup);
  CHECK(backup->command == NodeCommand{.kind = Kind::kBackUp, .file = "/b/file", .against = ""});
  CHECK(Load({"--restore", "f"}, {{"CHATCHAIN_NODE_DATA_DIR", "/d"}})->command.kind ==
        Kind::kRestore);
  for (const char* url : {"http://10.0.0.1:8081", "http://10.0.0.1:8081/", "10.0.0.1:8081"}) {
    CHECK(Load({"--verify", "--against", url, "--data-dir", "/d"})->command.against ==
          "10.0.0.1:8081");
  }
  const auto wrong = [&](const std::vector<std::string>& arguments) {
    const auto config = Load(arguments);
    REQUIRE_FALSE(config);
    CHECK(config.error().code == 2);
    return config.error().text;
  };
  CHECK(wrong({"--verify"}).starts_with("--data-dir: must be given"));
  CHECK(wrong({"--verify", "--backup", "f", "--data-dir", "/d"}).starts_with("--backup: cannot"));
  CHECK(wrong({"--backup", "f", "--restore", "f", "--data-dir", "/d"})
            .starts_with("--restore: cannot be given with --backup"));
  CHECK(wrong({"--against", "10.0.0.1:8081", "--node-id", "0"}).starts_with("--against: goes"));
  for (const char* url : {"", "10.0.0.1", "https://10.0.0.1:8081", "10.0.0.1:0", "http://a/b"}) {
    CHECK(wrong({"--verify", "--against", url, "--data-dir", "/d"})
              .starts_with("--against: must be http://HOST:PORT"));
  }
  CHECK(wrong({"--backup", "", "--data-dir", "/d"}) == "--backup: must name a file");
}

}  // namespace chatchain
