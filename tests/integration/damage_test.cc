// SPDX-License-Identifier: MIT
// Bits that flipped on a disk: never served, named, and repaired from a peer.
#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <thread>

#include "common/util/encoding.h"
#include "tests/support/feed_reader.h"
#include "tests/support/ledger.h"
#include "tests/support/tamper.h"

namespace chatchain::testing {

namespace {

constexpr int kMessages = 20;

// Rows of node 0's longest epoch in another node's database.
std::string Row(Tamper& tamper, int seq) {
  int64_t ref = 0;
  tamper.EpochOf("0", &ref);
  return "epoch=" + std::to_string(ref) + " AND seq=" + std::to_string(seq);
}

std::string MessageAt(Tamper& tamper, int seq) {
  return "(SELECT message FROM records WHERE " + Row(tamper, seq) + ")";
}

double Repaired(Api api) {
  return api.Metric("chatchain_node_repaired_records_total");
}

// Whatever it answers with 200 must be what was sent.
void CheckNeverServed(const std::string& address, const Ledger& ledger) {
  const auto acknowledged = ledger.acknowledged();
  const auto check = [&](const Json& shown) {
    const auto sent = acknowledged.find(shown.at("id"));
    REQUIRE(sent != acknowledged.end());
    REQUIRE(shown.at("text") == sent->second.text);
    REQUIRE(shown.at("sender") == sent->second.sender);
  };
  Api api(address);
  for (const auto& [id, sent] : acknowledged) {
    const Answer one = api.Get("/messages/" + id);
    if (one.status == 200) check(one.json());
  }
  const Answer page = api.Get("/messages?limit=1000");
  if (page.status != 200) return;
  const Json shown_page = page.json();
  for (const Json& shown : shown_page.at("messages")) check(shown);
}

}  // namespace

TEST_CASE("damage on one disk is never served, is named, and is repaired from a peer") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, kMessages, "zero");
  SendAll(cluster.node(1).address(), ledger, kMessages, "one");
  AwaitEqualDigests(cluster.addresses());
  Node& damaged = cluster.node(1);
  damaged.Stop();
  {
    Tamper tamper(damaged.database());
    SECTION("a message's text") {
      tamper.ChangeOneRow("UPDATE messages SET text='forged' WHERE ref=" + MessageAt(tamper, 7));
    }
    SECTION("a message's sender") {
      tamper.ChangeOneRow("UPDATE messages SET sender='forged' WHERE ref=" + MessageAt(tamper, 7));
    }
    SECTION("the text of the last message") {
      tamper.ChangeOneRow("UPDATE messages SET text='forged' WHERE ref=" +
                          MessageAt(tamper, kMessages));
    }
    SECTION("a message that breaks the rules") {
      tamper.ChangeOneRow("UPDATE messages SET text='' WHERE ref=" + MessageAt(tamper, 3));
    }
    SECTION("a message of its own") {
      tamper.ChangeOneRow(
          "UPDATE messages SET text='forged' WHERE ref=(SELECT max(ref) FROM messages "
          "WHERE sender='one')");
    }
    SECTION("a message that is gone") {
      tamper.ChangeOneRow("DELETE FROM messages WHERE ref=" + MessageAt(tamper, 7));
    }
  }
  damaged.Start();
  CheckNeverServed(damaged.address(), ledger);
  // A new message must find its way as well.
  SendAll(damaged.address(), ledger, 5, "after");
  AwaitEqualDigests(cluster.addresses());
  // A puller that needs everything from the damaged node alone makes it read all that it holds.
  cluster.node(0).Stop();
  cluster.node(2).Stop();
  cluster.node(2).Wipe();
  cluster.node(2).Start();
  CheckNeverServed(cluster.node(2).address(), ledger);
  cluster.node(0).Start();
  CheckConverged(cluster.addresses(), ledger);
  CHECK(Repaired(damaged.api()) >= 1);
  CHECK(damaged.Said("is damaged"));
}

TEST_CASE("a damaged log is repaired and its epoch lives on") {
  Cluster cluster;
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, kMessages, "zero");
  AwaitEqualDigests(cluster.addresses());
  Node& damaged = cluster.node(1);
  damaged.Stop();
  bool by_start = false;  // found without a read
  {
    Tamper tamper(damaged.database());
    int64_t ref = 0;
    tamper.EpochOf("0", &ref);
    const std::string head = " WHERE ref=" + std::to_string(ref);
    SECTION("a chain in the middle") {
      tamper.ChangeOneRow("UPDATE records SET chain=randomblob(32) WHERE " + Row(tamper, 7));
    }
    SECTION("a stamp in the middle") {
      tamper.ChangeOneRow("UPDATE records SET stamp=stamp+1 WHERE " + Row(tamper, 7));
    }
    SECTION("a chain at the end") {
      tamper.ChangeOneRow("UPDATE records SET chain=randomblob(32) WHERE " +
                          Row(tamper, kMessages));
    }
    SECTION("a row that is gone") {
      tamper.ChangeOneRow("DELETE FROM records WHERE " + Row(tamper, 7));
    }
    SECTION("a tail that is gone") {
      tamper.ChangeOneRow("DELETE FROM records WHERE " + Row(tamper, kMessages));
      by_start = true;
    }
    SECTION("a head that is too low") {
      tamper.ChangeOneRow("UPDATE epochs SET seq=3" + head);
      by_start = true;
    }
    SECTION("a head that is too high") {
      tamper.ChangeOneRow("UPDATE epochs SET seq=9000" + head);
      by_start = true;
    }
    SECTION("a head with another chain") {
      tamper.ChangeOneRow("UPDATE epochs SET chain=randomblob(32)" + head);
      by_start = true;
    }
  }
  damaged.Start();
  if (!by_start) {
    cluster.node(0).Kill();
    cluster.node(2).Kill();
    cluster.node(2).Wipe();
    cluster.node(2).Start();
    // It has only the damaged node to learn from.
    REQUIRE(Eventually(seconds(20), [&] { return Repaired(damaged.api()) >= 1; }));
    cluster.node(0).Start();
  }
  CheckConverged(cluster.addresses(), ledger);
  CHECK(damaged.Said(by_start ? "its records end at" : "is damaged on disk"));
  for (size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.api(i).Nodes()["self"]["forks"] == Json::array());
  }
}

