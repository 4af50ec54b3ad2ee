// SPDX-License-Identifier: MIT
// What an operator does with a node's data: --verify, --backup, --restore.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <set>

#include "tests/support/ledger.h"
#include "tests/support/small_disk.h"
#include "tests/support/tamper.h"

namespace chatchain::testing {

namespace {

namespace fs = std::filesystem;

// chatchain-node with such flags, beside the cluster.
class Tool {
 public:
  Tool(Cluster& cluster, std::vector<std::string> arguments) {
    static int runs = 0;
    arguments.insert(arguments.begin(), {NodeProgram(), "--config", ""});
    Process::Options options;
    options.argv = std::move(arguments);
    options.working_dir = cluster.dir().path();
    options.output_path = cluster.dir() / ("tool-" + std::to_string(++runs) + ".log");
    process_ = std::make_unique<Process>(std::move(options));
  }
  // Its exit code.
  int Wait() { return process_->Wait(seconds(60)).value_or(-999); }
  bool Said(const std::string& text) const { return process_->Said(text); }
  std::string Output() const { return process_->Output(); }
  Process& process() { return *process_; }

 private:
  std::unique_ptr<Process> process_;
};

// Runs it to its end, and requires that exit code and those words.
void Run(Cluster& cluster, const std::vector<std::string>& arguments, int status,
         const std::vector<std::string>& said) {
  Tool tool(cluster, arguments);
  const int ended = tool.Wait();
  const std::string output = tool.Output();
  INFO(output);
  CHECK(ended == status);
  for (const std::string& text : said) {
    CAPTURE(text);
    CHECK(output.find(text) != std::string::npos);
  }
  CHECK(output.find('\r') == std::string::npos);  // it is no terminal
}

std::vector<std::string> Verify(const Node& node) {
  return {"--verify", "--data-dir", node.data_dir()};
}

// Some tens of MiB.
void SendLarge(const std::string& address) {
  for (int batch = 0; batch < 4; ++batch) {
    std::vector<Outgoing> messages;
    for (int i = 0; i < 110; ++i) {
      Outgoing message = MakeMessage("large");
      message.text += std::string(60'000, 'x');
      messages.push_back(std::move(message));
    }
    REQUIRE(Api(address, seconds(30)).SendBatch(messages).status == 200);
  }
}

}  // namespace

TEST_CASE("a backup made under load restores a killed node, and everything converges") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  load.AwaitMore(150);
  const std::string backup = cluster.dir() / "backup.db";
  Node& restored = cluster.node(2);
  Run(cluster, {"--backup", backup, "--data-dir", restored.data_dir()}, 0, {"backed up to"});
  Run(cluster, {"--backup", backup, "--data-dir", restored.data_dir()}, 1, {"exists already"});
  load.AwaitMore(150);
  restored.Kill();
  load.AwaitMore(50);
  // Else its disk would be the only one that has them.
  load.Stop();
  AwaitEqualDigests({cluster.node(0).address(), cluster.node(1).address()});
  Ledger kept;
  const auto here = cluster.api(0).ListAll();
  REQUIRE(here);
  std::set<std::string> ids;
  for (const Shown& shown : *here) ids.insert(shown.id);
  for (const auto& [id, sent] : ledger.acknowledged()) {
    if (ids.count(id) > 0) kept.Acknowledged(sent, id);
  }
  Run(cluster, {"--restore", backup, "--data-dir", restored.data_dir()}, 1, {"exists already"});
  restored.Wipe();
  Run(cluster, {"--restore", backup, "--data-dir", restored.data_dir()}, 0, {"restored"});
  Run(cluster, Verify(restored), 0, {"sound: "});
  restored.Start();
  SendAll(restored.address(), kept, 20, "after");
  CheckConverged(cluster.addresses(), kept);
  CheckNoForks(cluster.addresses());
  for (size_t i = 0; i < cluster.size(); ++i) {
    Run(cluster, Verify(cluster.node(i)), 0, {"sound: ", cluster.api(i).Digest()});
  }
  Run(cluster,
      {"--verify", "--data-dir", restored.data_dir(), "--against",
       "http://" + cluster.node(0).address()},
      0, {"agrees with " + cluster.node(0).address()});
}

TEST_CASE("verify works beside a loaded node, a stopped one and a killed one") {
  ClusterOptions options;
  options.nodes = 1;
  options.arguments = {};
  Cluster cluster(options);
  Node& node = cluster.node(0);
  Run(cluster, Verify(node), 2, {"there is no database"});
  node.Start();
  Ledger ledger;
  {
    Load load({node.address()}, ledger);
    load.AwaitMore(100);
    for (int i = 0; i < 5; ++i) Run(cluster, Verify(node), 0, {"sound: "});
    load.AwaitMore(100);
  }
  node.Kill();
  const auto bytes = fs::file_size(node.database() + "-wal");
  REQUIRE(bytes > 0);
  const auto changed = fs::last_write_time(node.database());
  Run(cluster, Verify(node), 0, {"sound: "});
  CHECK(fs::file_size(node.database() + "-wal") == bytes);
  CHECK(fs::last_write_time(node.database()) == changed);
  node.Start();
  CheckHolds(node.address(), ledger);
  node.Stop();
  Run(cluster, Verify(node), 0, {"sound: "});
  CHECK_FALSE(fs::exists(node.database() + "-wal"));
}

TEST_CASE("verify names damage, and against a peer the first record that it has not the same") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 40, "zero");
  AwaitEqualDigests(cluster.addresses());
  Node& other = cluster.node(1);
  other.Stop();
  const std::string peer = cluster.node(0).address();
  const auto against = [&](const std::string& address) {
    return std::vector<std::string>{"--verify", "--data-dir", other.data_dir(), "--against",
                                    "http://" + address};
  };
  SECTION("a flipped bit") {
    std::string id;
    {
      Tamper tamper(other.database());
      int64_t ref = 0;
      tamper.EpochOf("0", &ref);
      tamper.ChangeOneRow(
          "UPDATE messages SET text=text||'!' WHERE ref=(SELECT message FROM records "
          "WHERE epoch=" +
          std::to_string(ref) + " AND seq=13)");
    }
    const EpochKey epoch = Tamper(other.database()).EpochOf("0");
    const auto shown = cluster.api(0).ListAll();
    REQUIRE(shown);
    Run(cluster, Verify(other), 1,
        {"damaged: " + ToText(epoch) + " at 13, message ", "DAMAGED in 1 place"});
    // The chains are those that the peer has: only the body is not.
    Run(cluster, against(peer), 1, {"agrees with"});
  }
  SECTION("a history that was rewritten, with chains that are right") {
    EpochKey epoch;
    {
      Tamper tamper(other.database());
      epoch = tamper.EpochOf("0");
      Message message;
      message.sender = "mallory";
      message.recipient = "bob";
      message.text = "never sent";
      message.key = "k";
      tamper.Fork("itest", "0", 29, *Validate(message));
    }
    Run(cluster, against(peer), 1,
        {"different: " + ToText(epoch) + " at 29 is the first record", "differs from " + peer});
    // To ask is no sync: nobody takes it for a branch.
    CheckNoForks({peer, cluster.node(2).address()});
  }
  SECTION("only a peer that is ahead") {
    SendAll(peer, ledger, 7, "later");
    Run(cluster, against(peer), 0,
        {"agrees with " + peer, "0 records are here only, 7 there only"});
  }
  SECTION("no peer there") {
    cluster.node(0).Stop();
    Run(cluster, against(peer), 2, {"comparing failed"});
  }
}

