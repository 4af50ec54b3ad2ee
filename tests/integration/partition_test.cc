// SPDX-License-Identifier: MIT
// Networks that are cut, stalled or one-way, and what a client is told meanwhile.
#include <catch2/catch.hpp>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

using Fault = FaultProxy::Fault;

constexpr size_t kSome = 250;  // messages: some rounds of sync under load
// A session read waits for 500 ms at most; the rest is for a busy machine.
constexpr milliseconds kBounded{3000};

class Stopwatch {
 public:
  milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun_);
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

ClusterOptions FaultyLinks(int nodes) {
  ClusterOptions options;
  options.nodes = nodes;
  options.faulty_links = true;
  return options;
}

bool Shows(const Answer& answer, const std::string& id) {
  return answer.body.find("\"" + id + "\"") != std::string::npos;
}

}  // namespace

TEST_CASE("both sides of a partition take writes and converge when it heals") {
  const Fault fault = GENERATE(Fault::kCut, Fault::kStall);
  CAPTURE(static_cast<int>(fault));
  Cluster cluster(FaultyLinks(3));
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 10, "before");
  for (const size_t other : {0, 1}) {
    cluster.Fault(other, 2, fault);
    cluster.Fault(2, other, fault);
  }
  const Load::Options patient{.timeout = seconds(8)};
  Load majority({cluster.node(0).address(), cluster.node(1).address()}, ledger, patient);
  Load minority({cluster.node(2).address()}, ledger, patient);
  majority.AwaitMore(2 * kSome);
  CHECK(cluster.api(0).Digest() != cluster.api(2).Digest());
  cluster.Heal();
  majority.AwaitMore(kSome);
  majority.Stop();
  minority.Stop();
  CHECK(majority.failures() == 0);
  CHECK(minority.failures() == 0);
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("a one-way link carries what it can") {
  Cluster cluster(FaultyLinks(2));
  cluster.StartAll();
  Ledger ledger;
  SECTION("cut") {
    cluster.Fault(0, 1, Fault::kCut);
  }
  SECTION("answers do not come through") {
    cluster.Fault(0, 1, Fault::kNoAnswers);
  }
  SendAll(cluster.node(0).address(), ledger, 20, "heard");
  SendAll(cluster.node(1).address(), ledger, 20, "not-heard");
  AwaitHolds(cluster.node(1).address(), cluster.node(0).address());
  CHECK(cluster.api(0).Nodes()["self"]["messages"] == 20);
  CHECK(cluster.api(1).Nodes()["self"]["messages"] == 40);
  cluster.Heal();
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("nodes that never see each other converge through a third") {
  Cluster cluster(FaultyLinks(3));
  cluster.Cut(0, 2);
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  load.AwaitMore(kSome);
  SECTION("which lives") {}
  SECTION("which dies and comes back") {
    cluster.node(1).Kill();
    load.AwaitMore(kSome);
    cluster.node(1).Start();
  }
  SECTION("which is paused and resumed") {
    cluster.node(1).Pause();
    load.AwaitMore(kSome);
    cluster.node(1).Resume();
  }
  load.AwaitMore(kSome);
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
  CHECK(cluster.api(0).Nodes()["peers"][1]["state"] == "down");
}

TEST_CASE("links that come and go under load lose nothing") {
  Cluster cluster(FaultyLinks(3));
  cluster.StartAll();
  Ledger ledger;
  Load load(cluster.addresses(), ledger);
  for (size_t round = 0; round < 6; ++round) {
    const size_t a = round % 3;
    const size_t b = (round + 1 + round / 3) % 3;
    cluster.Fault(a, b, round % 2 == 0 ? Fault::kCut : Fault::kStall);
    load.AwaitMore(kSome / 2);
    cluster.Fault(a, b, Fault::kNone);
  }
  load.Stop();
  CheckConverged(cluster.addresses(), ledger);
}

TEST_CASE("one key with two contents: told where it can be seen, kept where it cannot") {
  Cluster cluster(FaultyLinks(2));
  cluster.StartAll();
  Outgoing first = MakeMessage("alice");
  Outgoing second = MakeMessage("alice");
  second.key = first.key;
  Outgoing third = second;
  third.text += " (third)";
  Ledger ledger;

  const auto check_reused = [](const Answer& answer) {
    INFO(answer.text());
    CHECK(answer.status == 422);
    CHECK(answer.json()["type"].get<std::string>().find("key-reused") != std::string::npos);
    CHECK(answer.detail().find("Idempotency-Key") != std::string::npos);
  };

  SECTION("on one side") {
    ledger.Acknowledged(first, cluster.api(0).Send(first).id());
    check_reused(cluster.api(0).Send(second));
    AwaitHolds(cluster.node(1).address(), cluster.node(0).address());
    check_reused(cluster.api(1).Send(second));
    // The same key of another sender is another key.
    Outgoing of_bob = second;
    of_bob.sender = "bob";
    const Answer bobs = cluster.api(1).Send(of_bob);
    CHECK(bobs.status == 201);
    ledger.Acknowledged(of_bob, bobs.id());
    CheckConverged(cluster.addresses(), ledger);
    CHECK(cluster.api(0).Nodes()["self"]["messages"] == 2);
  }
  SECTION("on both sides of a partition") {
    cluster.Cut(0, 1);
    for (const size_t i : {0, 1}) {
      const Outgoing& sent = i == 0 ? first : second;
      const Answer answer = cluster.api(i).Send(sent);
      CHECK(answer.status == 201);
      ledger.Acknowledged(sent, answer.id());
    }
    cluster.Heal();
    CheckConverged(cluster.addresses(), ledger);
    for (const size_t i : {0, 1}) {
      CHECK(cluster.api(i).Nodes()["self"]["messages"] == 2);
      CHECK(cluster.api(i).Send(first).status == 200);
      CHECK(cluster.api(i).Send(second).status == 200);
      check_reused(cluster.api(i).Send(third));
    }
    CHECK(cluster.api(0).Nodes()["self"]["messages"] == 2);
  }
}

TEST_CASE("one send on both sides of a partition is one message") {
  Cluster cluster(FaultyLinks(3));
  cluster.StartAll();
  Ledger ledger;
  cluster.Cut(0, 1);
  cluster.Cut(0, 2);
  cluster.Cut(1, 2);
  for (int i = 0; i < 20; ++i) {
    const Outgoing sent = MakeMessage("retrier");
    std::string id;
    for (size_t k = 0; k < 3; ++k) {
      const Answer answer = cluster.api(k).Send(sent);
      CHECK(answer.status == 201);
      CHECK((id.empty() || id == answer.id()));
      id = answer.id();
    }
    ledger.Acknowledged(sent, id);
  }
  cluster.Heal();
  CheckConverged(cluster.addresses(), ledger);
  CHECK(cluster.api(0).Nodes()["self"]["messages"] == 20);
}

TEST_CASE("acks: enough copies are waited for, and the truth is told when there are not") {
  Cluster cluster;
  cluster.node(0).Start();
  cluster.node(1).Start();
  Ledger ledger;
  const auto send = [&](const std::string& acks, const std::string& deadline_ms, int status,
                        int least_copies, int most_copies) {
    const Outgoing message = MakeMessage("careful");
    const Stopwatch watch;
    const Answer answer = cluster.api(0).Send(
        message, {{"ChatChain-Acks", acks}, {"ChatChain-Deadline-Ms", deadline_ms}});
    INFO(acks << ": " << answer.text());
    CHECK(answer.status == status);
    const int copies = answer.json().value("copies", 0);
    CHECK(copies >= least_copies);
    CHECK(copies <= most_copies);
    CHECK(watch.elapsed() < milliseconds(std::stoi(deadline_ms)) + kBounded);
    ledger.Acknowledged(message, answer.id());
    return message;
  };

  send("1", "5000", 201, 1, 2);
  send("2", "5000", 201, 2, 2);
  send("majority", "5000", 201, 2, 2);
  send("all", "600", 202, 1, 2);
  cluster.node(2).Start();
  send("all", "8000", 201, 3, 3);

  cluster.node(1).Kill();
  cluster.node(2).Kill();
  const Outgoing alone = send("2", "600", 202, 1, 1);
  CheckHolds(cluster.node(0).address(), ledger);
  cluster.node(1).Start();
  // The retry of the same send waits for the same message.
  const Answer again =
      cluster.api(0).Send(alone, {{"ChatChain-Acks", "2"}, {"ChatChain-Deadline-Ms", "8000"}});
  INFO(again.text());
  CHECK(again.status == 200);
  CHECK(again.json().value("copies", 0) == 2);
  cluster.node(2).Start();
  CheckConverged(cluster.addresses(), ledger);

  for (const std::string bad : {"0", "4", "most", "-1", ""}) {
    const Answer refused = cluster.api(0).Send(MakeMessage("careful"), {{"ChatChain-Acks", bad}});
    INFO(bad << ": " << refused.text());
    CHECK(refused.status == 422);
    CHECK(refused.detail().find("ChatChain-Acks") != std::string::npos);
  }
}

TEST_CASE("a session token: what was written here is seen there, or the answer says why not") {
  Cluster cluster(FaultyLinks(2));
  cluster.StartAll();
  REQUIRE(Eventually(seconds(10), [&] { return cluster.api(1).Ready(); }));
  Api here = cluster.api(0);
  Api there = cluster.api(1);
  const auto write = [&](std::string* id) {
    const Answer sent = here.Send(MakeMessage("roamer"));
    REQUIRE(sent.status == 201);
    *id = sent.id();
    return sent.header("ChatChain-Session");
  };
  std::string id;

  SECTION("at once while the peers see each other") {
    for (int i = 0; i < 50; ++i) {
      const std::string token = write(&id);
      const Answer one = there.Get("/messages/" + id, {{"ChatChain-Session", token}});
      INFO(i << ": " << one.text());
      CHECK(one.header("ChatChain-Stale").empty());
      REQUIRE(one.status == 200);
      const Answer page = there.Get("/messages?order=desc&limit=3", {{"ChatChain-Session", token}});
      CHECK(Shows(page, id));
    }
  }
  SECTION("as stale, or not at all, while it cannot be had") {
    const Fault fault = GENERATE(Fault::kCut, Fault::kStall);
    cluster.Fault(1, 0, fault);
    const std::string token = write(&id);
    const Stopwatch watch;
    const Answer old = there.Get("/messages", {{"ChatChain-Session", token}});
    CHECK(old.status == 200);
    CHECK(old.header("ChatChain-Stale") == "1");
    CHECK(old.header("ChatChain-Lost").empty());
    const Answer strict =
        there.Get("/messages", {{"ChatChain-Session", token}, {"ChatChain-Consistency", "strict"}});
    INFO(strict.text());
    CHECK(strict.status == 412);
    CHECK(strict.detail().find("ChatChain-Session") != std::string::npos);
    CHECK(watch.elapsed() < 2 * kBounded);
    // The token that came back still asks for the message.
    const std::string joined = old.header("ChatChain-Session");
    cluster.Heal();
    REQUIRE(Eventually(seconds(20), [&] {
      const Answer now = there.Get("/messages", {{"ChatChain-Session", joined}});
      // Whoever is not told that the answer is old must see the message.
      if (now.header("ChatChain-Stale").empty()) REQUIRE(Shows(now, id));
      return now.header("ChatChain-Stale").empty();
    }));
  }
  SECTION("as lost once nobody has it any more") {
    cluster.Fault(1, 0, Fault::kCut);
    const std::string token = write(&id);
    cluster.node(0).Kill();
    cluster.node(0).Wipe();
    const Stopwatch watch;
    const Answer dead = there.Get("/messages", {{"ChatChain-Session", token}});
    CHECK(dead.header("ChatChain-Stale") == "1");
    CHECK(watch.elapsed() < kBounded);
    cluster.Heal();
    cluster.node(0).Start();
    Answer told;
    REQUIRE(Eventually(seconds(20), [&] {
      told = there.Get("/messages", {{"ChatChain-Session", token}});
      return told.header("ChatChain-Lost") == "1";
    }));
    CHECK(told.status == 200);
    const Answer after =
        there.Get("/messages", {{"ChatChain-Session", told.header("ChatChain-Session")},
                                {"ChatChain-Consistency", "strict"}});
    CHECK(after.status == 200);
    CHECK(after.header("ChatChain-Lost").empty());
  }
}

}  // namespace chatchain::testing
