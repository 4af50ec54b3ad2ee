// SPDX-License-Identifier: MIT
// Starts that cannot work: one clear line and the right exit code, and nothing changed.
#include <sqlite3.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

struct Refusal {
  int status = -1;
  std::string said;
  size_t lines = 0;
};

Refusal Ended(Process& process) {
  Refusal refusal;
  refusal.status = process.Wait(seconds(20)).value_or(-999);
  refusal.said = process.Output();
  refusal.lines = static_cast<size_t>(std::count(refusal.said.begin(), refusal.said.end(), '\n'));
  return refusal;
}

// Exit code 1 and one line that has all of `parts`.
void CheckRefused(Process& process, const std::vector<std::string>& parts) {
  const Refusal refusal = Ended(process);
  CAPTURE(refusal.said);
  CHECK(refusal.status == 1);
  CHECK(refusal.lines == 1);
  CHECK(refusal.said.find("listening on") == std::string::npos);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(refusal.said.find(part) != std::string::npos);
  }
}

Process::Options Run(Cluster& cluster, std::vector<std::string> argv,
                     std::vector<std::string> environment = {}) {
  argv.insert(argv.begin(), NodeProgram());
  Process::Options options;
  options.argv = std::move(argv);
  options.environment = std::move(environment);
  options.working_dir = cluster.dir().path();
  options.output_path = cluster.dir() / "run.log";
  return options;
}

ClusterOptions One() {
  ClusterOptions options;
  options.nodes = 1;
  return options;
}

}  // namespace

TEST_CASE("a start whose place is taken says so") {
  ClusterOptions options;
  options.nodes = 2;
  Cluster cluster(options);
  Node& first = cluster.node(0);
  Node& second = cluster.node(1);
  first.Start();
  Ledger ledger;
  SendAll(first.address(), ledger, 5, "first");
  SECTION("the address") {
    second.options().peers.clear();
    second.options().listen = first.address();
    CheckRefused(second.Launch(),
                 {"cannot listen on " + first.address(), "address already in use"});
  }
  SECTION("the data directory") {
    second.options().data_dir = first.data_dir();
    CheckRefused(second.Launch(), {first.data_dir(), "in use"});
  }
  CheckHolds(first.address(), ledger);
  first.Stop();
}

TEST_CASE("a data directory that cannot be used is named") {
  Cluster cluster(One());
  Node& node = cluster.node(0);
  SECTION("below a file") {
    WriteFile(cluster.dir() / "file", "not a directory");
    node.options().data_dir = cluster.dir() / "file/data";
    CheckRefused(node.Launch(), {node.data_dir()});
  }
  SECTION("a file") {
    node.options().data_dir = cluster.dir() / "file";
    WriteFile(node.data_dir(), "not a directory");
    CheckRefused(node.Launch(), {node.data_dir()});
    CHECK(ReadFile(node.data_dir()) == "not a directory");
  }
  SECTION("where nothing can be written") {
    node.options().data_dir = "/proc/chatchain";
    CheckRefused(node.Launch(), {"/proc/chatchain"});
  }
}

