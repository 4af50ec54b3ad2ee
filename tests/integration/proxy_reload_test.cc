// SPDX-License-Identifier: MIT
// SIGHUP at the real proxy: nodes and limits change without a restart; a bad file changes nothing.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

std::string NodesLine(const std::vector<std::string>& addresses) {
  std::string list;
  for (const std::string& address : addresses)
    list += (list.empty() ? "\"" : ", \"") + address + "\"";
  return "nodes = [" + list + "]\n";
}

}  // namespace

TEST_CASE("SIGHUP re-reads nodes and limits, and refuses a bad file") {
  if (!ClientProgram()) return;
  Cluster cluster;
  cluster.StartAll();
  const std::string file = cluster.dir() / "proxy.toml";
  const std::string access = cluster.dir() / "access.log";
  const std::string head = "[cluster]\nname = \"itest\"\n[client]\nlisten = \"127.0.0.1:0\"\n";
  WriteFile(file, head + NodesLine({cluster.node(0).address()}));
  Process proxy(
      {.argv = {*ClientProgram(), "--config", file}, .output_path = cluster.dir() / "proxy.out"});
  const auto line = proxy.AwaitLine("listening on ");
  REQUIRE(line);
  const std::string address = line->substr(line->rfind(' ') + 1);
  Api api(address);
  REQUIRE(Eventually(seconds(10), [&] { return api.Get("/readyz").status == 200; }));
  const auto network = [&] { return api.Get("/network").json(); };
  CHECK(network()["total"] == 1);

  // While messages flow: those under way end with the nodes that they began with.
  Ledger ledger;
  // As one who trusts the deadline of the proxy: a disk may be slow.
  Load load({address}, ledger, {.timeout = seconds(8)});
  load.AwaitMore(50);
  WriteFile(file, head + NodesLine(cluster.addresses()) + "access_log = \"" + access + "\"\n" +
                      "write_strategy = \"failover\"\nmax_in_flight = 99\n");
  proxy.Signal(SIGHUP);
  REQUIRE(Eventually(seconds(10), [&] { return network()["ready"] == 3; }));
  CHECK(network()["strategy"]["write"] == "failover");
  CHECK(proxy.Said("only a restart changes client.max_in_flight"));
  load.AwaitMore(50);
  CHECK(ReadFile(access).find("\"target\":\"/messages\"") != std::string::npos);

  // A file that is wrong anywhere is refused as a whole, in one line that names the place.
  WriteFile(file, head + NodesLine({cluster.node(1).address()}) + "hedge_percent = 1000\n");
  proxy.Signal(SIGHUP);
  REQUIRE(proxy.AwaitLine("the configuration stays as it was"));
  CHECK(proxy.Said(file + ":6: client.hedge_percent"));
  CHECK(network()["total"] == 3);
  load.AwaitMore(50);
  load.Stop();
  CHECK(load.failures() == 0);

  WriteFile(file, head + NodesLine({cluster.node(1).address()}) +
                      "rate_limit_per_second = 1\nrate_limit_burst = 2\n");
  proxy.Signal(SIGHUP);
  REQUIRE(Eventually(seconds(10), [&] { return network()["total"] == 1; }));
  int limited = 0;
  for (int i = 0; i < 4; ++i) limited += api.Get("/messages?limit=1").status == 429 ? 1 : 0;
  CHECK(limited >= 1);
  CHECK(proxy.Terminate() == 0);
  CheckConverged(cluster.addresses(), ledger);
}

}  // namespace chatchain::testing
