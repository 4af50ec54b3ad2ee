// SPDX-License-Identifier: MIT
// Two nodes started by mistake with one id.
#include <catch2/catch.hpp>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr size_t kSome = 250;  // messages: some rounds of sync under load

ClusterOptions TwoOnes() {
  ClusterOptions options;
  options.ids = {"0", "1", "1"};
  return options;
}

void CheckTold(Cluster& cluster) {
  for (const size_t i : {1, 2}) {
    INFO(cluster.node(i).name());
    CHECK(Eventually(seconds(10), [&] {
      return cluster.api(i).Nodes()["self"]["id_runs_twice"] == true &&
             cluster.api(i).Metric("chatchain_node_id_runs_twice") == 1;
    }));
    CHECK(cluster.node(i).Said("under our node id 1"));
  }
  CHECK(cluster.api(0).Metric("chatchain_node_id_runs_twice") == 0);
}

}  // namespace

TEST_CASE("two nodes with one id and directories of their own lose nothing and say so") {
  Cluster cluster(TwoOnes());
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  load.AwaitMore(2 * kSome);
  cluster.node(2).Kill();
  load.AwaitMore(kSome);
  cluster.node(2).Start();
  load.AwaitMore(kSome);
  CheckTold(cluster);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("a node and a clone of its directory lose nothing and say so") {
  Cluster cluster(TwoOnes());
  cluster.node(0).Start();
  cluster.node(1).Start();
  Ledger ledger;
  SendAll(cluster.node(1).address(), ledger, 30, "before");
  cluster.node(1).Stop();
  cluster.node(1).SaveTo("node2");  // the directory of the other
  Load load(cluster.addresses(), ledger);
  cluster.node(1).Start();
  cluster.node(2).Start();
  SendAll(cluster.node(1).address(), ledger, 30, "original");
  SendAll(cluster.node(2).address(), ledger, 30, "clone");
  load.AwaitMore(2 * kSome);
  CheckTold(cluster);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

}  // namespace chatchain::testing
