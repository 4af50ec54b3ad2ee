// SPDX-License-Identifier: MIT
#include "common/protocol/sync.h"

#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

const std::string kHex64(64, 'a');

SyncRequest ExampleRequest() {
  SyncRequest request;
  request.cluster = "ma\"in";
  request.node = "node-1";
  request.have = {{{"0", 0x00000001a1b2c3d4}, {17, Sha256("x")}},
                  {{"1", 0xffffffffffffffff}, {INT64_MAX, Sha256("y")}}};
  request.limit = 5;
  request.max_bytes = 4096;
  request.wait_ms = 250;
  request.relay = false;
  request.instance = "inst";
  request.epoch = 0x00000002ffffffff;
  request.forks = {{"0", 1}, {"2", 2}};
  request.ahead = {{{"0", 0x00000001a1b2c3d4}, {19, Sha256("z")}}};
  return request;
}

WireRecord MessageRecord() {
  WireRecord wire;
  wire.record.epoch = {"0", 0x00000001a1b2c3d4};
  wire.record.seq = 3;
  wire.record.stamp = 0x018b3f2c5a000001;
  wire.record.digest = Sha256("d");
  wire.record.chain = Sha256("c");
  wire.message =
      Message{.sender = "a\n", .recipient = "b", .text = "\"c\"", .timestamp = -7, .key = "k\\"};
  return wire;
}

bool Same(const WireRecord& a, const WireRecord& b) {
  return a.record.epoch == b.record.epoch && a.record.seq == b.record.seq &&
         a.record.kind == b.record.kind && a.record.stamp == b.record.stamp &&
         a.record.digest == b.record.digest && a.record.chain == b.record.chain &&
         a.message == b.message && a.payload == b.payload && a.id == b.id;
}

Json RequestJson() {
  return Json::parse(EncodeSyncRequest(ExampleRequest()));
}

std::string AnswerOf(const std::vector<std::string>& records) {
  std::string joined;
  for (const std::string& record : records) joined += (joined.empty() ? "" : ",") + record;
  SyncAnswer answer;
  answer.node = "0";
  answer.now_ms = 1;
  return EncodeSyncAnswer(answer, joined);
}

std::string RecordText() {
  std::string out;
  AppendWireRecord(&out, MessageRecord());
  return out;
}

}  // namespace

TEST_CASE("sync request: what is written is read", "[sync]") {
  const SyncRequest request = ExampleRequest();
  const auto back = DecodeSyncRequest(EncodeSyncRequest(request));
  REQUIRE(back);
  CHECK(back->cluster == request.cluster);
  CHECK(back->node == request.node);
  CHECK(back->have == request.have);
  CHECK(back->limit == 5);
  CHECK(back->max_bytes == 4096);
  CHECK(back->wait_ms == 250);
  CHECK_FALSE(back->relay);
  CHECK(back->instance == "inst");
  CHECK(back->epoch == request.epoch);
  CHECK(back->forks == request.forks);
  CHECK(back->ahead == request.ahead);
}

TEST_CASE("sync request: the least, and what stands for the rest", "[sync]") {
  const auto request = DecodeSyncRequest(R"({"v":1,"cluster":"main","node":"1","have":[]})");
  REQUIRE(request);
  CHECK(request->have.empty());
  CHECK(request->limit == 1000);
  CHECK(request->max_bytes == 8 * 1024 * 1024);
  CHECK(request->wait_ms == 0);
  CHECK(request->relay);
  CHECK(request->instance.empty());
  CHECK_FALSE(request->epoch);
  CHECK(request->forks.empty());
  CHECK(request->ahead.empty());
}

