// SPDX-License-Identifier: MIT
#include "common/protocol/seal.h"

#include <catch2/catch.hpp>

#include "tests/support/seeded_random.h"

namespace chatchain {

namespace {

EpochKey Key(Epoch epoch, const std::string& origin = "a") {
  return {origin, epoch};
}

Hash ChainOf(const EpochKey& key, Seq seq) {
  return Sha256(ToText(key) + ":" + std::to_string(seq));
}

Position At(const EpochKey& key, Seq seq) {
  return {seq, ChainOf(key, seq)};
}

HeadVector Heads(const std::vector<std::pair<EpochKey, Seq>>& entries) {
  HeadVector heads;
  for (const auto& [key, seq] : entries) heads[key] = At(key, seq);
  return heads;
}

struct OneSeal {
  Epoch of;
  Seq end;
  Epoch in;
  Seq at;
};

Seals MakeSeals(const std::vector<OneSeal>& list, bool shared = true) {
  Seals seals;
  for (const OneSeal& seal : list) {
    seals.Add({Key(seal.of), At(Key(seal.of), seal.end)}, Key(seal.in), seal.at);
    if (shared) seals.MarkShared({Key(seal.in), seal.at});
  }
  return seals;
}

std::vector<Epoch> NamesOf(const TokenVector& vector) {
  std::vector<Epoch> names;
  for (const auto& [key, mark] : vector) names.push_back(key.epoch);
  return names;
}

}  // namespace

TEST_CASE("a seal is 48 bytes and stands in a greater epoch of its origin", "[seal]") {
  const SealedHead sealed{Key(3), At(Key(3), 10)};
  const std::string payload = EncodeSeal(sealed);
  CHECK(payload.size() == 48);
  CHECK(DecodeSeal(Key(4), payload) == sealed);
  CHECK(DecodeSeal({"b", 4}, payload)->epoch == EpochKey{"b", 3});
  CHECK_FALSE(DecodeSeal(Key(3), payload));
  CHECK_FALSE(DecodeSeal(Key(2), payload));
  CHECK_FALSE(DecodeSeal(Key(4), payload + "x"));
  CHECK_FALSE(DecodeSeal(Key(4), payload.substr(1)));
  CHECK_FALSE(DecodeSeal(Key(4), EncodeSeal({Key(3), At(Key(3), 0)})));
  CHECK_FALSE(DecodeSeal(Key(4), EncodeSeal({Key(3), At(Key(3), uint64_t{1} << 63)})));
  CHECK_FALSE(DecodeSeal(Key(4), ""));
}

TEST_CASE("a vector leaves out what it covers a seal of, with that head", "[seal]") {
  struct Row {
    std::string why;
    HeadVector heads;
    std::vector<OneSeal> seals;
    std::vector<Epoch> named;
  };
  const std::vector<Row> rows = {
      {"no seal", Heads({{Key(1), 5}, {Key(2), 3}}), {}, {1, 2}},
      {"sealed and covered", Heads({{Key(1), 5}, {Key(2), 3}}), {{1, 5, 2, 3}}, {2}},
      {"the seal is not covered", Heads({{Key(1), 5}, {Key(2), 2}}), {{1, 5, 2, 3}}, {1, 2}},
      {"more came later", Heads({{Key(1), 6}, {Key(2), 3}}), {{1, 5, 2, 3}}, {1, 2}},
      {"and was sealed again",
       Heads({{Key(1), 6}, {Key(2), 4}}),
       {{1, 5, 2, 3}, {1, 6, 2, 4}},
       {2}},
      {"less than the larger end",
       Heads({{Key(1), 5}, {Key(2), 4}}),
       {{1, 5, 2, 3}, {1, 6, 2, 4}},
       {1, 2}},
      {"the larger end is not covered",
       Heads({{Key(1), 5}, {Key(2), 3}}),
       {{1, 5, 2, 3}, {1, 6, 2, 4}},
       {2}},
      {"a chain of seals",
       Heads({{Key(1), 5}, {Key(2), 3}, {Key(3), 1}}),
       {{1, 5, 2, 3}, {2, 3, 3, 1}},
       {3}},
      {"sealed by two clones",
       Heads({{Key(1), 5}, {Key(2), 1}, {Key(3), 1}}),
       {{1, 5, 2, 1}, {1, 5, 3, 1}},
       {2, 3}},
      {"sealed and not held", Heads({{Key(2), 3}}), {{1, 5, 2, 3}}, {1, 2}},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    const Seals seals = MakeSeals(row.seals);
    const TokenVector folded = FoldToken(row.heads, seals);
    CHECK(NamesOf(folded) == row.named);
    // Whoever knows the seals can tell the whole again.
    TokenVector whole = ToTokenVector(row.heads);
    for (const auto& [key, mark] : folded) whole.emplace(key, mark);
    CHECK(Unfold(folded, seals) == whole);
    for (const auto& [key, mark] : whole) CHECK(Meant(folded, key, seals) == mark);
    CHECK(Unfold(FoldHeads(row.heads, seals), seals).count(Key(2)) == 1);
  }
}

TEST_CASE("what is sealed and not held is named with nothing, for clients", "[seal]") {
  const Seals seals = MakeSeals({{1, 5, 2, 3}});
  const TokenVector folded = FoldToken(Heads({{Key(2), 3}}), seals);
  CHECK(folded.at(Key(1)) == Mark{});
  CHECK_FALSE(Covers(Unfold(folded, seals), Key(1), 1));
  const TokenCodec codec("test");
  CHECK(codec.DecodeFeed(codec.EncodeFeed(folded)).value() == folded);
}

TEST_CASE("another branch than the sealed one stays named", "[seal]") {
  Seals seals;
  seals.Add({Key(1), {5, Sha256("another")}}, Key(2), 3);
  seals.MarkShared({Key(2), 3});
  CHECK(NamesOf(FoldToken(Heads({{Key(1), 5}, {Key(2), 3}}), seals)) == std::vector<Epoch>{1, 2});
  CHECK(FoldHeads(Heads({{Key(1), 5}, {Key(2), 3}}), seals).count(Key(1)) == 1);
}

TEST_CASE("a token waits until every peer is known to hold the seal", "[seal]") {
  const HeadVector heads = Heads({{Key(1), 5}, {Key(2), 3}, {Key(3), 2}});
  Seals seals = MakeSeals({{1, 5, 2, 3}}, /*shared=*/false);
  CHECK(FoldHeads(heads, seals).count(Key(1)) == 0);  // peers ask for what they miss
  CHECK(NamesOf(FoldToken(heads, seals)) == std::vector<Epoch>{1, 2, 3});
  CHECK(seals.Unshared() == std::vector<Seals::Place>{{Key(2), 3}});
  CHECK(seals.MarkShared({Key(2), 3}));
  CHECK_FALSE(seals.MarkShared({Key(2), 3}));
  CHECK_FALSE(seals.MarkShared({Key(2), 4}));
  CHECK(NamesOf(FoldToken(heads, seals)) == std::vector<Epoch>{2, 3});

  // What stands in a sealed epoch was shown with it.
  seals = MakeSeals({{1, 5, 2, 3}, {2, 3, 3, 2}}, /*shared=*/false);
  CHECK(seals.Unshared() == std::vector<Seals::Place>{{Key(3), 2}});
  CHECK(NamesOf(FoldToken(heads, seals)) == std::vector<Epoch>{2, 3});
}

TEST_CASE("seals above a place are forgotten, others stay", "[seal]") {
  Seals seals = MakeSeals({{1, 5, 3, 1}, {2, 5, 3, 4}, {1, 5, 4, 4}});
  CHECK(seals.SealedBy(Key(3), 0, 9).size() == 2);
  CHECK(seals.SealedBy(Key(3), 1, 9).front().first == 4);
  seals.RemoveAbove(Key(3), 1);
  CHECK(seals.SealedBy(Key(3), 0, 9).size() == 1);
  CHECK(seals.Of(Key(2)).empty());
  CHECK(seals.Of(Key(1)).size() == 2);
  seals.RemoveAbove(Key(3), 0);
  CHECK(seals.Of(Key(1)).size() == 1);
}

TEST_CASE("a moving position is folded as a whole one would be", "[seal]") {
  test::SeededRandom random(7);
  for (int run = 0; run < 300; ++run) {
    Seals seals;
    HeadVector heads;
    for (Epoch epoch = 1; epoch <= 5; ++epoch) {
      heads[Key(epoch)] = At(Key(epoch), 1 + random.Below(6));
    }
    for (int i = 0; i < 6; ++i) {
      const Epoch in = 2 + random.Below(4);
      const Epoch of = 1 + random.Below(in - 1);
      const Seq at = 1 + random.Below(6);
      seals.Add({Key(of), At(Key(of), 1 + random.Below(6))}, Key(in), at);
      if (random.Below(2) == 0) seals.MarkShared({Key(in), at});
    }
    // Nothing first, then record by record in some order.
    HeadVector covered;
    FoldedPosition position({}, seals);
    for (int step = 0; step < 20; ++step) {
      const EpochKey key = Key(1 + random.Below(5));
      const Seq next = covered.count(key) > 0 ? covered.at(key).seq + 1 : 1;
      if (next > heads.at(key).seq) continue;
      covered[key] = At(key, next);
      position.Advance({{key, {next, covered.at(key).chain.Prefix64()}}});
      CHECK(Unfold(position.folded(), seals) == Unfold(FoldToken(covered, seals), seals));
      CHECK(position.folded() == FoldToken(covered, seals));
    }
  }
}

}  // namespace chatchain
