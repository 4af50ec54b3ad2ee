// SPDX-License-Identifier: MIT
#include "node/sync/compare.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// A log of which only the chains count: each is a number, equal as long as the records are.
struct FakeLog {
  std::map<EpochKey, std::vector<uint64_t>> epochs;

  static Hash ChainOf(uint64_t number) {
    Hash chain;
    for (size_t i = 0; i < 8; ++i) chain.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
    return chain;
  }
  void Fill(const EpochKey& key, Seq to, Seq differs_from = INT64_MAX) {
    for (Seq seq = 1; seq <= to; ++seq) {
      epochs[key].push_back(seq < differs_from ? seq : seq + 1'000'000);
    }
  }
  HeadVector Heads() const {
    HeadVector heads;
    for (const auto& [key, chains] : epochs) {
      heads[key] = {chains.size(), ChainOf(chains.back())};
    }
    return heads;
  }
  std::optional<Hash> At(const LogPosition& position) const {
    const auto it = epochs.find(position.epoch);
    if (it == epochs.end() || position.seq > it->second.size()) return std::nullopt;
    return ChainOf(it->second[position.seq - 1]);
  }
};

class FakePeer final : public ChainPeer {
 public:
  explicit FakePeer(FakeLog log) : log_(std::move(log)) {}
  Result<HeadVector, std::string> Heads() override { return log_.Heads(); }
  Result<std::vector<std::optional<Hash>>, std::string> ChainsAt(
      const std::vector<LogPosition>& positions) override {
    REQUIRE(positions.size() <= limits::kSyncChainsMax);
    if (fails) return Err(std::string("gone"));
    std::vector<std::optional<Hash>> chains;
    for (const LogPosition& position : positions) chains.push_back(log_.At(position));
    return chains;
  }
  bool fails = false;

 private:
  FakeLog log_;
};

Result<Comparison, std::string> Compare(const FakeLog& mine, FakePeer peer) {
  return CompareWith(peer, mine.Heads(),
                     [&](const LogPosition& position) { return mine.At(position); });
}

const EpochKey kA{"a", 1};
const EpochKey kB{"b", 1};
const EpochKey kC{"c", 1};

}  // namespace

TEST_CASE("equal logs agree by their heads alone", "[compare]") {
  FakeLog log;
  log.Fill(kA, 500);
  log.Fill(kB, 1);
  const auto compared = Compare(log, FakePeer(log));
  REQUIRE(compared);
  CHECK(compared->different.empty());
  CHECK(compared->records_here == 0);
  CHECK(compared->records_there == 0);
  CHECK(compared->requests == 1);
  CHECK(Compare({}, FakePeer({}))->different.empty());
}

TEST_CASE("a log that is behind or ahead is no difference", "[compare]") {
  FakeLog mine;
  FakeLog theirs;
  mine.Fill(kA, 100);
  theirs.Fill(kA, 80);
  mine.Fill(kB, 10);
  theirs.Fill(kB, 15);
  theirs.Fill(kC, 7);
  const auto compared = Compare(mine, FakePeer(theirs));
  REQUIRE(compared);
  CHECK(compared->different.empty());
  CHECK(compared->records_here == 20);
  CHECK(compared->records_there == 12);
  CHECK(compared->requests == 2);
}

TEST_CASE("the first difference of each epoch is found by bisection", "[compare]") {
  constexpr Seq kLength = 2000;
  for (const Seq first : {Seq{1}, Seq{2}, Seq{999}, Seq{1000}, kLength - 1, kLength}) {
    for (const Seq theirs_length : {kLength - 300, kLength, kLength + 300}) {
      if (first > theirs_length) continue;
      CAPTURE(first, theirs_length);
      FakeLog mine;
      FakeLog theirs;
      mine.Fill(kA, kLength);
      theirs.Fill(kA, theirs_length, first);
      mine.Fill(kB, kLength);
      theirs.Fill(kB, kLength);
      mine.Fill(kC, kLength, 3);
      theirs.Fill(kC, kLength);
      const auto compared = Compare(mine, FakePeer(theirs));
      REQUIRE(compared);
      CHECK(compared->different == std::vector<LogPosition>{{kA, first}, {kC, 3}});
      CHECK(static_cast<double>(compared->requests) <= 3 + std::log2(kLength));
    }
  }
}

TEST_CASE("many epochs are compared in pages", "[compare]") {
  FakeLog mine;
  FakeLog theirs;
  for (Epoch epoch = 1; epoch <= 2500; ++epoch) {
    mine.Fill({"a", epoch}, 5);
    theirs.Fill({"a", epoch}, 4, epoch % 500 == 0 ? 2 : INT64_MAX);
  }
  const auto compared = Compare(mine, FakePeer(theirs));
  REQUIRE(compared);
  CHECK(compared->different.size() == 5);
  for (const LogPosition& each : compared->different) CHECK(each.seq == 2);
  CHECK(compared->requests <= 1 + 3 + 2);
}

TEST_CASE("a peer that fails ends the comparison with its reason", "[compare]") {
  FakeLog mine;
  mine.Fill(kA, 5);
  FakeLog theirs;
  theirs.Fill(kA, 4);
  FakePeer peer(theirs);
  peer.fails = true;
  CHECK(Compare(mine, std::move(peer)).error() == "gone");
}

}  // namespace chatchain
