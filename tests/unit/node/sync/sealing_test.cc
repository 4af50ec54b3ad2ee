// SPDX-License-Identifier: MIT
#include "node/sync/sealing.h"

#include <catch2/catch.hpp>

#include "tests/support/fake_log.h"
#include "tests/support/sanitized.h"

namespace chatchain::test {

namespace {

const EpochKey kOld{"a", uint64_t{1} << 32};
const EpochKey kLive{"a", uint64_t{2} << 32};
const EpochKey kOthers{"b", uint64_t{1} << 32};

FakeLog OneRestart() {
  FakeLog log;
  log.Append(kOld, 3);
  log.Append(kOthers, 2);
  log.Append(kLive, 1);
  log.state.live = kLive;
  return log;
}

}  // namespace

TEST_CASE("an epoch is sealed once every known peer has shown its head", "[seal]") {
  const FakeLog log = OneRestart();
  const SteadyTime now{};
  const HeadVector& all = log.state.folded;
  HeadVector less = all;
  less[kOld] = log.At(kOld, 2);
  HeadVector more = all;
  more[kOld].seq = 4;
  HeadVector other = all;
  other[kOld].chain = Sha256("x");
  const HeadVector none;
  const auto seals = [&](const std::vector<const HeadVector*>& shown) {
    return Sealer("a", 0).Next(log.state, shown, now).seals;
  };
  const std::vector<SealedHead> old_one = {{kOld, log.At(kOld, 3)}};
  CHECK(seals({&all, &all}) == old_one);
  CHECK(seals({}) == old_one);
  for (const HeadVector* bad :
       std::vector<const HeadVector*>{&less, &more, &other, &none, nullptr}) {
    CHECK(seals({&all, bad}).empty());
  }

  SECTION("only in an epoch that is there") {
    FakeLog idle = log;
    idle.state.live.reset();
    CHECK(Sealer("a", 0).Next(idle.state, {&all}, now).seals.empty());
  }
  SECTION("only one's own, only lower ones, and none twice") {
    CHECK(Sealer("b", 0).Next(log.state, {&all}, now).seals.empty());
    FakeLog sealed = log;
    sealed.AppendSeal(kLive, kOld, 3);
    CHECK(Sealer("a", 0).Next(sealed.state, {&sealed.state.folded}, now).seals.empty());
  }
  SECTION("only when it has stood still") {
    Sealer sealer("a", 1000);
    FakeLog moving = log;
    const auto at = [&](int ms) {
      return sealer.Next(moving.state, {&moving.state.folded}, now + std::chrono::milliseconds(ms));
    };
    CHECK(at(0).seals.empty());
    CHECK(at(900).seals.empty());
    moving.Append(kOld, 1);  // another process with our id
    CHECK(at(1100).seals.empty());
    CHECK(at(2100).seals.size() == 1);
  }
}

TEST_CASE("a seal is shared once every known peer has shown its record", "[seal]") {
  FakeLog log = OneRestart();
  const HeadVector before = log.state.folded;
  log.AppendSeal(kLive, kOld, 3);
  const HeadVector after = log.state.folded;
  Sealer sealer("b", 0);
  CHECK(sealer.Next(log.state, {&after, &before}, {}).shared.empty());
  CHECK(sealer.Next(log.state, {&after, nullptr}, {}).shared.empty());
  CHECK(sealer.Next(log.state, {&after, &after}, {}).shared ==
        std::vector<Seals::Place>{{kLive, 2}});
}

TEST_CASE("what a peer names is named to it, sealed or not", "[seal]") {
  FakeLog log = OneRestart();
  log.AppendSeal(kLive, kOld, 3);
  CHECK(HaveFor(log.state, {}).count(kOld) == 0);
  const HeadVector have = HaveFor(log.state, {{kOld, log.At(kOld, 1)}, {{"c", 1}, {4, {}}}});
  CHECK(have.at(kOld) == log.At(kOld, 3));
  CHECK(have.count({"c", 1}) == 0);
  CHECK(have.size() == 3);
}

// As two processes with one id leave it behind: each seals the old epoch in its own.
TEST_CASE("two that leave an epoch out by two seals name it to each other", "[seal]") {
  const EpochKey of_twin{"a", (uint64_t{2} << 32) + 1};
  FakeLog one = OneRestart();
  one.AppendSeal(kLive, kOld, 3);
  one.Append(of_twin, 1);
  FakeLog other = OneRestart();
  other.Append(of_twin, 1);
  other.AppendSeal(of_twin, kOld, 3);
  REQUIRE(one.state.folded.count(kOld) == 0);
  REQUIRE(other.state.folded.count(kOld) == 0);
  CHECK(HaveFor(one.state, other.state.folded).at(kOld) == one.At(kOld, 3));
  CHECK(HaveFor(other.state, one.state.folded).at(kOld) == other.At(kOld, 3));

  // Whoever is ahead, and holds our seal, knows what we mean.
  FakeLog ahead = one;
  ahead.Append(kLive, 2);
  CHECK(HaveFor(one.state, ahead.state.folded).count(kOld) == 0);
  CHECK(HaveFor(one.state, {}).count(kOld) == 0);
}

// All hold the same after each start, as nodes do that are not cut off for long.
TEST_CASE("after 1,000 restarts of 5 nodes a token is small", "[seal]") {
  constexpr int kStarts =
      chatchain::testing::kSanitized ? 150 : 1000;  // the work grows with its square
  LogState state;
  Seals seals;
  std::vector<std::string> ids = {"0", "1", "2", "3", "node-4"};
  std::vector<Sealer> sealers;
  for (const std::string& id : ids) sealers.emplace_back(id, 0);
  const auto grow = [&](const EpochKey& key) {
    Position& head = state.heads[key];
    ++head.seq;
    head.chain = Sha256(ToText(key) + std::to_string(head.seq));
    return head.seq;
  };
  const auto publish = [&] {
    state.seals = std::make_shared<const Seals>(seals);
    Fold(&state);
  };
  size_t longest = 0;
  const TokenCodec codec("main");
  for (int start = 1; start <= kStarts; ++start) {
    std::vector<EpochKey> live;
    for (const std::string& id : ids) {
      live.push_back({id, static_cast<uint64_t>(start) << 32 | (Sha256(id).Prefix64() >> 32)});
      for (int i = 0; i < 3; ++i) grow(live.back());
    }
    publish();
    longest = std::max(longest, codec.EncodeSession(state.token).size());
    for (size_t i = 0; i < ids.size(); ++i) {
      state.live = live[i];
      const HeadVector* shown = &state.folded;
      const Sealer::Plan plan = sealers[i].Next(state, {shown, shown, shown, shown}, {});
      for (const Seals::Place& place : plan.shared) seals.MarkShared(place);
      for (const SealedHead& sealed : plan.seals) seals.Add(sealed, live[i], grow(live[i]));
    }
  }
  publish();
  REQUIRE(state.heads.size() == kStarts * ids.size());
  const std::string token = codec.EncodeSession(state.token);
  longest = std::max(longest, token.size());
  INFO("a token: " << token.size() << " bytes, the longest on the way: " << longest);
  CHECK(longest < 1000);
  CHECK(state.folded.size() <= ids.size());
  // Nothing of what it covers is lost by that.
  CHECK(Unfold(state.folded, seals) == state.heads);
  CHECK(Unfold(state.token, seals) == ToTokenVector(state.heads));
}

}  // namespace chatchain::test
