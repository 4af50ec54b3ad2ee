// SPDX-License-Identifier: MIT
// Seals in real logs: what is taken, what waits, what damage and forks do to them, and what tokens
// from before and after a seal mean.
#include <catch2/catch.hpp>

#include "node/sync/sealing.h"
#include "node/sync/serve.h"
#include "tests/support/store_test.h"

namespace chatchain::test {

namespace {

class Cluster {
 public:
  explicit Cluster(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      nodes_.push_back(Start(id));
      shown_.emplace_back();
    }
  }

  LogProcess& operator[](size_t i) { return *nodes_[i]; }
  LogStatePtr State(size_t i) { return nodes_[i]->State(); }

  void Restart(size_t i) {
    const std::string id = nodes_[i]->id();
    nodes_[i].reset();
    nodes_[i] = Start(id);
    shown_[i].clear();
  }
  void Write(size_t i, const std::string& key) { nodes_[i]->Append(MakeMessage(key)); }

  // One round of `to` at `from`. How many records it took.
  size_t Pull(size_t to, size_t from, size_t limit = 1000) {
    const LogStatePtr mine = State(to);
    SyncRequest request;
    request.cluster = LogProcess::kCluster;
    request.node = nodes_[to]->id();
    request.have = HaveFor(*mine, shown_[to][from]);
    request.forks = mine->forks;
    request.limit = limit;
    auto decoded = DecodeSyncRequest(EncodeSyncRequest(request));
    REQUIRE(decoded);
    const std::string text =
        nodes_[from]->WithReader([&](ReadConnection& reader, const auto& state) {
          const Served served =
              ServeSync(*decoded, {*state, reader, LogProcess::kCluster, nodes_[from]->id(), "x"});
          last_holds = served.holds;
          more = served.answer.more;
          return EncodeSyncAnswer(served.answer, served.records_json);
        });
    auto answer = DecodeSyncAnswer(text);
    REQUIRE(answer);
    shown_[to][from] = answer->heads;
    const Verdict verdict =
        nodes_[to]->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
          return VerifyAnswer(std::move(*answer),
                              {*state, LogProcess::kCluster, nodes_[to]->id(), "y"}, reader);
        });
    REQUIRE(verdict.refused.empty());
    size_t taken = 0;
    nodes_[to]->Do([&](Log& log) {
      log.Heed(verdict.findings);
      for (const VerifiedRun& run : verdict.runs) taken += log.Apply(run).records;
    });
    return taken;
  }
  void Seal(size_t i) {
    Sealer sealer(nodes_[i]->id(), 0);
    std::vector<const HeadVector*> shown;
    for (const auto& [peer, heads] : shown_[i]) shown.push_back(&heads);
    const Sealer::Plan plan = sealer.Next(*State(i), shown, {});
    nodes_[i]->Do([&](Log& log) {
      log.AppendSeals(plan.seals);
      log.MarkShared(plan.shared);
    });
  }
  // Until nobody has anything new.
  void Settle() {
    for (int quiet = 0; quiet < 2;) {
      size_t taken = 0;
      for (size_t to = 0; to < nodes_.size(); ++to) {
        for (size_t from = 0; from < nodes_.size(); ++from) {
          if (from != to) taken += Pull(to, from);
        }
        Seal(to);
      }
      quiet = taken == 0 ? quiet + 1 : 0;
    }
  }
  void Wipe(size_t i) {
    const std::string id = nodes_[i]->id();
    nodes_[i].reset();
    for (const char* suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(dir_.File(id + ".db") + suffix);
    }
    nodes_[i] = Start(id);
    shown_[i].clear();
  }

  HeadVector last_holds;
  bool more = false;

 private:
  std::unique_ptr<LogProcess> Start(const std::string& id) {
    return std::make_unique<LogProcess>(dir_.File(id + ".db"), id, clock_, random_);
  }

  const TempDir dir_;
  ManualClock clock_;
  SeededRandom random_{5};
  std::vector<std::unique_ptr<LogProcess>> nodes_;
  std::vector<std::map<size_t, HeadVector>> shown_;  // by puller and peer
};

EpochKey FirstOf(const LogState& state, const std::string& origin) {
  return state.heads.lower_bound({origin, 0})->first;
}

}  // namespace