TEST_CASE("a backup that a full disk, a signal or damage ends leaves nothing that looks like one") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  Node& node = cluster.node(0);
  node.Start();
  Ledger ledger;
  SendAll(node.address(), ledger, 30, "zero");
  SendLarge(node.address());
  const std::string file = cluster.dir() / "backup.db";
  const std::vector<std::string> backup = {"--backup", file, "--data-dir", node.data_dir()};

  SECTION("a full disk") {
    SmallDisk disk(cluster.dir() / "small", "8m");
    if (!disk.mounted()) {
      WARN("skipped: a tmpfs cannot be mounted here (" << disk.error() << "); root may");
      return;
    }
    const std::string small = cluster.dir() / "small";
    Run(cluster, {"--backup", small + "/backup.db", "--data-dir", node.data_dir()}, 1, {"full"});
    CHECK(fs::is_empty(small));
  }
  SECTION("SIGTERM") {
    bool interrupted = false;
    for (int attempt = 0; attempt < 10 && !interrupted; ++attempt) {
      Tool tool(cluster, backup);
      REQUIRE(Eventually(
          seconds(10), [&] { return fs::exists(file + ".partial") || fs::exists(file); },
          milliseconds(0)));
      tool.process().Signal(SIGTERM);
      const int status = tool.Wait();
      CHECK_FALSE(fs::exists(file + ".partial"));
      interrupted = status == 1;
      CHECK(fs::exists(file) == !interrupted);
      fs::remove(file);
    }
    CHECK(interrupted);
  }
  SECTION("SIGKILL") {
    {
      Tool tool(cluster, backup);
      REQUIRE(Eventually(
          seconds(10), [&] { return fs::exists(file + ".partial"); }, milliseconds(0)));
      tool.process().Kill();
    }
    CHECK_FALSE(fs::exists(file));
    // The next one is not in its way.
    Run(cluster, backup, 0, {"backed up to"});
    CHECK_FALSE(fs::exists(file + ".partial"));
  }
  SECTION("a damaged backup") {
    Run(cluster, backup, 0, {"backed up to"});
    EpochKey epoch;
    {
      Tamper tamper(file);
      epoch = tamper.EpochOf("0");
      tamper.ChangeOneRow(
          "UPDATE messages SET sender='x' WHERE ref=(SELECT message FROM records "
          "WHERE seq=17)");
    }
    const std::string target = cluster.dir() / "target";
    Run(cluster, {"--restore", file, "--data-dir", target}, 1,
        {"nothing was restored", ToText(epoch) + " at 17, message "});
    CHECK_FALSE(fs::exists(target));
  }
  // The node never noticed.
  SendAll(node.address(), ledger, 5, "after");
  CHECK(node.running());
}

TEST_CASE("a progress bar is drawn on a terminal") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  Node& node = cluster.node(0);
  node.Start();
  Ledger ledger;
  SendAll(node.address(), ledger, 3, "zero");
  node.Stop();
  const std::string program = NodeProgram();
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, nullptr);
  REQUIRE(pid >= 0);
  if (pid == 0) {
    execl(program.c_str(), program.c_str(), "--config", "", "--verify", "--data-dir",
          node.data_dir().c_str(), nullptr);
    _exit(127);
  }
  std::string output;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;) {
    output.append(buffer, static_cast<size_t>(n));
  }
  close(terminal);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  INFO(output);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(output.find("\r[") != std::string::npos);
  CHECK(output.find(" %") != std::string::npos);
  CHECK(output.find("sound: 3 messages") != std::string::npos);
}

}  // namespace chatchain::testing
