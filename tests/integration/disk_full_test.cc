// SPDX-License-Identifier: MIT
// A disk that runs full and gets space again: writes are refused, reads go on, nothing is lost.
#include <catch2/catch.hpp>

#include "tests/support/ledger.h"
#include "tests/support/small_disk.h"

namespace chatchain::testing {

TEST_CASE("a full disk refuses writes, serves reads, and recovers without a restart") {
  ClusterOptions options;
  options.nodes = 2;
  Cluster cluster(options);
  SmallDisk disk(cluster.dir() / "small", "6m");
  if (!disk.mounted()) {
    WARN("skipped: a tmpfs cannot be mounted here (" << disk.error() << "); root may");
    SUCCEED("skipped: no full disk was tested");
    return;
  }
  Node& small = cluster.node(0);
  small.options().data_dir = cluster.dir() / "small/data";
  cluster.StartAll();
  Ledger ledger;
  SendAll(small.address(), ledger, 50, "before");

  for (int round = 0; round < 2; ++round) {
    CAPTURE(round);
    disk.Fill();
    Answer refused;
    // What space its files already have may take a few more.
    REQUIRE(Eventually(
        seconds(20),
        [&] {
          const Outgoing message = MakeMessage("filler");
          refused = small.api().Send(message);
          if (refused.ok()) ledger.Acknowledged(message, refused.id());
          return !refused.ok();
        },
        milliseconds(0)));
    INFO(refused.text());
    CHECK(refused.status == 503);
    CHECK(refused.detail().find("disk is full") != std::string::npos);
    CHECK_FALSE(refused.header("Retry-After").empty());
    const Answer ready = small.api().Get("/readyz");
    CHECK(ready.status == 503);
    CHECK(ready.json()["state"] == "read_only");
    CHECK(small.api().Get("/healthz").status == 200);
    CheckHolds(small.address(), ledger);

    // The other goes on; what it takes cannot come here yet.
    SendAll(cluster.node(1).address(), ledger, 10, "elsewhere");
    CHECK(small.api().Get("/messages").status == 200);
    disk.Free();
    const Outgoing message = MakeMessage("recovered");
    Answer sent;
    REQUIRE(Eventually(seconds(10), [&] { return (sent = small.api().Send(message)).ok(); }));
    ledger.Acknowledged(message, sent.id());
    CHECK(Eventually(seconds(10), [&] { return small.api().Ready(); }));
    CheckConverged(cluster.addresses(), ledger);
  }
  SECTION("killed with a full disk") {
    disk.Fill();
    Eventually(
        seconds(20),
        [&] {
          const Outgoing message = MakeMessage("filler");
          const Answer answer = small.api().Send(message);
          if (answer.ok()) ledger.Acknowledged(message, answer.id());
          return !answer.ok();
        },
        milliseconds(0));
    small.Kill();
    disk.Free();
    small.Start();
  }
  SECTION("killed after it recovered") {
    small.Kill();
    small.Start();
  }
  CheckConverged(cluster.addresses(), ledger);
  cluster.node(0).Stop();
  cluster.node(1).Stop();
}

}  // namespace chatchain::testing