TEST_CASE("five nodes restart, and their vectors stay small", "[seal]") {
  Cluster cluster({"0", "1", "2", "3", "4"});
  const TokenCodec codec("test");
  size_t longest = 0;
  TokenVector first;
  for (int start = 0; start < 8; ++start) {
    for (size_t i = 0; i < 5; ++i) {
      if (start > 0) cluster.Restart(i);
      cluster.Write(i, std::to_string(start) + "-" + std::to_string(i));
    }
    cluster.Settle();
    if (start == 0) first = cluster.State(0)->token;
    longest = std::max(longest, codec.EncodeSession(cluster.State(2)->token).size());
  }
  const LogStatePtr state = cluster.State(0);
  CHECK(state->heads.size() == 40);
  CHECK(state->token.size() == 5);
  CHECK(state->folded.size() == 5);
  CHECK(longest < 300);
  for (size_t i = 1; i < 5; ++i) CHECK(cluster.State(i)->heads == state->heads);
  CHECK(Unfold(state->token, *state->seals) == ToTokenVector(state->heads));

  SECTION("a restart loads them, and its token does not grow while a peer is away") {
    cluster.Restart(0);
    CHECK(cluster.State(0)->folded == state->folded);
    CHECK(cluster.State(0)->token.size() <= 10);
  }
  SECTION("an empty node takes all of it, in pages") {
    cluster.Wipe(3);
    int rounds = 0;
    while (cluster.State(3)->heads != state->heads && rounds < 100) {
      REQUIRE(cluster.Pull(3, rounds % 2 == 0 ? 0 : 4, 7) > 0);
      ++rounds;
    }
    CHECK(cluster.State(3)->heads == state->heads);
    // Whole chains of sealed epochs fit into one page.
    cluster.Wipe(3);
    cluster.Pull(3, 0);
    CHECK(cluster.State(3)->heads == state->heads);
  }
  SECTION("what a pull leaves out counts as held") {
    cluster.Pull(1, 2);
    CHECK(cluster.last_holds == state->heads);
    CHECK(cluster.Pull(1, 2) == 0);
  }
}

TEST_CASE("only the sealing epoch waits for what it seals", "[seal]") {
  Cluster cluster({"0", "1", "2"});
  cluster.Write(0, "old");
  cluster.Write(0, "old too");
  cluster.Settle();
  cluster.Restart(0);
  cluster.Write(0, "new");
  cluster.Settle();
  cluster.Write(0, "after the seal");
  const LogStatePtr state = cluster.State(0);
  const EpochKey old = FirstOf(*state, "0");
  const EpochKey live = *state->live;
  REQUIRE(state->seals->Of(old).size() == 1);

  cluster.Wipe(2);
  LogProcess& empty = cluster[2];
  empty.Do([&](Log& log) {
    const VerifiedRun run = RunOf(cluster[0], live);
    const Applied applied = log.Apply(run);
    CHECK(applied.stopped);
    CHECK(applied.records == 1);
  });
  CHECK(cluster.State(2)->heads.at(live).seq == 1);
  CHECK(cluster.State(2)->seals->empty());
  // From a peer that does not know the seal, all that it has.
  cluster.Settle();
  CHECK(cluster.State(2)->heads == cluster.State(0)->heads);
  CHECK(cluster.State(2)->seals->Of(old).size() == 1);
}

TEST_CASE("a sealed epoch that goes on is named again, and sealed again", "[seal]") {
  Cluster cluster({"0", "1", "2"});
  cluster.Write(0, "a");
  cluster.Settle();
  // Two processes with one id: the second one does not know the first one's later records.
  const EpochKey old = FirstOf(*cluster.State(0), "0");
  cluster.Restart(0);
  cluster.Write(0, "b");
  cluster.Settle();
  REQUIRE(cluster.State(1)->token.count(old) == 0);
  const TokenVector sealed_token = cluster.State(1)->token;

  // A further record of the old epoch turns up at node 2.
  Record record;
  const ValidMessage late = MakeMessage("late");
  record.epoch = old;
  record.seq = 2;
  record.stamp = 77;
  record.digest = late.digest();
  const Position head = cluster.State(2)->heads.at(old);
  record.chain = NextChain(head.chain, record);
  VerifiedRun run;
  run.epoch = old;
  run.base = head;
  run.records.push_back({record, late, std::nullopt, std::nullopt});
  cluster[2].Do([&](Log& log) { CHECK(log.Apply(run).records == 1); });
  CHECK(cluster.State(2)->token.at(old).seq == 2);

  cluster.Settle();
  const LogStatePtr state = cluster.State(1);
  CHECK(state->heads.at(old).seq == 2);
  CHECK(state->seals->Of(old).size() == 2);
  CHECK(state->token.count(old) == 0);
  // The token from before still means what it meant.
  CHECK(Meant(sealed_token, old, *state->seals)->seq == 1);
  CHECK(Meant(state->token, old, *state->seals)->seq == 2);
}

