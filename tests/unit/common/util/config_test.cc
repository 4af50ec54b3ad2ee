// SPDX-License-Identifier: MIT
#include "common/util/config.h"

#include <toml++/toml.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>
#include <sstream>

#include "common/util/version.h"
#include "tests/support/config.h"

namespace chatchain {
namespace {

using Arguments = std::vector<std::string>;

constexpr ConfigProgram kProgram = {
    .name = "chatchain-test", .table = "node", .summary = "a test."};

Result<LoadedConfig, ConfigExit> Load(const Arguments& arguments,
                                      const Environment& environment = {}) {
  return LoadWith([](int argc, const char* const* argv,
                     const Environment& all) { return LoadConfig(kProgram, argc, argv, all); },
                  arguments, environment);
}

std::string ErrorOf(const Arguments& arguments, const Environment& environment = {}) {
  const auto loaded = Load(arguments, environment);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == 2);
  CHECK_FALSE(loaded.error().to_stdout);
  CHECK(loaded.error().text.find('\n') == std::string::npos);
  return loaded.error().text;
}

// The error for a file with this text, without the directory in front.
std::string FileError(const std::string& text) {
  const ConfigFile file(text);
  return ErrorOf({"--config", file.path()}).substr(file.dir().size() + 1);
}

}  // namespace

TEST_CASE("flags beat environment beats file beats default", "[config]") {
  const ConfigFile file("[node]\nsync_interval_ms = 20\n");
  const Environment environment = {{"CHATCHAIN_NODE_SYNC_INTERVAL_MS", "30"}};
  const auto interval = [](const Arguments& arguments, const Environment& variables = {}) {
    return Load(arguments, variables)->values.Integer("node.sync_interval_ms");
  };
  CHECK(interval({}) == 1000);
  CHECK(interval({"--config", file.path()}) == 20);
  CHECK(interval({"--config", file.path()}, environment) == 30);
  CHECK(interval({"--config", file.path(), "--sync-interval-ms", "40"}, environment) == 40);
  CHECK(interval({"--config=" + file.path(), "--sync-interval-ms=40"}, environment) == 40);
}

TEST_CASE("an empty list from a stronger source takes the place of a full one", "[config]") {
  const ConfigFile file("[node]\npeers = [\"a:1\", \"b:2\"]\n");
  const auto peers = [](const Arguments& arguments, const Environment& variables = {}) {
    return Load(arguments, variables)->values.List("node.peers");
  };
  CHECK(peers({"--config", file.path()}) == Arguments{"a:1", "b:2"});
  CHECK(peers({"--config", file.path(), "--peers", ""}).empty());
  CHECK(peers({"--config", file.path(), "--peers="}).empty());
  CHECK(peers({"--config", file.path()}, {{"CHATCHAIN_NODE_PEERS", ""}}).empty());
}

TEST_CASE("a value remembers where it came from", "[config]") {
  const ConfigFile file("[node]\n\nlisten = 'a:1'\npeers = ['a:1']\nlog_level = 'off'");
  const auto loaded =
      Load({"--config", file.path(), "--log-level", "warn"}, {{"CHATCHAIN_NODE_PEERS", "b:2"}});
  CHECK(loaded->values.Where("node.listen") == file.path() + ":3: node.listen");
  CHECK(loaded->values.Where("node.peers") == "CHATCHAIN_NODE_PEERS");
  CHECK(loaded->values.Where("node.log_level") == "--log-level");
  CHECK(loaded->values.Where("cluster.name") == "cluster.name");
  CHECK(loaded->file == file.path());
}

