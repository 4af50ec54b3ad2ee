// SPDX-License-Identifier: MIT
#include "node/sync/decide.h"

#include <catch2/catch.hpp>

namespace chatchain {

namespace {

const EpochKey kA{"a", 1};
const EpochKey kB{"b", 1};

HeadVector Heads(const EpochKey& key, Seq seq) {
  return {{key, Position{seq, {}}}};
}

// A log of which only chains are looked at.
struct Chains final : LogReader {
  std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) override {
    const auto it = at.find({epoch, seq});
    return it == at.end() ? std::nullopt : std::optional(it->second);
  }
  void ReadRecords(const EpochKey&, Seq, Seq, const std::function<bool(StoredRecord&&)>&) override {
  }
  std::vector<std::pair<EpochKey, Seq>> PositionsOf(int64_t) override { return {}; }

  std::map<std::pair<EpochKey, Seq>, Hash> at;
};

}  // namespace

TEST_CASE("What a frozen epoch lacks is not missed", "[sync]") {
  LogState state;
  state.epochs[kA].head.seq = 3;
  const TokenVector wanted = {{kA, {5, 0}}, {kB, {1, 0}}};
  CHECK(Missing(wanted, state) == std::vector<EpochKey>{kA, kB});
  CHECK(Missing({{kA, {3, 0}}}, state).empty());
  state.epochs[kA].frozen = true;
  state.forks = {kA};
  CHECK(Missing(wanted, state) == std::vector<EpochKey>{kB});
  Chains chains;
  CHECK(BeyondFork(wanted, state, chains) == std::vector<EpochKey>{kA});
  CHECK(BeyondFork({{kA, {3, 0}}}, state, chains).empty());
}

TEST_CASE("A token that stands on another branch of a fork is not satisfied", "[sync]") {
  LogState state;
  state.epochs[kA].head = {3, Sha256("3")};
  Chains chains;
  chains.at[{kA, 2}] = Sha256("2");
  const auto on = [&](Seq seq, const Hash& chain) {
    return BeyondFork({{kA, {seq, chain.Prefix64()}}}, state, chains);
  };
  CHECK(on(2, Sha256("other")).empty());  // where no fork is known, nothing is compared
  state.epochs[kA].frozen = true;
  state.forks = {kA};
  CHECK(on(3, Sha256("3")).empty());
  CHECK(on(2, Sha256("2")).empty());
  CHECK(on(3, Sha256("other")) == std::vector<EpochKey>{kA});
  CHECK(on(2, Sha256("other")) == std::vector<EpochKey>{kA});
  CHECK(on(1, Sha256("1")) == std::vector<EpochKey>{kA});  // cannot be read
  CHECK(BeyondFork({{kA, {}}}, state, chains).empty());    // nothing of it is covered
}

TEST_CASE("A reader waits for peers that may know, and for those who have it", "[sync]") {
  const TokenVector wanted = {{kA, {5, 0}}};
  const std::vector<EpochKey> missing = {kA};
  const LogState state;
  const HeadVector none;
  const HeadVector has = Heads(kA, 5);
  const HeadVector less = Heads(kA, 4);

  // One that lives has not said anything yet.
  CHECK(JudgeReach(wanted, missing, state, {{false, false, true, &none}}, false).wait);
  // It lives no more, or its round has failed: behind, because it may have it.
  for (const ReachPeer& peer :
       {ReachPeer{false, false, false, &none}, ReachPeer{false, true, true, &none}}) {
    const ReachVerdict verdict = JudgeReach(wanted, missing, state, {peer}, false);
    CHECK(!verdict.wait);
    CHECK(verdict.behind);
    CHECK(verdict.lost.empty());
  }
  // One has it and lives: worth the time that there is.
  const std::vector<ReachPeer> one_has = {{true, false, true, &has}, {true, false, true, &none}};
  CHECK(JudgeReach(wanted, missing, state, one_has, false).wait);
  const ReachVerdict late = JudgeReach(wanted, missing, state, one_has, true);
  CHECK(!late.wait);
  CHECK(late.behind);
  // All were asked, nobody has it.
  const ReachVerdict lost = JudgeReach(
      wanted, missing, state, {{true, false, true, &less}, {true, false, true, &none}}, false);
  CHECK(!lost.wait);
  CHECK(!lost.behind);
  CHECK(lost.lost == missing);
  // With nobody to ask, nobody has it.
  CHECK(JudgeReach(wanted, missing, state, {}, false).lost == missing);
}

TEST_CASE("Our clock is off by the median of all, our own included", "[sync]") {
  CHECK(MedianOffset({}) == 0);
  CHECK(MedianOffset({10'000}) == 5'000);
  CHECK(MedianOffset({3'600'000, 5}) == 5);
  CHECK(MedianOffset({-7, -9}) == -7);
}

TEST_CASE("A page that was to be written counts when its heads are there", "[sync]") {
  LogState state;
  state.epochs[kA].head.seq = 3;
  CHECK(Reaches(state, Heads(kA, 3)));
  CHECK(!Reaches(state, Heads(kA, 4)));
  CHECK(!Reaches(state, Heads(kB, 1)));
  state.epochs[kA].frozen = true;
  CHECK(Reaches(state, Heads(kA, 4)));
}

}  // namespace chatchain
