// SPDX-License-Identifier: MIT
#include "common/protocol/record.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "common/util/encoding.h"

namespace chatchain {

namespace {

Record Example() {
  Record record;
  record.epoch = {"0", 0x00000001a1b2c3d4};
  record.seq = 1;
  record.stamp = 0x018b3f2c5a000001;
  record.digest = Sha256("body");
  return record;
}

}  // namespace

TEST_CASE("chain: the bytes that are hashed", "[record]") {
  const Record record = Example();
  std::string bytes;
  AppendSized(&bytes, "chatchain.chain.v1");
  AppendSized(&bytes, "main");
  AppendSized(&bytes, "0");
  AppendU64(&bytes, 0x00000001a1b2c3d4);
  const Hash seed = ChainSeed("main", record.epoch);
  CHECK(seed == Sha256(bytes));

  bytes = std::string(seed.view());
  AppendSized(&bytes, "0");
  AppendU64(&bytes, 0x00000001a1b2c3d4);
  AppendU64(&bytes, 1);
  AppendSized(&bytes, "message");
  AppendU64(&bytes, 0x018b3f2c5a000001);
  bytes += record.digest.view();
  CHECK(NextChain(seed, record) == Sha256(bytes));
}

TEST_CASE("chain: every field changes it, the stored chain does not", "[record]") {
  const std::vector<std::function<void(Record*)>> changes = {
      [](Record*) {},
      [](Record* r) { r->epoch.origin = "1"; },
      [](Record* r) { r->epoch.origin = "00"; },
      [](Record* r) { r->epoch.epoch ^= 1; },
      [](Record* r) { r->epoch.epoch ^= uint64_t{1} << 63; },
      [](Record* r) { r->seq = 2; },
      [](Record* r) { r->kind = "messag"; },
      [](Record* r) { r->kind = "message."; },
      [](Record* r) { r->stamp ^= 1; },
      [](Record* r) { r->stamp ^= uint64_t{1} << 63; },
      [](Record* r) { r->digest.bytes[0] ^= 1; },
      [](Record* r) { r->digest.bytes[31] ^= 0x80; },
  };
  const Hash seed = ChainSeed("main", Example().epoch);
  std::set<std::string> chains;
  for (const auto& change : changes) {
    Record record = Example();
    change(&record);
    chains.insert(NextChain(seed, record).Hex());
  }
  CHECK(chains.size() == changes.size());

  Record record = Example();
  record.chain = Sha256("anything");
  CHECK(NextChain(seed, record) == NextChain(seed, Example()));
  Hash other = seed;
  other.bytes[31] ^= 1;
  CHECK(NextChain(other, record) != NextChain(seed, record));
}

TEST_CASE("chain seed: cluster, origin and epoch, not flowing into one another", "[record]") {
  std::set<std::string> seeds;
  for (const auto& [cluster, origin, epoch] :
       std::vector<std::tuple<std::string, std::string, Epoch>>{{"main", "0", 1},
                                                                {"main", "0", 2},
                                                                {"main", "1", 1},
                                                                {"main0", "", 1},
                                                                {"mai", "n0", 1},
                                                                {"", "main0", 1},
                                                                {"Main", "0", 1}}) {
    seeds.insert(ChainSeed(cluster, {origin, epoch}).Hex());
  }
  CHECK(seeds.size() == 7);
}

TEST_CASE("heads digest: every part of every head changes it", "[record]") {
  const HeadVector base = {{{"0", 1}, {5, Sha256("a")}}, {{"1", 1}, {7, Sha256("b")}}};
  std::vector<HeadVector> vectors(8, base);
  vectors[1].clear();
  vectors[2].erase({"1", 1});
  vectors[3][{"0", 1}].seq = 6;
  vectors[4][{"0", 1}].chain.bytes[31] ^= 1;
  vectors[5] = {{{"0", 2}, {5, Sha256("a")}}, {{"1", 1}, {7, Sha256("b")}}};
  vectors[6] = {{{"0", 1}, {5, Sha256("b")}}, {{"1", 1}, {7, Sha256("a")}}};
  vectors[7][{"2", 1}] = {1, Sha256("c")};
  std::set<std::string> digests;
  for (const HeadVector& vector : vectors) digests.insert(VectorDigest(vector).Hex());
  CHECK(digests.size() == vectors.size());

  std::string bytes;
  AppendSized(&bytes, "chatchain.heads.v1");
  CHECK(VectorDigest({}) == Sha256(bytes));
}

TEST_CASE("heads sort by origin's bytes, then epoch", "[record]") {
  const HeadVector heads = {{{"b", 1}, {}},  {{"a", 2}, {}}, {{"a", 1}, {}},
                            {{"10", 9}, {}}, {{"2", 1}, {}}, {{"B", 1}, {}}};
  std::string order;
  for (const auto& [key, position] : heads)
    order += key.origin + ":" + std::to_string(key.epoch) + " ";
  CHECK(order == "10:9 2:1 B:1 a:1 a:2 b:1 ");
}

TEST_CASE("covers", "[record]") {
  const HeadVector heads = {{{"0", 1}, {5, {}}}};
  CHECK(Covers(heads, {"0", 1}, 1));
  CHECK(Covers(heads, {"0", 1}, 5));
  CHECK_FALSE(Covers(heads, {"0", 1}, 6));
  CHECK_FALSE(Covers(heads, {"0", 2}, 1));
  CHECK_FALSE(Covers(heads, {"1", 1}, 1));
  CHECK_FALSE(Covers(HeadVector{}, {"0", 1}, 1));
}

TEST_CASE("kinds and epoch keys", "[record]") {
  for (const std::string& good : {std::string("message"), std::string("a"),
                                  std::string("room.order-2_x"), std::string(32, 'k')}) {
    CHECK(IsKind(good));
  }
  for (const std::string& bad :
       {std::string(), std::string(33, 'k'), std::string("Message"), std::string("a b"),
        std::string("a\""), std::string("a\0", 2), std::string("\xc3\xa9")}) {
    INFO(bad);
    CHECK_FALSE(IsKind(bad));
  }
  CHECK(ToText({"node-1", 0x1a1b2c3d4}) == "node-1/00000001a1b2c3d4");
}

}  // namespace chatchain
