// SPDX-License-Identifier: MIT
// Nodes that die, lose their disk, or get an old one back, while the others go on.
#include <catch2/catch.hpp>
#include <csignal>
#include <random>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr size_t kSome = 250;  // messages: some rounds of sync under load

}  // namespace

TEST_CASE("kill -9 of each node in turn under load loses nothing") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  for (size_t i = 0; i < cluster.size(); ++i) {
    load.AwaitMore(kSome);
    cluster.node(i).Kill();
    load.AwaitMore(kSome);
    cluster.node(i).Start();
  }
  load.AwaitMore(kSome);
  load.Stop();
  CHECK(load.failures() > 0);  // else nobody noticed the kills
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("kill -9 of all nodes at once loses nothing") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  for (int round = 0; round < 2; ++round) {
    load.AwaitMore(kSome);
    for (size_t i = 0; i < cluster.size(); ++i) cluster.node(i).process().Signal(SIGKILL);
    for (size_t i = 0; i < cluster.size(); ++i) cluster.node(i).Kill();
    for (size_t i = 0; i < cluster.size(); ++i) cluster.node(i).Start();
  }
  load.AwaitMore(kSome);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("a node replaced by an empty one fetches everything and takes writes at once") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(2).address(), ledger, 30, "before");
  AwaitEqualDigests(cluster.addresses());  // what only node 2 had would be lost with its disk

  Load load({cluster.node(0).address(), cluster.node(1).address()}, ledger);
  load.AwaitMore(kSome);
  cluster.node(2).Kill();
  load.AwaitMore(kSome);
  cluster.node(2).Wipe();
  cluster.node(2).Start();
  SendAll(cluster.node(2).address(), ledger, 30, "after");
  load.AwaitMore(kSome);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("a node restored from an older copy writes before it has caught up") {
  ClusterOptions options;
  options.faulty_links = true;
  Cluster cluster(options);
  cluster.StartAll();
  Ledger ledger;
  Node& restored = cluster.node(2);
  SendAll(restored.address(), ledger, 30, "in-the-copy");
  restored.Stop();
  restored.SaveTo("backup");

  Load load({cluster.node(0).address(), cluster.node(1).address()}, ledger);
  restored.Start();
  SendAll(restored.address(), ledger, 30, "after-the-copy");
  load.AwaitMore(kSome);
  load.Stop();
  AwaitEqualDigests(cluster.addresses());

  Load more({cluster.node(0).address(), cluster.node(1).address()}, ledger);
  restored.Kill();
  restored.RestoreFrom("backup");
  cluster.Fault(2, 0, FaultProxy::Fault::kCut);
  cluster.Fault(2, 1, FaultProxy::Fault::kCut);
  restored.Start();
  // It hears nobody: what it acknowledges now would reuse positions if they were counted on disk
  // only.
  SendAll(restored.address(), ledger, 60, "while-behind");
  more.AwaitMore(kSome);
  SECTION("and then goes on") {}
  SECTION("and is restored once more from the same copy") {
    // Else its disk would be the only one that has them.
    AwaitHolds(cluster.node(0).address(), restored.address());
    restored.Kill();
    restored.RestoreFrom("backup");
    restored.Start();
    SendAll(restored.address(), ledger, 60, "while-behind-again");
  }
  cluster.Heal();
  more.AwaitMore(kSome);
  more.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckNoForks(cluster.addresses());
}

TEST_CASE("kill -9 between accept and commit leaves whole messages or none") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  ClusterOptions options;
  options.nodes = 2;
  options.faulty_links = true;
  Cluster cluster(options);
  cluster.StartAll();
  Ledger ledger;  // what the victim acknowledged
  Ledger elsewhere;
  Node& victim = cluster.node(0);
  // What it shows after a kill must come from its own disk, not from its peer.
  cluster.Fault(0, 1, FaultProxy::Fault::kCut);

  for (int round = 0; round < 12; ++round) {
    Load::Options sends;
    sends.writers = 8;
    sends.pause = milliseconds(0);
    sends.retry = false;
    Load load({victim.address()}, ledger, sends);
    // Not synchronisation: the moment of the kill is meant to be any moment.
    Eventually(
        milliseconds(5 + random() % 60), [] { return false; }, milliseconds(1));
    victim.Kill();
    load.Stop();
    CAPTURE(round);

    victim.Start();
    CheckHolds(victim.address(), ledger);
    for (const Outgoing& sent : ledger.unanswered()) {
      // Where it is retried must not matter.
      const size_t where = random() % 2;
      const Answer answer = cluster.api(where).Send(sent);
      INFO(answer.text());
      REQUIRE((answer.status == 201 || answer.status == 200));
      (where == 0 ? ledger : elsewhere).Acknowledged(sent, answer.id());
      ledger.Settled(sent);
    }
  }
  CHECK(ledger.size() > 0);
  CHECK(elsewhere.size() > 0);
  cluster.Heal();
  CheckConverged(cluster.addresses(), ledger);
  CheckConverged(cluster.addresses(), elsewhere);
  CheckNoForks(cluster.addresses());
}

}  // namespace chatchain::testing