TEST_CASE("the file: --config, else CHATCHAIN_CONFIG, else ./config.toml where it exists",
          "[config]") {
  const ConfigFile here("[cluster]\nname = 'here'\n");
  const ConfigFile other("[cluster]\nname = 'other'\n");
  const std::string before = std::filesystem::current_path();
  REQUIRE(chdir(here.dir().c_str()) == 0);
  const auto name = [](std::vector<const char*> argv, const Environment& environment) {
    argv.insert(argv.begin(), "program");
    const auto loaded =
        LoadConfig(kProgram, static_cast<int>(argv.size()), argv.data(), environment);
    return loaded->values.Text("cluster.name");
  };
  CHECK(name({}, {}) == "here");
  CHECK(name({"--config", ""}, {}) == "chatchain");
  CHECK(name({}, {{"CHATCHAIN_CONFIG", other.path()}}) == "other");
  CHECK(name({"--config", "config.toml"}, {{"CHATCHAIN_CONFIG", other.path()}}) == "here");
  std::filesystem::remove("config.toml");
  CHECK(name({}, {}) == "chatchain");
  REQUIRE(chdir(before.c_str()) == 0);
}

TEST_CASE("a named file that cannot be used is an error", "[config]") {
  CHECK(ErrorOf({"--config", "/nowhere/x.toml"}) ==
        "/nowhere/x.toml: cannot be read: No such file or directory");
  CHECK(ErrorOf({"--config", "/tmp"}) == "/tmp: is a directory, not a configuration file");
  CHECK(FileError(std::string(1024 * 1024 + 1, '#')) == "config.toml: is larger than 1 MiB");
  CHECK(FileError("[node]\nlisten = \n").starts_with("config.toml:2: "));
  CHECK(FileError("[node]\nid = '1'\nid = '2'\n").starts_with("config.toml:3: "));
}

TEST_CASE("an unknown key is named with its line and the nearest key", "[config]") {
  CHECK(FileError("[node]\n\nlisen = 'a:1'")
            .starts_with("config.toml:3: unknown key \"node.lisen\"; did you mean \"node.listen\"? "
                         "allowed in [node]: id, peers, listen, "));
  CHECK(FileError("[client]\nreed_strategy = 'hedged'\n")
            .starts_with("config.toml:2: unknown key \"client.reed_strategy\"; did you mean "
                         "\"client.read_strategy\"?"));
  // In the wrong table, in none, in a table too deep.
  CHECK(FileError("[node]\nhedge_max_ms = 1\n").find("did you mean \"client.hedge_max_ms\"?") !=
        std::string::npos);
  CHECK(FileError("sync_interval_ms = 1\n")
            .starts_with("config.toml:1: unknown key \"sync_interval_ms\"; did you mean "
                         "\"node.sync_interval_ms\"?"));
  CHECK(
      FileError("[node.tls]\ncert = ''\n").starts_with("config.toml:1: unknown key \"node.tls\";"));
  CHECK(FileError("[nodes]\n").starts_with("config.toml:1: unknown key \"nodes\"; did you mean"));
  CHECK(FileError("\n[quux]\n") ==
        "config.toml:2: unknown key \"quux\"; allowed tables: [cluster], [node], [client]");
  CHECK(FileError("node = 1\n") == "config.toml:1: node: must be a table, not a value");
  CHECK(FileError("[[node]]\n") == "config.toml:1: node: must be a table, not a value");
}

TEST_CASE("the first wrong line of a file is the one reported", "[config]") {
  CHECK(FileError("[node]\nmax_queue = 0\ncache_mib = 0\n[client]\nlisten = ''\n") ==
        "config.toml:2: node.max_queue: must be 1..1000000 items, not 0");
  CHECK(FileError("[client]\nlisten = ''\n[node]\ncache_mib = 0\n")
            .starts_with("config.toml:2: client.listen: "));
}