TEST_CASE("a damaged message on the only disk that has it is named and not served") {
  ClusterOptions options;
  options.nodes = 2;
  Cluster cluster(options);
  Node& alone = cluster.node(0);
  alone.Start();
  Ledger ledger;
  SendAll(alone.address(), ledger, 10, "intact");
  const Outgoing victim = MakeMessage("victim");
  const std::string victim_id = alone.api().Send(victim).id();
  SendAll(alone.address(), ledger, 10, "intact");
  alone.Stop();
  Tamper(alone.database()).ChangeOneRow("UPDATE messages SET text='forged' WHERE sender='victim'");

  SECTION("found by a reader") {
    alone.Start();
    const Answer first = alone.api().Get("/messages/" + victim_id);
    INFO(first.text());
    CHECK(first.status == 503);
    CHECK(first.detail().find("damaged") != std::string::npos);
    cluster.node(1).Start();
  }
  SECTION("found by a puller") {
    alone.Start();
    cluster.node(1).Start();
  }
  CHECK(Eventually(seconds(15), [&] { return cluster.api(1).Nodes()["self"]["messages"] == 20; }));
  CheckConverged(cluster.addresses(), ledger);
  for (const size_t i : {0, 1}) {
    CHECK(cluster.api(i).Nodes()["self"]["messages"] == 20);
    CHECK(cluster.api(i).Get("/messages/" + victim_id).status == 404);
  }
  CHECK(Repaired(alone.api()) >= 1);
  CHECK(alone.Said("at 11 is damaged"));
  // The sender's retry brings it back.
  const Answer again = alone.api().Send(victim);
  CHECK(again.status == 201);
  CHECK(again.id() == victim_id);
  ledger.Acknowledged(victim, victim_id);
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("no way of reading gives damage out, and each has it fetched again") {
  const std::string way = GENERATE("list", "filtered list", "lines", "by id", "poll", "stream",
                                   "conversations", "sync");
  const std::string what = GENERATE("text", "chain");
  // Who reads messages by name or place names no positions: the record does not matter there.
  if (what == "chain" && way != "poll" && way != "stream" && way != "sync") return;
  CAPTURE(way, what);
  ClusterOptions options;
  options.nodes = 2;
  Cluster cluster(options);
  cluster.StartAll();
  Node& damaged = cluster.node(1);
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, kMessages, "zero");
  Outgoing victim = MakeMessage("victim");
  victim.room.clear();
  victim.recipient = "bob";
  const std::string id = cluster.api(0).Send(victim).id();
  ledger.Acknowledged(victim, id);
  SendAll(cluster.node(0).address(), ledger, kMessages, "zero");
  AwaitEqualDigests(cluster.addresses());
  // Nobody gives it back before it was asked for.
  cluster.node(0).Stop();
  damaged.Stop();
  EpochKey epoch;
  {
    Tamper tamper(damaged.database());
    epoch = tamper.EpochOf("0");
    tamper.ChangeOneRow(what == "text" ? "UPDATE messages SET text='forged' WHERE sender='victim'"
                                       : "UPDATE records SET chain=zeroblob(32) WHERE " +
                                             Row(tamper, kMessages + 1));
  }
  damaged.Start();
  Api api = damaged.api();
  Answer answer;
  if (way == "list") answer = api.Get("/messages?limit=1000");
  if (way == "filtered list") answer = api.Get("/messages?sender=victim");
  if (way == "lines") answer = api.Get("/messages", {{"Accept", "application/x-ndjson"}});
  if (way == "by id") answer = api.Get("/messages/" + id);
  std::optional<FeedReader> follower;
  if (way == "poll") follower.emplace(FeedWay::kPoll, std::vector{damaged.port()});
  if (way == "stream") follower.emplace(FeedWay::kStream, std::vector{damaged.port()});
  if (way == "conversations") answer = api.Get("/conversations?participant=bob");
  if (way == "sync") {
    answer = api.Sync({{"v", 1}, {"cluster", "itest"}, {"node", "9"}, {"have", Json::array()}});
    const Json body = answer.json();
    for (const Json& record : body.at("records")) {
      CHECK((record["origin"] != "0" || record["seq"] < kMessages + 1));
    }
  }
  INFO(answer.text());
  CHECK(answer.body.find("forged") == std::string::npos);
  CHECK(Eventually(seconds(10), [&] { return Repaired(damaged.api()) >= 1; }));
  CHECK(damaged.Said("at " + std::to_string(kMessages + 1) + " is damaged on disk"));
  Json where = Json::array();
  where.push_back(Json::array({epoch.origin, HexU64(epoch.epoch), kMessages + 1}));
  CHECK(Eventually(seconds(5), [&] { return api.Nodes()["self"]["damaged"] == where; }));
  cluster.node(0).Start();
  CheckConverged(cluster.addresses(), ledger);
  CHECK(api.Nodes()["self"]["damaged"] == Json::array());
  if (!follower) return;
  CHECK(Eventually(seconds(20), [&] { return follower->count() == ledger.size(); }));
  const Seen seen = follower->seen();
  CHECK(seen.repeats.empty());
  CHECK(std::count(seen.texts.begin(), seen.texts.end(), "forged") == 0);
}

}  // namespace chatchain::testing
