// SPDX-License-Identifier: MIT
// Real forks: one epoch with two branches that are both consistent. No branch is chosen and no
// message of either is lost.
#include <catch2/catch.hpp>

#include "common/util/encoding.h"
#include "tests/support/ledger.h"
#include "tests/support/tamper.h"

namespace chatchain::testing {

namespace {

// Another message in the place of the one at `seq` of node 0's longest epoch.
EpochKey ForkNodeZerosLog(Node& holder, Seq seq, Ledger& ledger) {
  const Outgoing other = MakeMessage("other-branch");
  Message message;
  message.sender = other.sender;
  message.recipient = other.recipient;
  message.room = other.room;
  message.text = other.text;
  message.timestamp = other.timestamp;
  message.key = other.key;
  const auto valid = Validate(message);
  REQUIRE(valid);
  ledger.Acknowledged(other, valid->id().Text());
  Tamper tamper(holder.database());
  tamper.Fork("itest", "0", seq, *valid);
  return tamper.EpochOf("0");
}

void CheckNamed(Cluster& cluster, size_t i, const EpochKey& epoch) {
  INFO(cluster.node(i).name());
  const Json expected = Json::array({epoch.origin, HexU64(epoch.epoch)});
  Json forks;
  const bool named = Eventually(seconds(20), [&] {
    forks = cluster.api(i).Nodes()["self"]["forks"];
    return forks.is_array() && std::find(forks.begin(), forks.end(), expected) != forks.end();
  });
  CAPTURE(forks.dump());
  CHECK(named);
  CHECK(cluster.api(i).Metric("chatchain_node_forked_epochs") == 1);
  CHECK(cluster.node(i).Said(ToText(epoch) + " is forked"));
}

void CheckWritingGoesOn(Cluster& cluster, Ledger& ledger) {
  for (size_t i = 0; i < cluster.size(); ++i) {
    SendAll(cluster.node(i).address(), ledger, 10, "after-the-fork");
  }
  CheckConverged(cluster.addresses(), ledger);
}

}  // namespace

TEST_CASE("a fork is frozen and named by every holder and loses nothing") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 20, "zero");
  SendAll(cluster.node(2).address(), ledger, 5, "two");
  AwaitEqualDigests(cluster.addresses());
  EpochKey epoch;

  SECTION("while its writer lives") {
    cluster.node(1).Stop();
    epoch = ForkNodeZerosLog(cluster.node(1), 10, ledger);
    SendAll(cluster.node(0).address(), ledger, 5, "zero");  // the other branch is the longer one
    cluster.node(1).Start();
  }
  SECTION("while its writer is down") {
    cluster.node(0).Kill();
    cluster.node(1).Stop();
    epoch = ForkNodeZerosLog(cluster.node(1), 20, ledger);
    cluster.node(1).Start();
    CheckNamed(cluster, 1, epoch);
    CheckNamed(cluster, 2, epoch);
    cluster.node(0).Start();
  }
  SECTION("at its writer") {
    cluster.node(0).Stop();
    epoch = ForkNodeZerosLog(cluster.node(0), 1, ledger);
    cluster.node(0).Start();
  }
  SECTION("under load") {
    cluster.node(1).Stop();
    epoch = ForkNodeZerosLog(cluster.node(1), 15, ledger);
    Load load(cluster.addresses(), ledger);
    load.AwaitMore(100);
    cluster.node(1).Start();
    load.AwaitMore(200);
    load.Stop();
  }
  for (size_t i = 0; i < cluster.size(); ++i) CheckNamed(cluster, i, epoch);
  CheckConverged(cluster.addresses(), ledger);
  CheckWritingGoesOn(cluster, ledger);

  // It stays frozen, and a newcomer gets every message without it.
  cluster.node(2).Kill();
  cluster.node(2).Wipe();
  cluster.node(0).Stop();
  cluster.node(0).Start();
  cluster.node(2).Start();
  CheckConverged(cluster.addresses(), ledger);
  CheckNamed(cluster, 0, epoch);
}

TEST_CASE("three branches of one epoch lose nothing") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 20, "zero");
  AwaitEqualDigests(cluster.addresses());
  EpochKey epoch;
  for (const size_t i : {1, 2}) {
    cluster.node(i).Stop();
    epoch = ForkNodeZerosLog(cluster.node(i), 5 + i, ledger);
  }
  cluster.node(1).Start();
  cluster.node(2).Start();
  for (size_t i = 0; i < cluster.size(); ++i) CheckNamed(cluster, i, epoch);
  CheckConverged(cluster.addresses(), ledger);
  CheckWritingGoesOn(cluster, ledger);
}

}  // namespace chatchain::testing