TEST_CASE("a seal goes when what it seals is damaged, and both come back", "[seal]") {
  Cluster cluster({"0", "1"});
  for (int i = 0; i < 4; ++i) cluster.Write(0, "old" + std::to_string(i));
  cluster.Settle();
  cluster.Restart(0);
  cluster.Write(0, "new");
  cluster.Settle();
  const LogStatePtr before = cluster.State(1);
  const EpochKey old = FirstOf(*before, "0");
  const EpochKey live = *cluster.State(0)->live;
  REQUIRE(before->folded.count(old) == 0);
  const auto spoil = [&](const char* sql) {
    Statement update(*cluster[1].db, sql);
    update.Bind(1, before->epochs.at(old).ref).Run();
  };

  SECTION("while it runs") {
    spoil("UPDATE records SET chain=zeroblob(32) WHERE epoch=? AND seq=3");
    cluster[1].Do([&](Log& log) { log.Repair({old, 3}); });
    CHECK(cluster.State(1)->heads.at(old).seq == 2);
  }
  SECTION("found at a start") {
    spoil("DELETE FROM records WHERE epoch=? AND seq=4");
    cluster.Restart(1);
    CHECK(cluster.State(1)->heads.at(old).seq == 3);
  }
  CHECK(cluster.State(1)->seals->Of(old).empty());
  CHECK(cluster.State(1)->heads.at(live).seq == 1);
  CHECK(cluster.State(1)->folded.count(old) == 1);
  cluster.Settle();
  CHECK(cluster.State(1)->heads == cluster.State(0)->heads);
  CHECK(cluster.State(1)->folded.count(old) == 0);
}

TEST_CASE("a frozen epoch holds no seal up, and what it says counts no more", "[seal]") {
  Cluster cluster({"0", "1", "2"});
  cluster.Write(0, "old");
  cluster.Settle();
  cluster.Restart(0);
  cluster.Write(0, "new");
  cluster.Settle();
  const EpochKey old = FirstOf(*cluster.State(0), "0");
  const EpochKey live = *cluster.State(0)->live;
  SECTION("the sealed one") {
    for (size_t i : {0, 1}) {
      cluster[i].Do([&](Log& log) { log.Freeze({old, 0}); });
      // Clients are told that nothing of it is meant, peers that it is frozen.
      CHECK(cluster.State(i)->token.at(old) == Mark{});
      CHECK(cluster.State(i)->folded.count(old) == 0);
    }
    // One that has nothing of it takes the seal all the same.
    cluster.Wipe(2);
    cluster.Settle();
    CHECK(cluster.State(2)->heads == cluster.State(0)->heads);
    CHECK(cluster.State(2)->forks == std::vector<EpochKey>{old});
    CHECK(cluster.State(2)->messages == 2);
  }
  SECTION("the sealing one") {
    cluster[1].Do([&](Log& log) { log.Freeze({live, 0}); });
    CHECK(cluster.State(1)->seals->empty());
    CHECK(cluster.State(1)->token.at(old).seq == 1);
    cluster.Settle();
    CHECK(cluster.State(2)->forks == std::vector<EpochKey>{live});
    CHECK(cluster.State(2)->heads == cluster.State(0)->heads);
  }
}

TEST_CASE("a seal of another branch is a fork", "[seal]") {
  Cluster cluster({"0", "1"});
  cluster.Write(0, "old");
  cluster.Settle();
  const LogStatePtr state = cluster.State(1);
  const EpochKey old = FirstOf(*state, "0");
  Record record;
  record.epoch = {"0", old.epoch + 1};
  record.seq = 1;
  record.kind = kSealKind;
  const std::string payload = EncodeSeal({old, {1, Sha256("another branch")}});
  record.digest = Sha256(payload);
  record.chain = NextChain(ChainSeed(LogProcess::kCluster, record.epoch), record);
  VerifiedRun run;
  run.epoch = record.epoch;
  run.base = {0, ChainSeed(LogProcess::kCluster, record.epoch)};
  run.records.push_back({record, std::nullopt, payload, std::nullopt});
  cluster[1].Do([&](Log& log) { CHECK(log.Apply(run).stopped); });
  CHECK(cluster.State(1)->forks == std::vector<EpochKey>{old});
  cluster[1].Do([&](Log& log) { CHECK(log.Apply(run).records == 1); });
}

TEST_CASE("a rolled back seal was never there", "[seal]") {
  Cluster cluster({"0", "1"});
  cluster.Write(0, "old");
  cluster.Settle();
  cluster.Restart(0);
  cluster.Write(0, "new");
  cluster.Pull(0, 1);
  const LogStatePtr before = cluster.State(0);
  const EpochKey old = FirstOf(*before, "0");
  Log& log = *cluster[0].log;
  log.Begin();
  log.AppendSeals({{old, before->heads.at(old)}});
  log.Rollback();
  CHECK(cluster.State(0)->seals->empty());
  CHECK(cluster.State(0)->heads == before->heads);
  cluster.Seal(0);
  CHECK(cluster.State(0)->seals->Of(old).size() == 1);
  // Not once more, and not what has moved on since.
  cluster[0].Do([&](Log& open) {
    open.AppendSeals({{old, before->heads.at(old)}, {old, {9, Sha256("x")}}});
  });
  CHECK(cluster.State(0)->seals->Of(old).size() == 1);
}

}  // namespace chatchain::test