TEST_CASE("a wrong type or value in the file says what is allowed", "[config]") {
  const auto node = [](const std::string& line) { return FileError("[node]\n" + line); };
  CHECK(node("sync_interval_ms = 9") ==
        "config.toml:2: node.sync_interval_ms: must be 10..60000 ms, not 9");
  CHECK(node("sync_interval_ms = '100'") ==
        "config.toml:2: node.sync_interval_ms: must be a whole number, 10..60000 ms");
  CHECK(node("sync_interval_ms = 100.0").ends_with("must be a whole number, 10..60000 ms"));
  CHECK(node("log_level = 'loud'") ==
        "config.toml:2: node.log_level: must be one of trace, debug, info, warn, error, off, not "
        "\"loud\"");
  CHECK(node("log_level = 3").starts_with("config.toml:2: node.log_level: must be a string, "));
  CHECK(
      node("peers = 'a:1'").starts_with("config.toml:2: node.peers: must be an array of strings"));
  CHECK(node("peers = [1]").starts_with("config.toml:2: node.peers: must be an array of strings"));
  CHECK(node("peers = ['a:1', 'A:1']") == "config.toml:2: node.peers: names \"a:1\" twice");
  CHECK(node("peers = ['a:0']") ==
        "config.toml:2: node.peers: must have ports 1..65535; \"a:0\" has 0");
  CHECK(node("peers = ['a']") ==
        "config.toml:2: node.peers: must be HOST:PORT each; \"a\" has no port");
  CHECK(node("listen = '::1:80'").starts_with("config.toml:2: node.listen: must be HOST:PORT; "));
  CHECK(node("id = 'a b'") ==
        "config.toml:2: node.id: must be 1..64 letters, digits or any of _-, not \"a b\"");
  CHECK(node("id = '" + std::string(65, 'a') + "'").find("1..64") != std::string::npos);
  CHECK(node("id = \"a\\nb\"").find("not \"a\\x0ab\"") != std::string::npos);
  CHECK(node("data_dir = \"a\\u0000b\"").find("must be a path") != std::string::npos);
  CHECK(
      FileError("[cluster]\nname = ''").starts_with("config.toml:2: cluster.name: must be 1..64"));
  CHECK(FileError("[client]\nnodes = []").find("must be 1..64 times HOST:PORT") !=
        std::string::npos);
}

TEST_CASE("web origins are exact: a path would never match", "[config]") {
  const auto origins = [](const std::string& text) {
    return Load({}, {{"CHATCHAIN_NODE_CORS_ORIGINS", text}});
  };
  CHECK(origins("https://chat.example,http://[::1]:3000,app://x")
            ->values.List("node.cors_origins")
            .size() == 3);
  CHECK(origins("*"));
  for (const char* wrong : {"https://chat.example/", "chat.example", "://x", "https://", "a://b c",
                            "https://a,https://a", "https://a,"}) {
    CHECK_FALSE(origins(wrong));
  }
}

TEST_CASE("flags and variables are named in their errors", "[config]") {
  CHECK(ErrorOf({"--sync-interval-ms", "abc"}) ==
        "--sync-interval-ms: must be a whole number, 10..60000 ms, not \"abc\"");
  CHECK(ErrorOf({"--sync-interval-ms", "-5"}).ends_with("must be 10..60000 ms, not -5"));
  CHECK(ErrorOf({"--sync-interval-ms", "99999999999999999999"}).find("99999") != std::string::npos);
  CHECK(ErrorOf({"--peers", "a:1,"})
            .starts_with("--peers: must be HOST:PORT each; \"\" has no port"));
  CHECK(ErrorOf({"--log-level", ""}).starts_with("--log-level: must be one of trace,"));
  CHECK(ErrorOf({}, {{"CHATCHAIN_NODE_CACHE_MIB", ""}}) ==
        "CHATCHAIN_NODE_CACHE_MIB: must be a whole number, 1..65536 MiB, not \"\"");
  // Also those of the other program.
  CHECK(ErrorOf({}, {{"CHATCHAIN_CLIENT_HEDGE_PERCENT", "101"}}) ==
        "CHATCHAIN_CLIENT_HEDGE_PERCENT: must be 0..100 %, not 101");
}