TEST_CASE("sync request: unknown members are ignored, bounds are held", "[sync]") {
  Json json = RequestJson();
  json["future"] = {{"a", {1, 2, 3}}};
  json["limit"] = 1'000'000'000;
  json["max_bytes"] = INT64_MAX;
  json["wait_ms"] = 3'600'000;
  const auto request = DecodeSyncRequest(json.dump());
  REQUIRE(request);
  CHECK(request->limit == limits::kSyncPageMaxRecords);
  CHECK(request->max_bytes == limits::kSyncPageMaxBytes);
  CHECK(request->wait_ms == limits::kSyncWaitMax_ms);
}

TEST_CASE("sync request: the optional live epoch is read or left out, never a failure", "[sync]") {
  for (const auto& [instance, epoch] :
       std::vector<std::pair<Json, Json>>{{1, 1},
                                          {nullptr, nullptr},
                                          {Json::array(), "1"},
                                          {std::string(10'000, 'i'), "000000000000000G"}}) {
    Json json = RequestJson();
    json["instance"] = instance;
    json["epoch"] = epoch;
    const auto request = DecodeSyncRequest(json.dump());
    REQUIRE(request);
    CHECK(request->instance.empty());
    CHECK_FALSE(request->epoch);
  }
}

TEST_CASE("sync request: what is refused", "[sync]") {
  struct Row {
    std::string member;
    Json value;  // discarded: the member is left out
  };
  const Json absent = Json(Json::value_t::discarded);
  const auto head = [](Json origin, Json epoch, Json seq, Json chain) {
    return Json::array({Json::array({origin, epoch, seq, chain})});
  };
  const std::string e = "00000001a1b2c3d4";
  const std::vector<Row> rows = {
      {"v", absent},
      {"v", 0},
      {"v", 2},
      {"v", "1"},
      {"v", 1.0},
      {"cluster", absent},
      {"cluster", 1},
      {"cluster", nullptr},
      {"node", absent},
      {"node", 0},
      {"node", ""},
      {"node", "a b"},
      {"node", std::string(65, 'n')},
      {"have", absent},
      {"have", Json::object()},
      {"have", nullptr},
      {"have", Json::array({1})},
      {"have", Json::array({Json::array()})},
      {"have", Json::array({Json::array({"0", e, 1})})},
      {"have", Json::array({Json::array({"0", e, 1, kHex64, 1})})},
      {"have", head(0, e, 1, kHex64)},
      {"have", head("", e, 1, kHex64)},
      {"have", head("a b", e, 1, kHex64)},
      {"have", head("0", "1", 1, kHex64)},
      {"have", head("0", 1, 1, kHex64)},
      {"have", head("0", "00000001A1B2C3D4", 1, kHex64)},
      {"have", head("0", e, 0, kHex64)},
      {"have", head("0", e, -1, kHex64)},
      {"have", head("0", e, 1.5, kHex64)},
      {"have", head("0", e, "1", kHex64)},
      {"have", head("0", e, uint64_t{1} << 63, kHex64)},
      {"have", head("0", e, UINT64_MAX, kHex64)},
      {"have", head("0", e, 1, std::string(63, 'a'))},
      {"have", head("0", e, 1, std::string(64, 'A'))},
      {"have", head("0", e, 1, nullptr)},
      {"have", Json::array({Json::array({"0", e, 1, kHex64}), Json::array({"0", e, 2, kHex64})})},
      {"limit", 0},
      {"limit", -1},
      {"limit", "5"},
      {"limit", 1.5},
      {"limit", nullptr},
      {"limit", UINT64_MAX},
      {"max_bytes", 0},
      {"max_bytes", true},
      {"wait_ms", -1},
      {"wait_ms", "0"},
      {"relay", 1},
      {"relay", "true"},
      {"relay", nullptr},
      {"forks", Json::object()},
      {"forks", Json::array({"0"})},
      {"forks", Json::array({Json::array({"0"})})},
      {"forks", Json::array({Json::array({"0", "x"})})},
      {"ahead", Json::object()},
      {"ahead", Json::array({"0"})},
      {"ahead",
       Json::array({Json::object({{"a", "0"}, {"b", "00000001a1b2c3d4"}, {"c", 1}, {"d", "0"}})})},
      {"ahead", Json::array({{"0", "00000001a1b2c3d4", 0, std::string(64, '0')}})},
      {"ahead", Json::array({{"0", "00000001a1b2c3d4", 1, "0"}})},
  };
  for (const Row& row : rows) {
    Json json = RequestJson();
    json.erase(row.member);
    if (!row.value.is_discarded()) json[row.member] = row.value;
    INFO(row.member << ": " << (row.value.is_discarded() ? "absent" : row.value.dump()));
    const auto request = DecodeSyncRequest(json.dump());
    REQUIRE_FALSE(request);
    CHECK(request.error().status == 422);
    CHECK(request.error().errors.at(0).field == row.member);
  }
  for (std::string_view bad : {"", "[]", "null", "{", R"({"v":1,"v":1})"}) {
    INFO(bad);
    const auto request = DecodeSyncRequest(bad);
    REQUIRE_FALSE(request);
    CHECK(request.error().status == 400);
  }
  Json many = RequestJson();
  many["forks"] = Json::array();
  for (size_t i = 0; i <= limits::kVectorMaxEntries; ++i) many["forks"].push_back({"0", HexU64(i)});
  CHECK_FALSE(DecodeSyncRequest(many.dump()));
}

TEST_CASE("chains at positions: what is written is read, the rest is refused", "[sync]") {
  SyncRequest request = ExampleRequest();
  CHECK_FALSE(DecodeSyncRequest(EncodeSyncRequest(request))->chains);
  request.chains.emplace();
  CHECK(DecodeSyncRequest(EncodeSyncRequest(request))->chains == request.chains);
  request.chains = {{{"0", 1}, 1}, {{"0", 1}, INT64_MAX}, {{"b", 0xffffffffffffffff}, 7}};
  CHECK(DecodeSyncRequest(EncodeSyncRequest(request))->chains == request.chains);
  request.chains->resize(limits::kSyncChainsMax, {{"0", 1}, 1});
  CHECK(DecodeSyncRequest(EncodeSyncRequest(request)));
  request.chains->push_back({{"0", 1}, 1});
  CHECK(DecodeSyncRequest(EncodeSyncRequest(request)).error().status == 422);
  for (const char* wrong :
       {"1", "{}", "[1]", "[[]]", R"([["0","0000000000000001"]])",
        R"([["0","0000000000000001",0]])", R"([["0","0000000000000001",-1]])",
        R"([["0","0000000000000001",1.5]])", R"([["0","1",1]])",
        R"([["0","0000000000000001",1,2]])", R"([["","0000000000000001",1]])"}) {
    CAPTURE(wrong);
    Json json = RequestJson();
    json["chains"] = Json::parse(wrong);
    CHECK(DecodeSyncRequest(json.dump()).error().status == 422);
  }

  SyncAnswer answer;
  answer.node = "0";
  CHECK_FALSE(DecodeSyncAnswer(EncodeSyncAnswer(answer, ""))->chains);
  answer.chains.emplace();
  CHECK(DecodeSyncAnswer(EncodeSyncAnswer(answer, ""))->chains == answer.chains);
  answer.chains = {{{{"0", 1}, 3}, Sha256("x")}, {{{"0", 1}, 3}, Sha256("y")}};
  CHECK(DecodeSyncAnswer(EncodeSyncAnswer(answer, ""))->chains == answer.chains);
  Json json = Json::parse(EncodeSyncAnswer(answer, ""));
  json["chains"][1].erase(3);
  CHECK_FALSE(DecodeSyncAnswer(json.dump()));
}

TEST_CASE("a flipped bit in a sync body is refused, or changes nothing", "[sync]") {
  SyncRequest request = ExampleRequest();
  request.chains = {{{"0", 1}, 1}};
  SyncAnswer answer;
  answer.node = "0";
  answer.heads = request.have;
  answer.forks = request.forks;
  answer.instance = "inst";
  answer.epoch = 3;
  const std::function<std::optional<std::string>(std::string_view)> readers[] = {
      [](std::string_view text) {
        const auto read = DecodeSyncRequest(text);
        return read ? std::optional(EncodeSyncRequest(*read)) : std::nullopt;
      },
      [](std::string_view text) -> std::optional<std::string> {
        const auto read = DecodeSyncAnswer(text);
        if (!read || !read->malformed.empty()) return std::nullopt;
        std::string records;
        for (const WireRecord& record : read->records) AppendWireRecord(&records, record);
        return EncodeSyncAnswer(*read, records);
      }};
  const std::string texts[] = {EncodeSyncRequest(request), EncodeSyncAnswer(answer, RecordText())};
  for (size_t which = 0; which < std::size(texts); ++which) {
    const std::string& text = texts[which];
    REQUIRE(readers[which](text) == text);
    size_t refused = 0;
    for (size_t bit = 0; bit < text.size() * 8; ++bit) {
      std::string flipped = text;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      const auto read = readers[which](flipped);
      refused += read ? 0 : 1;
      if (!read || read == text) continue;
      FAIL("bit " << bit % 8 << " of byte " << bit / 8 << " makes it " << *read);
    }
    CHECK(refused > text.size() * 7);
  }
}

TEST_CASE("a sync body without a checksum is taken, one with another is not", "[sync]") {
  for (const char* end : {"}", R"(,"checksum":7})", R"(,"checksum":"0"})",
                          R"(,"checksum":"0123456789abcdef","x":1})"}) {
    CAPTURE(end);
    CHECK(DecodeSyncRequest(std::string(R"({"v":1,"cluster":"c","node":"1","have":[])") + end));
  }
  const auto wrong = DecodeSyncRequest(
      R"({"v":1,"cluster":"c","node":"1","have":[],"checksum":"0123456789abcdef"})");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().status == 400);
  CHECK(wrong.error().detail.find("checksum") != std::string::npos);
}

TEST_CASE("heads as JSON", "[sync]") {
  std::string out;
  AppendHeads(&out, {});
  CHECK(out == "[]");
  const HeadVector heads = ExampleRequest().have;
  out.clear();
  AppendHeads(&out, heads);
  CHECK(out == "[[\"0\",\"00000001a1b2c3d4\",17,\"" + Sha256("x").Hex() +
                   "\"],[\"1\",\"ffffffffffffffff\",9223372036854775807,\"" + Sha256("y").Hex() +
                   "\"]]");
  CHECK(HeadsFromJson(out) == heads);
  CHECK(HeadsFromJson("[]") == HeadVector{});
  for (std::string_view bad : {"", "{}", "null", "[", "[[]]", "[1]"}) {
    INFO(bad);
    CHECK_FALSE(HeadsFromJson(bad));
  }
}

TEST_CASE("sync answer: what is written is read", "[sync]") {
  WireRecord bare = MessageRecord();
  bare.message.reset();
  bare.id = MessageId{};
  bare.id->bytes.fill(0x5a);
  WireRecord unknown = bare;
  unknown.id.reset();
  unknown.record.kind = "room.order";
  unknown.record.stamp = UINT64_MAX;
  unknown.record.seq = INT64_MAX;
  unknown.payload = std::string("\x00\xff\x01", 3);
  WireRecord empty_payload = unknown;
  empty_payload.payload = "";
  const std::vector<WireRecord> records = {MessageRecord(), bare, unknown, empty_payload};
  std::string joined;
  for (const WireRecord& record : records) {
    if (!joined.empty()) joined += ',';
    AppendWireRecord(&joined, record);
  }
  SyncAnswer answer;
  answer.node = "0";
  answer.now_ms = 1795248930123;
  answer.heads = ExampleRequest().have;
  answer.forks = {{"9", 9}};
  answer.more = true;
  answer.instance = "inst";
  answer.epoch = 3;
  const auto back = DecodeSyncAnswer(EncodeSyncAnswer(answer, joined));
  REQUIRE(back);
  CHECK(back->node == "0");
  CHECK(back->now_ms == answer.now_ms);
  CHECK(back->heads == answer.heads);
  CHECK(back->forks == answer.forks);
  CHECK(back->more);
  CHECK(back->instance == "inst");
  CHECK(back->epoch == answer.epoch);
  CHECK(back->malformed.empty());
  REQUIRE(back->records.size() == records.size());
  for (size_t i = 0; i < records.size(); ++i) CHECK(Same(back->records[i], records[i]));
}

TEST_CASE("sync answer: a malformed record is dropped and described, its neighbours stay",
          "[sync]") {
  const std::vector<std::pair<std::string, std::function<void(Json*)>>> faults = {
      {"not an object", [](Json* r) { *r = 5; }},
      {"null", [](Json* r) { *r = nullptr; }},
      {"no origin", [](Json* r) { r->erase("origin"); }},
      {"origin a number", [](Json* r) { (*r)["origin"] = 0; }},
      {"origin not an id", [](Json* r) { (*r)["origin"] = "a/b"; }},
      {"no epoch", [](Json* r) { r->erase("epoch"); }},
      {"epoch a number", [](Json* r) { (*r)["epoch"] = 1; }},
      {"epoch short", [](Json* r) { (*r)["epoch"] = "1"; }},
      {"no seq", [](Json* r) { r->erase("seq"); }},
      {"seq 0", [](Json* r) { (*r)["seq"] = 0; }},
      {"seq negative", [](Json* r) { (*r)["seq"] = -1; }},
      {"seq 2^63", [](Json* r) { (*r)["seq"] = uint64_t{1} << 63; }},
      {"seq a fraction", [](Json* r) { (*r)["seq"] = 1.5; }},
      {"seq text", [](Json* r) { (*r)["seq"] = "1"; }},
      {"no kind", [](Json* r) { r->erase("kind"); }},
      {"kind empty", [](Json* r) { (*r)["kind"] = ""; }},
      {"kind too long", [](Json* r) { (*r)["kind"] = std::string(33, 'k'); }},
      {"kind in upper case", [](Json* r) { (*r)["kind"] = "Message"; }},
      {"stamp a number", [](Json* r) { (*r)["stamp"] = 5; }},
      {"stamp short", [](Json* r) { (*r)["stamp"] = "5"; }},
      {"digest short", [](Json* r) { (*r)["digest"] = std::string(62, 'a'); }},
      {"digest in upper case", [](Json* r) { (*r)["digest"] = std::string(64, 'A'); }},
      {"no chain", [](Json* r) { r->erase("chain"); }},
      {"message null", [](Json* r) { (*r)["message"] = nullptr; }},
      {"message a list", [](Json* r) { (*r)["message"] = Json::array(); }},
      {"message without text", [](Json* r) { (*r)["message"].erase("text"); }},
      {"message with an empty recipient", [](Json* r) { (*r)["message"]["recipient"] = ""; }},
      {"message with a number for a sender", [](Json* r) { (*r)["message"]["sender"] = 5; }},
      {"message timestamp a fraction", [](Json* r) { (*r)["message"]["timestamp"] = 1.5; }},
      {"payload not base64", [](Json* r) { (*r)["payload"] = "A"; }},
      {"payload base64url", [](Json* r) { (*r)["payload"] = "-_-_"; }},
      {"payload a number", [](Json* r) { (*r)["payload"] = 5; }},
      {"payload too large",
       [](Json* r) {
         (*r)["payload"] = Base64Encode(std::string(limits::kPayloadMaxBytes + 1, 'p'));
       }},
  };
  for (const auto& [why, fault] : faults) {
    INFO(why);
    Json json = Json::parse(RecordText());
    fault(&json);
    const auto answer = DecodeSyncAnswer(AnswerOf({RecordText(), json.dump(), RecordText()}));
    REQUIRE(answer);
    CHECK(answer->records.size() == 2);
    REQUIRE(answer->malformed.size() == 1);
    CHECK(answer->malformed[0].find("record 1") != std::string::npos);
  }
}

TEST_CASE("sync answer: unknown members are ignored everywhere", "[sync]") {
  Json json = Json::parse(RecordText());
  json["future"] = 1;
  json["message"]["future"] = {1, 2};
  Json answer = Json::parse(AnswerOf({json.dump()}));
  answer["future"] = "x";
  const auto back = DecodeSyncAnswer(answer.dump());
  REQUIRE(back);
  CHECK(back->malformed.empty());
  REQUIRE(back->records.size() == 1);
  CHECK(Same(back->records[0], MessageRecord()));
}

TEST_CASE("sync answer: a message without a key is left for the gate to refuse", "[sync]") {
  for (const Json& key : {Json(nullptr), Json(5)}) {
    Json json = Json::parse(RecordText());
    json["message"]["key"] = key;
    const auto back = DecodeSyncAnswer(AnswerOf({json.dump()}));
    REQUIRE(back);
    REQUIRE(back->records.size() == 1);
    CHECK(back->records[0].message->key.empty());
    CHECK_FALSE(Validate(*back->records[0].message));
  }
}

TEST_CASE("sync answer: an id that is none is no hint", "[sync]") {
  for (const Json& id : {Json(nullptr), Json(5), Json("x"), Json(std::string(36, 'Z'))}) {
    Json json = Json::parse(RecordText());
    json["id"] = id;
    const auto back = DecodeSyncAnswer(AnswerOf({json.dump()}));
    REQUIRE(back);
    REQUIRE(back->records.size() == 1);
    CHECK_FALSE(back->records[0].id);
  }
}

TEST_CASE("sync answer: what is refused as a whole", "[sync]") {
  struct Row {
    std::string member;
    Json value;
  };
  const Json absent = Json(Json::value_t::discarded);
  for (const Row& row : std::vector<Row>{{"v", absent},
                                         {"v", 2},
                                         {"v", "1"},
                                         {"node", absent},
                                         {"node", ""},
                                         {"node", 5},
                                         {"now", absent},
                                         {"now", "1"},
                                         {"now", 1.5},
                                         {"now", UINT64_MAX},
                                         {"heads", absent},
                                         {"heads", Json::object()},
                                         {"heads", Json::array({1})},
                                         {"forks", 5},
                                         {"forks", Json::array({1})},
                                         {"records", absent},
                                         {"records", Json::object()},
                                         {"records", nullptr}}) {
    Json json = Json::parse(AnswerOf({RecordText()}));
    json.erase(row.member);
    if (!row.value.is_discarded()) json[row.member] = row.value;
    INFO(row.member << ": " << (row.value.is_discarded() ? "absent" : row.value.dump()));
    const auto answer = DecodeSyncAnswer(json.dump());
    REQUIRE_FALSE(answer);
    CHECK(answer.error().find("\"" + row.member + "\"") != std::string::npos);
  }
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{"), std::string("null"),
        std::string(1024 * 1024, '['), AnswerOf({}) + "x", AnswerOf({}) + std::string("\0x", 2)}) {
    INFO(bad.substr(0, 40));
    CHECK_FALSE(DecodeSyncAnswer(bad));
  }
}

TEST_CASE("sync answer: more records than a page may have are refused", "[sync]") {
  std::string joined = "0";
  for (size_t i = 1; i < limits::kSyncPageMaxRecords; ++i) joined += ",0";
  CHECK(DecodeSyncAnswer(AnswerOf({joined})));
  CHECK_FALSE(DecodeSyncAnswer(AnswerOf({joined, "0"})));
}

}  // namespace chatchain
