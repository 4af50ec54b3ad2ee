// SPDX-License-Identifier: MIT
// What clients of the proxy notice of nodes that die, hang and come back: nothing as long as one
// lives.
#include <catch2/catch.hpp>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr size_t kSome = 150;
constexpr milliseconds kDeadline{5000};  // of one request at the proxy
constexpr milliseconds kBusyMachine{2000};

bool NoProxy() {
  if (ClientProgram()) return false;
  WARN("skipped: chatchain-client is not built");
  return true;
}

void CheckSaysNobodyIsThere(Cluster& cluster, const std::string& proxy, const Answer& answer,
                            std::chrono::steady_clock::time_point begun) {
  const auto took = std::chrono::steady_clock::now() - begun;
  INFO(proxy << ": " << answer.text());
  CHECK(answer.status == 503);
  CHECK_FALSE(answer.header("Retry-After").empty());
  CHECK(took < kDeadline + kBusyMachine);
  for (const std::string& address : cluster.addresses()) {
    CHECK(answer.body.find(address) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("the proxy with three, two, one and no node, and back") {
  if (NoProxy()) return;
  const std::string strategy = GENERATE("fanout", "hedged", "failover");
  CAPTURE(strategy);
  Cluster cluster;
  cluster.StartAll();
  const std::string config = cluster.dir() / "client.toml";
  WriteFile(config, "[client]\nwrite_strategy = \"" + strategy + "\"\n");
  const std::string proxy = cluster.StartProxy({"--config", config}).address();
  Ledger ledger;
  Load::Options patient;  // as a client that trusts the proxy's own deadline
  patient.timeout = kDeadline + kBusyMachine;
  {
    Load load({proxy}, ledger, patient);
    load.AwaitMore(kSome);
    cluster.node(0).Kill();
    load.AwaitMore(kSome);
    cluster.node(1).Kill();
    load.AwaitMore(kSome);
    load.Stop();
    CHECK(load.failures() == 0);
  }
  // What node 2 took alone is on its disk and comes back with it.
  cluster.node(2).Kill();
  Api api(proxy, kDeadline + kBusyMachine);
  auto begun = std::chrono::steady_clock::now();
  const Outgoing unlucky = MakeMessage("unlucky");
  CheckSaysNobodyIsThere(cluster, proxy, api.Send(unlucky), begun);
  begun = std::chrono::steady_clock::now();
  CheckSaysNobodyIsThere(cluster, proxy, api.Get("/messages"), begun);
  CHECK(api.Get("/healthz").status == 200);
  const Answer network = api.Get("/network");
  CHECK(network.status == 200);
  CHECK(network.json()["total"] == 3);
  CHECK(Eventually(seconds(10), [&] { return api.Get("/network").json()["ready"] == 0; }));
  CHECK(Eventually(seconds(10), [&] { return api.Get("/readyz").status == 503; }));

  cluster.node(2).Start();
  Answer sent;
  REQUIRE(Eventually(seconds(15), [&] { return (sent = api.Send(unlucky)).ok(); }));
  ledger.Acknowledged(unlucky, sent.id());
  CHECK(sent.header("ChatChain-Node") == "2");
  CHECK_FALSE(sent.header("ChatChain-Attempts").empty());
  Load load({proxy}, ledger, patient);
  load.AwaitMore(kSome);
  cluster.node(0).Start();
  cluster.node(1).Start();
  load.AwaitMore(kSome);
  load.Stop();
  CHECK(load.failures() == 0);
  CheckConverged(cluster.addresses(), ledger);
  CheckHolds(proxy, ledger);
  CHECK(Eventually(seconds(15), [&] {
    const Json now = api.Get("/network").json();
    return now["ready"] == 3 && now["converged"] == true;
  }));
}

TEST_CASE("kill -9 of each node in turn is not noticed by clients of the proxy") {
  if (NoProxy()) return;
  Cluster cluster;
  cluster.StartAll();
  const std::string proxy = cluster.StartProxy().address();
  Ledger ledger;
  Load::Options patient;
  patient.timeout = kDeadline + kBusyMachine;
  Load load({proxy}, ledger, patient);
  for (size_t i = 0; i < cluster.size(); ++i) {
    load.AwaitMore(kSome);
    cluster.node(i).Kill();
    load.AwaitMore(kSome);
    cluster.node(i).Start();
    REQUIRE(Eventually(seconds(15), [&] {
      return Api(proxy).Get("/network").json()["ready"] == 3;  // one at a time is the promise
    }));
  }
  load.Stop();
  CHECK(load.failures() == 0);
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("a node that accepts connections and never answers costs the others nothing") {
  Cluster cluster;
  cluster.StartAll();
  std::vector<std::string> targets = {cluster.node(0).address(), cluster.node(1).address()};
  Ledger ledger;
  Load::Options patient;
  patient.timeout = kDeadline + kBusyMachine;
  Load load(targets, ledger, patient);
  Ledger of_proxy;
  std::unique_ptr<Load> through_proxy;
  std::string proxy;
  if (ClientProgram()) {
    proxy = cluster.StartProxy().address();
    through_proxy = std::make_unique<Load>(std::vector<std::string>{proxy}, of_proxy, patient);
    through_proxy->AwaitMore(kSome);
  }
  load.AwaitMore(kSome);
  Node& paused = cluster.node(2);
  paused.Pause();
  load.AwaitMore(3 * kSome);
  if (through_proxy) {
    through_proxy->AwaitMore(3 * kSome);
    Api api(proxy, kDeadline + kBusyMachine);
    for (int i = 0; i < 20; ++i) CHECK(api.Get("/messages?limit=5&order=desc").status == 200);
  }
  // Convergence of the others does not wait for it.
  load.Stop();
  if (through_proxy) through_proxy->Stop();
  CheckConverged(targets, ledger, seconds(10));
  CHECK(load.failures() == 0);
  if (through_proxy) CHECK(through_proxy->failures() == 0);
  CHECK(Api(paused.address(), milliseconds(300)).Get("/healthz").status == 0);

  Load more(targets, ledger);
  paused.Resume();
  more.AwaitMore(kSome);
  more.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CheckConverged(cluster.addresses(), of_proxy);
}

TEST_CASE("every second node in turn paused and killed: the proxy still loses nothing") {
  if (NoProxy()) return;
  Cluster cluster;
  cluster.StartAll();
  const std::string proxy = cluster.StartProxy().address();
  Ledger ledger;
  Load::Options patient;
  patient.timeout = kDeadline + kBusyMachine;
  Load load({proxy}, ledger, patient);
  load.AwaitMore(kSome);
  cluster.node(0).Pause();
  cluster.node(1).Kill();
  load.AwaitMore(kSome);
  cluster.node(1).Start();
  load.AwaitMore(kSome);
  cluster.node(2).Kill();
  load.AwaitMore(kSome);
  cluster.node(0).Resume();
  cluster.node(2).Start();
  load.AwaitMore(kSome);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
}

}  // namespace chatchain::testing