TEST_CASE("unknown flags, arguments and variables are refused with the nearest name", "[config]") {
  CHECK(
      ErrorOf({"--lisen", "a:1"}).starts_with("--lisen: unknown flag; did you mean \"--listen\"?"));
  CHECK(ErrorOf({"--lisen=a:1"}).starts_with("--lisen: unknown flag; did you mean \"--listen\"?"));
  CHECK(ErrorOf({"-x"}).starts_with("-x: unknown flag; allowed: --node-id, --peers, "));
  CHECK(ErrorOf({"start"}) == "\"start\": unexpected argument; see --help");
  CHECK(ErrorOf({"--", "start"}) == "\"start\": unexpected argument; see --help");
  CHECK(ErrorOf({"--listen", "a:1", "--listen", "a:2"}) == "--listen: given more than once");
  CHECK(ErrorOf({"--listen"}).find("listen") != std::string::npos);
  CHECK_FALSE(ErrorOf({"--check-config=x"}).empty());
  CHECK(ErrorOf({}, {{"CHATCHAIN_NODE_LISEN", "a:1"}})
            .starts_with("CHATCHAIN_NODE_LISEN: unknown environment variable; did you mean "
                         "\"CHATCHAIN_NODE_LISTEN\"?"));
  // Other programs' variables, and those that Kubernetes makes of a service called chatchain-node.
  CHECK(Load({}, {{"CHATCHAIN_BIN_DIR", "x"},
                  {"HOME", "x"},
                  {"CHATCHAIN_NODE_SERVICE_HOST", "10.0.0.1"},
                  {"CHATCHAIN_NODE_PORT_8081_TCP", "tcp://10.0.0.1:8081"}}));
}

TEST_CASE("--help, --version and --print-config print and end with 0", "[config]") {
  const auto text = [](const std::string& flag) {
    const auto loaded = Load({flag, "--node-id", "x"});
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == 0);
    CHECK(loaded.error().to_stdout);
    return loaded.error().text;
  };
  CHECK(text("--version") == "chatchain-test " + std::string(ProjectVersion()));
  CHECK(text("--print-config") + "\n" == ReferenceConfig());
  CHECK(text("-h") == text("--help"));
  const std::string help = text("--help");
  for (const ConfigKey& key : ConfigKeys()) {
    CHECK((help.find(key.Dotted()) != std::string::npos) == (key.table != "client"));
  }
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 100);
  CHECK(Load({"--check-config"})->check_only);
}

TEST_CASE("keys, flags and variables are unique, and every key has its sentence", "[config]") {
  std::set<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) {
    CHECK(names.insert(key.Dotted()).second);
    CHECK(names.insert(key.Environment()).second);
    if (!key.flag.empty()) {
      CHECK(names.insert(std::string(key.table) + "--" + std::string(key.flag)).second);
    }
    CHECK(key.help.ends_with("."));
    CHECK((key.type == ConfigType::kInteger) == !key.unit.empty());
    CHECK(FindConfigKey(key.Dotted()) == &key);
  }
}

TEST_CASE("the shipped config.toml has every key at its default and no other", "[config]") {
  const std::string path = std::string(CHATCHAIN_SOURCE_DIR) + "/config.toml";
  std::ifstream in(path);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CHECK(text == ReferenceConfig());  // if not: chatchain-node --print-config > config.toml

  // The same without trusting the writer: it is valid, it says nothing but defaults, and all of
  // them.
  const auto loaded = Load({"--config", path});
  const auto defaults = Load({});
  REQUIRE(loaded);
  size_t keys = 0;
  const toml::table document = toml::parse(text);
  for (const auto& [name, node] : document) keys += node.as_table()->size();
  CHECK(keys == ConfigKeys().size());
  for (const ConfigKey& key : ConfigKeys()) {
    INFO(key.Dotted());
    CHECK(loaded->values.Where(key.Dotted()).starts_with(path + ":"));
    CHECK(loaded->values.Integer(key.Dotted()) == defaults->values.Integer(key.Dotted()));
    CHECK(loaded->values.Text(key.Dotted()) == defaults->values.Text(key.Dotted()));
    CHECK(loaded->values.List(key.Dotted()) == defaults->values.List(key.Dotted()));
  }
}

}  // namespace chatchain