TEST_CASE(
    "a database that is not sound, or not ours, is refused with a way out and left as it is") {
  Cluster cluster(One());
  Node& node = cluster.node(0);
  node.Start();
  Ledger ledger;
  // Enough that the middle of the file is the middle of a table.
  for (int i = 0; i < 3; ++i) {
    std::vector<Outgoing> batch;
    for (int k = 0; k < 200; ++k) batch.push_back(MakeMessage("filler"));
    REQUIRE(node.api().SendBatch(batch).status == 200);
  }
  node.Stop();
  const std::string way_out = "start the node empty";

  SECTION("another cluster's") {
    node.options().cluster = "another";
    CheckRefused(node.Launch(), {node.database(), "\"itest\"", "\"another\""});
    node.options().cluster = "itest";
    node.Start();
    return;
  }
  std::string content = ReadFile(node.database());
  REQUIRE(content.size() > 100'000);
  SECTION("its beginning overwritten") {
    content.replace(0, 4096, 4096, 'x');
    WriteFile(node.database(), content);
    CheckRefused(node.Launch(), {node.database(), way_out});
  }
  SECTION("its middle overwritten") {
    content.replace(content.size() / 2 / 4096 * 4096, 8192, 8192, '\xa5');
    WriteFile(node.database(), content);
    CheckRefused(node.Launch(), {node.database(), way_out});
  }
  SECTION("cut short") {
    content.resize(content.size() / 2);
    WriteFile(node.database(), content);
    CheckRefused(node.Launch(), {node.database(), way_out});
  }
  SECTION("another program's database") {
    std::filesystem::remove(node.database());
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(node.database().c_str(), &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)", nullptr,
                         nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
    content = ReadFile(node.database());
    CheckRefused(node.Launch(), {node.database(), "not a ChatChain database", "--data-dir"});
  }
  CHECK(ReadFile(node.database()) == content);
}

TEST_CASE("a wrong configuration is named by file, line and the nearest key") {
  Cluster cluster(One());
  const std::string file = cluster.dir() / "node.toml";
  const auto check = [&](const std::string& text, const std::vector<std::string>& parts) {
    WriteFile(file, text);
    Process process(Run(cluster, {"--node-id", "0", "--config", file, "--listen", "127.0.0.1:0",
                                  "--data-dir", cluster.dir() / "never"}));
    const Refusal refusal = Ended(process);
    CAPTURE(text, refusal.said);
    CHECK(refusal.status == 2);
    for (const std::string& part : parts) {
      CAPTURE(part);
      CHECK(refusal.said.find(part) != std::string::npos);
    }
    CHECK_FALSE(std::filesystem::exists(cluster.dir() / "never"));
  };
  check("[cluster]\nname = \"x\"\n\n[node]\nsync_intervall_ms = 5\n",
        {"node.toml:5", "sync_intervall_ms", "did you mean", "sync_interval_ms"});
  check("[nod]\n", {"node.toml:1", "nod", "node"});
  check("[node]\nsync_interval_ms = 0\n", {"node.toml:2", "sync_interval_ms", "10"});
  check("[node]\nsync_interval_ms = \"fast\"\n", {"node.toml:2", "sync_interval_ms"});
  check("[node]\npeers = [\"nowhere\"]\n", {"node.toml:2", "nowhere"});
  check("[node\n", {"node.toml:1"});

  const auto check_flags = [&](std::vector<std::string> argv, std::vector<std::string> environment,
                               const std::string& part) {
    Process process(Run(cluster, std::move(argv), std::move(environment)));
    const Refusal refusal = Ended(process);
    CAPTURE(refusal.said, part);
    CHECK(refusal.status == 2);
    CHECK(refusal.said.find(part) != std::string::npos);
  };
  check_flags({"--node-id", "0", "--syncinterval", "5"}, {}, "syncinterval");
  check_flags({"--node-id", "a b"}, {}, "node-id");
  check_flags({}, {}, "--node-id");
  check_flags({"--node-id", "0", "--config", cluster.dir() / "absent.toml"}, {}, "absent.toml");
  check_flags({"--node-id", "0"}, {"CHATCHAIN_NODE_LISTN=127.0.0.1:0"}, "CHATCHAIN_NODE_LISTN");
  check_flags({"--node-id", "0", "--peers", "127.0.0.1:8081"}, {}, "itself");
}

TEST_CASE("a proxy that cannot start says why") {
  if (!ClientProgram()) {
    WARN("skipped: chatchain-client is not built");
    return;
  }
  Cluster cluster(One());
  cluster.StartAll();
  const auto run = [&](std::vector<std::string> argv) {
    Process::Options options = Run(cluster, std::move(argv));
    options.argv[0] = *ClientProgram();
    return options;
  };
  const std::string in_use = cluster.node(0).address();
  // Another node than the one whose address it wants: a proxy that names itself is a wrong configuration.
  Process taken(run({"--nodes", "127.0.0.1:1", "--listen", in_use}));
  CheckRefused(taken, {"cannot listen on " + in_use, "address already in use"});

  const std::string file = cluster.dir() / "client.toml";
  WriteFile(file, "[client]\nread_strategie = \"fanout\"\n");
  Process misspelt(run({"--config", file}));
  const Refusal refusal = Ended(misspelt);
  CAPTURE(refusal.said);
  CHECK(refusal.status == 2);
  for (const std::string part : {"client.toml:2", "read_strategie", "read_strategy"}) {
    CHECK(refusal.said.find(part) != std::string::npos);
  }
}

TEST_CASE("a node on port 0 says where it listens") {
  Cluster cluster(One());
  Process process(Run(cluster, {"--node-id", "zero", "--listen", "127.0.0.1:0", "--peers", "",
                                "--data-dir", cluster.dir() / "zero"}));
  const auto line = process.AwaitLine("listening on 127.0.0.1:");
  REQUIRE(line);
  Api api(line->substr(std::string("listening on ").size()));
  CHECK(api.Send(MakeMessage("first")).status == 201);
  CHECK(process.Terminate() == 0);
}

}  // namespace chatchain::testing
