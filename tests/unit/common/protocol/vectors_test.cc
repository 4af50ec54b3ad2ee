// SPDX-License-Identifier: MIT
// The published test vectors, tests/data/protocol_vectors.json: inputs with what follows from them.
// tests/unit/protocol_vectors.py computes the same file without any of this code, and checks that
// docs/protocol.md shows it.
//
// `chatchain-unit-tests '[write-vectors]'` computes the file anew from its inputs.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/protocol/message.h"
#include "common/protocol/query.h"
#include "common/protocol/record.h"
#include "common/protocol/seal.h"
#include "common/protocol/sync.h"
#include "common/protocol/token.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

using OrderedJson = nlohmann::ordered_json;

const std::string kPath = CHATCHAIN_SOURCE_DIR "/tests/data/protocol_vectors.json";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

uint64_t U64(const OrderedJson& hex) {
  return ParseHexU64(hex.get<std::string>()).value();
}

ValidMessage MessageOf(const OrderedJson& json) {
  Message message;
  message.sender = json.at("sender");
  message.recipient = json.value("recipient", "");
  message.room = json.value("room", "");
  message.text = json.at("text");
  if (json.contains("timestamp")) message.timestamp = json["timestamp"].get<int64_t>();
  message.key = json.at("key");
  return Validate(std::move(message)).value();
}

void ComputeMessage(OrderedJson* vector) {
  const ValidMessage valid = MessageOf(vector->at("message"));
  (*vector)["canonical"] = HexEncode(CanonicalBytes(valid.message()));
  (*vector)["digest"] = valid.digest().Hex();
  (*vector)["id"] = valid.id().Text();
}

std::string SealOf(const std::string& origin, const OrderedJson& record) {
  const OrderedJson& seals = record.at("seals");
  SealedHead sealed{{origin, U64(seals.at(0))}, {seals.at(1), {}}};
  REQUIRE(Hash::FromHex(seals.at(2).get<std::string>(), &sealed.end.chain));
  const std::string payload = EncodeSeal(sealed);
  const EpochKey greater{origin, sealed.epoch.epoch + 1};
  CHECK(DecodeSeal(greater, payload) == sealed);
  return payload;
}

// `digests`: of the messages, by name.
void ComputeChain(const std::map<std::string, std::string>& digests, OrderedJson* vector) {
  Record record;
  record.epoch = {vector->at("origin"), U64(vector->at("epoch"))};
  Hash chain = ChainSeed(vector->at("cluster").get<std::string>(), record.epoch);
  (*vector)["seed"] = chain.Hex();
  for (OrderedJson& json : vector->at("records")) {
    record.seq = json.at("seq");
    record.kind = json.at("kind");
    record.stamp = U64(json.at("stamp"));
    if (json.contains("seals")) json["payload"] = Base64Encode(SealOf(record.epoch.origin, json));
    const std::string digest =
        json.contains("message")
            ? digests.at(json["message"])
            : Sha256(Base64Decode(json.at("payload").get<std::string>()).value()).Hex();
    REQUIRE(Hash::FromHex(digest, &record.digest));
    json["digest"] = digest;
    chain = NextChain(chain, record);
    json["chain"] = chain.Hex();
  }
}

HeadVector HeadsOf(const OrderedJson& list) {
  HeadVector heads;
  for (const OrderedJson& head : list) {
    Position& position = heads[{head.at(0), U64(head.at(1))}];
    position.seq = head.at(2);
    REQUIRE(Hash::FromHex(head.at(3).get<std::string>(), &position.chain));
  }
  return heads;
}

uint64_t QueryHashOf(const OrderedJson& list) {
  QueryParams params;
  for (const OrderedJson& param : list) params.emplace_back(param.at(0), param.at(1));
  return ParseListQuery(params)->Hash();
}

void ComputeToken(OrderedJson* vector) {
  const TokenCodec codec(vector->at("cluster").get<std::string>());
  const TokenVector heads = ToTokenVector(HeadsOf(vector->at("heads")));
  std::string text;
  if (vector->at("type") == "session") {
    text = codec.EncodeSession(heads);
    CHECK(codec.DecodeSession(text).value() == heads);
  } else if (vector->at("type") == "feed") {
    text = codec.EncodeFeed(heads);
    CHECK(codec.DecodeFeed(text).value() == heads);
  } else {
    Cursor cursor;
    cursor.covers = heads;
    cursor.after.stamp = U64(vector->at("after_stamp"));
    cursor.after.id = MessageId::Parse(vector->at("after_id").get<std::string>()).value();
    cursor.query_hash = QueryHashOf(vector->at("query"));
    (*vector)["query_hash"] = HexU64(cursor.query_hash);
    text = codec.EncodeCursor(cursor);
    CHECK(codec.DecodeCursor(text).value() == cursor);
  }
  (*vector)["bytes"] = HexEncode(Base64UrlDecode(text).value());
  (*vector)["token"] = text;
}

void ComputeSync(OrderedJson* vector) {
  SyncRequest request;
  request.cluster = vector->at("cluster");
  request.node = vector->at("node");
  const std::string body = EncodeSyncRequest(request);
  (*vector)["body"] = body;
  (*vector)["checksum"] = OrderedJson::parse(body).at("checksum");
}

OrderedJson Computed(OrderedJson vectors) {
  std::map<std::string, std::string> digests;
  for (OrderedJson& vector : vectors.at("messages")) {
    ComputeMessage(&vector);
    digests[vector.at("name")] = vector.at("digest");
  }
  ComputeChain(digests, &vectors.at("chain"));
  ComputeChain(digests, &vectors.at("seal"));
  OrderedJson& heads = vectors.at("heads");
  heads["digest"] = VectorDigest(HeadsOf(heads.at("heads"))).Hex();
  for (OrderedJson& vector : vectors.at("tokens")) ComputeToken(&vector);
  ComputeSync(&vectors.at("sync"));
  return vectors;
}

}  // namespace

TEST_CASE("the published vectors are what this code computes", "[vectors]") {
  const OrderedJson published = OrderedJson::parse(ReadFile(kPath));
  CHECK(Computed(published).dump(2) == published.dump(2));
}

TEST_CASE("write the published vectors anew", "[.][write-vectors]") {
  const OrderedJson computed = Computed(OrderedJson::parse(ReadFile(kPath)));
  std::ofstream(kPath, std::ios::binary) << computed.dump(2) << "\n";
}

}  // namespace chatchain
