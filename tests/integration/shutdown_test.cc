// SPDX-License-Identifier: MIT
// SIGTERM: what is in flight is finished, nothing acknowledged is lost, the exit code is 0.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/support/ledger.h"

namespace chatchain::testing {

TEST_CASE("SIGTERM under load, ten times in a row, ends with 0 and loses nothing") {
  ClusterOptions options;
  options.nodes = 2;
  options.faulty_links = true;
  Cluster cluster(options);
  cluster.StartAll();
  // It keeps nothing but what is on its own disk; the other goes on pulling, so that there are long
  // polls to be ended.
  cluster.Fault(0, 1, FaultProxy::Fault::kCut);
  Ledger ledger;
  Load load({cluster.node(0).address()}, ledger);
  for (int round = 0; round < 10; ++round) {
    CAPTURE(round);
    load.AwaitMore(50);
    cluster.node(0).Stop();  // requires 0 within 10 s
    cluster.node(0).Start();
  }
  load.AwaitMore(50);
  load.Stop();
  CheckHolds(cluster.node(0).address(), ledger);
  cluster.Heal();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("SIGTERM to a proxy under load, ten times in a row, ends with 0 and loses nothing") {
  if (!ClientProgram()) return;
  Cluster cluster;
  cluster.StartAll();
  const ReservedPort port;
  // On the port that was left a moment ago.
  const auto start = [&]() -> Process& {
    return cluster.StartProxy({"--listen", port.address()}).process();
  };
  Process* proxy = &start();
  Ledger ledger;
  Load load({port.address()}, ledger);
  for (int round = 0; round < 10; ++round) {
    CAPTURE(round);
    load.AwaitMore(50);
    CHECK(proxy->Terminate(seconds(10)) == 0);
    proxy = &start();
  }
  load.AwaitMore(50);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("SIGTERM to all nodes and the proxy ends them with 0") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  std::vector<std::string> targets = cluster.addresses();
  ClientProxy* proxy = nullptr;
  if (ClientProgram()) {
    proxy = &cluster.StartProxy();
    targets = {proxy->address()};
  }
  Load load(targets, ledger);
  load.AwaitMore(100);
  if (proxy != nullptr) CHECK(proxy->process().Terminate(seconds(10)) == 0);
  for (size_t i = 0; i < cluster.size(); ++i) cluster.node(i).process().Signal(SIGTERM);
  for (size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.node(i).process().Wait(seconds(10)) == 0);
  }
  load.Stop();
  for (size_t i = 0; i < cluster.size(); ++i) cluster.node(i).Start();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

}  // namespace chatchain::testing
