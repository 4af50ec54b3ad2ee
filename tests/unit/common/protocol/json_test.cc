// SPDX-License-Identifier: MIT
#include "common/protocol/json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

std::string Repeat(std::string_view part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

std::string Nested(size_t levels) {
  return Repeat("[", levels) + Repeat("]", levels);
}

// 200 for a message that satisfies every rule, else the status of the problem. The key is given.
struct Judged {
  int status = 200;
  std::string fields;  // of `errors`, joined with commas
  std::string detail;
  Message message;
};

Judged Judge(std::string_view body) {
  Judged judged;
  const auto fail = [&](const Problem& problem) {
    judged.status = problem.status;
    judged.detail = problem.detail;
    for (const FieldError& error : problem.errors) {
      judged.fields += (judged.fields.empty() ? "" : ",") + error.field;
    }
    CHECK_FALSE(judged.detail.empty());
    // The answer itself must be JSON, whatever was sent.
    CHECK(Json::accept(ProblemJson(problem)));
    CHECK(ProblemJson(problem).size() < 2000);
    return judged;
  };
  const auto json = ReadJsonObject(body);
  if (!json) return fail(json.error());
  auto message = MessageFromJson(json->root(), {});
  if (!message) return fail(message.error());
  message->key = "k";
  auto valid = Validate(std::move(*message));
  if (!valid) return fail(InvalidMessage(std::move(valid.error())));
  judged.message = valid->message();
  return judged;
}

std::string With(std::string_view members) {
  return R"({"sender":"a","recipient":"b","text":"c")" + std::string(members) + "}";
}

}  // namespace

TEST_CASE("message bodies: malformed is 400", "[json]") {
  struct Row {
    std::string why;
    std::string body;
  };
  const std::string nul(1, '\0');
  const std::vector<Row> rows = {
      {"nothing", ""},
      {"blank", " \n\t\r "},
      {"not JSON", "hello"},
      {"null", "null"},
      {"a string", "\"x\""},
      {"a number", "1"},
      {"an array", "[]"},
      {"an array of messages", "[" + With("") + "]"},
      {"cut short", R"({"sender":"a")"},
      {"cut in a string", R"({"sender":"a)"},
      {"cut in an escape", R"({"sender":"a\u00)"},
      {"trailing garbage", With("") + "x"},
      {"a second value", With("") + With("")},
      {"a trailing comma", R"({"sender":"a","recipient":"b","text":"c",})"},
      {"a comment", With("") + "// no"},
      {"single quotes", "{'sender':'a'}"},
      {"a name without quotes", "{sender:\"a\"}"},
      {"no colon", "{\"sender\" \"a\"}"},
      {"NaN", With(",\"timestamp\":NaN")},
      {"Infinity", With(",\"timestamp\":Infinity")},
      {"-Infinity", With(",\"timestamp\":-Infinity")},
      {"leading zero", With(",\"timestamp\":01")},
      {"leading plus", With(",\"timestamp\":+1")},
      {"no digit after the point", With(",\"timestamp\":1.")},
      {"no digit before the point", With(",\"timestamp\":.5")},
      {"no digit in the exponent", With(",\"timestamp\":1e")},
      {"a huge number with a leading zero", With(",\"timestamp\":01e999")},
      {"a huge number cut short", With(",\"timestamp\":1e999e")},
      {"hexadecimal", With(",\"timestamp\":0x10")},
      {"TRUE", With(",\"timestamp\":TRUE")},
      {"raw NUL at the start", nul + With("")},
      {"raw NUL at the end", With("") + nul},
      {"raw NUL, then garbage", With("") + nul + "}{"},
      {"raw NUL between members",
       "{" + nul + "\"sender\":\"a\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"raw NUL in a string", "{\"sender\":\"a" + nul + "\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"raw line feed in a string", "{\"sender\":\"a\n\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"raw tab in a string", "{\"sender\":\"a\t\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"unknown escape", R"({"sender":"\x41","recipient":"b","text":"c"})"},
      {"short \\u escape", R"({"sender":"\u12","recipient":"b","text":"c"})"},
      {"lone high surrogate", R"({"sender":"a","recipient":"b","text":"\ud83d"})"},
      {"lone low surrogate", R"({"sender":"a","recipient":"b","text":"\ude00"})"},
      {"swapped surrogates", R"({"sender":"a","recipient":"b","text":"\ude00\ud83d"})"},
      {"high surrogate twice", R"({"sender":"a","recipient":"b","text":"\ud83d\ud83d"})"},
      {"lone surrogate in a name", R"({"\ud800":1})"},
      {"a lone continuation byte", "{\"sender\":\"\x80\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"an overlong NUL", "{\"sender\":\"\xc0\x80\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"a surrogate in UTF-8", "{\"sender\":\"\xed\xa0\x80\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"above U+10FFFF", "{\"sender\":\"\xf4\x90\x80\x80\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"a cut character", "{\"sender\":\"\xe5\xb0\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"Latin-1", "{\"sender\":\"caf\xe9\",\"recipient\":\"b\",\"text\":\"c\"}"},
      {"invalid UTF-8 outside strings", "\xff" + With("")},
      {"a cut byte order mark", "\xef\xbb" + With("")},
      {"UTF-16", std::string("{\0\"\0a\0\"\0:\0001\0}\0", 14)},
      {"deep arrays", With(",\"timestamp\":" + Nested(16))},
      {"1 MiB of open arrays", std::string(1024 * 1024, '[')},
      {"1 MiB of open objects", Repeat("{\"a\":", 200'000)},
      {"duplicate member", With(",\"text\":\"d\"")},
      {"duplicate member, equal values", With(",\"text\":\"c\"")},
      {"duplicate member by an escape", With(R"(,"s\u0065nder":"d")")},
      {"duplicate unknown member", With(",\"x\":1,\"x\":2")},
      {"duplicate in a nested object", With(R"(,"timestamp":{"a":1,"a":2})")},
      {"duplicate in an object in an array", With(R"(,"timestamp":[0,{"a":1,"b":2,"\u0061":3}])")},
      {"duplicate after a nested object", R"({"text":{"text":1},"text":"c"})"},
      {"unknown member", With(",\"extra\":1")},
      {"unknown member, null", With(",\"extra\":null")},
      {"a member in another case", With(",\"Timestamp\":1")},
      {"a member with a blank", With(",\"timestamp \":1")},
      {"an empty member name", With(",\"\":1")},
      {"a member name that ends in NUL", With(",\"timestamp\\u0000\":1")},
      {"id is the server's", With(R"(,"id":"0")")},
      {"accepted_at is the server's", With(R"(,"accepted_at":"2026-11-21T08:15:30.123Z")")},
      {"key is a header", With(R"(,"key":"k")")},
      {"an unknown member beside a wrong type", With(",\"timestamp\":\"1\",\"zzz\":1")},
      {"an unknown member of 900 kB", With(",\"" + std::string(900'000, 'x') + "\":1")},
      {"a duplicate member of 400 kB",
       "{\"" + std::string(400'000, 'x') + "\":1,\"" + std::string(400'000, 'x') + "\":1}"},
      {"a bad string of 900 kB", "{\"sender\":\"" + std::string(900'000, 'x') + "\xff\"}"},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    const Judged judged = Judge(row.body);
    CHECK(judged.status == 400);
    CHECK(judged.detail.size() < 500);
  }
}

TEST_CASE("message bodies: a known member out of its rule is 422 and named", "[json]") {
  struct Row {
    std::string why;
    std::string body;
    std::string field;
  };
  const std::vector<Row> rows = {
      {"an empty object", "{}", "sender"},
      {"no sender", R"({"recipient":"b","text":"c"})", "sender"},
      {"no text", R"({"sender":"a","recipient":"b"})", "text"},
      {"neither recipient nor room", R"({"sender":"a","text":"c"})", "recipient"},
      {"both", With(R"(,"room":"r")"), "recipient"},
      {"an empty sender", R"({"sender":"","recipient":"b","text":"c"})", "sender"},
      {"an empty recipient", R"({"sender":"a","recipient":"","text":"c"})", "recipient"},
      {"an empty recipient beside a room", R"({"sender":"a","recipient":"","room":"r","text":"c"})",
       "recipient"},
      {"an empty room beside a recipient", With(R"(,"room":"")"), "room"},
      {"an empty text", R"({"sender":"a","recipient":"b","text":""})", "text"},
      {"sender null", R"({"sender":null,"recipient":"b","text":"c"})", "sender"},
      {"sender a number", R"({"sender":1,"recipient":"b","text":"c"})", "sender"},
      {"sender a list", R"({"sender":["a"],"recipient":"b","text":"c"})", "sender"},
      {"recipient true", R"({"sender":"a","recipient":true,"text":"c"})", "recipient"},
      {"recipient null beside a room", R"({"sender":"a","recipient":null,"room":"r","text":"c"})",
       "recipient"},
      {"room an object", R"({"sender":"a","room":{},"text":"c"})", "room"},
      {"text a number", R"({"sender":"a","recipient":"b","text":1e999})", "text"},
      {"text an object", R"({"sender":"a","recipient":"b","text":{"text":"c"}})", "text"},
      {"U+0000 in the text", R"({"sender":"a","recipient":"b","text":"c\u0000d"})", "text"},
      {"U+0000 in a name", R"({"sender":"a\u0000","recipient":"b","text":"c"})", "sender"},
      {"a tab by an escape", R"({"sender":"a\tb","recipient":"b","text":"c"})", "sender"},
      {"DEL by an escape", R"({"sender":"a","recipient":"b\u007f","text":"c"})", "recipient"},
      {"C1 by an escape", R"({"sender":"a","room":"\u0085","text":"c"})", "room"},
      {"257 bytes of sender",
       R"({"sender":")" + std::string(257, 'a') + R"(","recipient":"b","text":"c"})", "sender"},
      {"65537 bytes of text",
       R"({"sender":"a","recipient":"b","text":")" + std::string(65537, 'c') + "\"}", "text"},
      {"65538 bytes of text in 32769 escapes",
       R"({"sender":"a","recipient":"b","text":")" + Repeat("\\u00e9", 32769) + "\"}", "text"},
      {"timestamp text", With(",\"timestamp\":\"1697913600\""), "timestamp"},
      {"timestamp NaN as text", With(",\"timestamp\":\"NaN\""), "timestamp"},
      {"timestamp null", With(",\"timestamp\":null"), "timestamp"},
      {"timestamp true", With(",\"timestamp\":true"), "timestamp"},
      {"timestamp a list", With(",\"timestamp\":[1]"), "timestamp"},
      {"timestamp 1.5", With(",\"timestamp\":1.5"), "timestamp"},
      {"timestamp -0.5", With(",\"timestamp\":-0.5"), "timestamp"},
      {"timestamp 1e30", With(",\"timestamp\":1e30"), "timestamp"},
      {"timestamp -1e30", With(",\"timestamp\":-1e30"), "timestamp"},
      {"timestamp 1e999", With(",\"timestamp\":1e999"), "timestamp"},
      {"timestamp -1E+999", With(",\"timestamp\":-1E+999"), "timestamp"},
      {"timestamp of 400 digits", With(",\"timestamp\":1" + std::string(399, '0')), "timestamp"},
      {"timestamp 1e-999", With(",\"timestamp\":1e-999"), "timestamp"},
      {"timestamp 2^53+1", With(",\"timestamp\":9007199254740993"), "timestamp"},
      {"timestamp -2^53-1", With(",\"timestamp\":-9007199254740993"), "timestamp"},
      {"timestamp 2^63-1", With(",\"timestamp\":9223372036854775807"), "timestamp"},
      {"timestamp 2^63", With(",\"timestamp\":9223372036854775808"), "timestamp"},
      {"timestamp -2^63", With(",\"timestamp\":-9223372036854775808"), "timestamp"},
      {"timestamp -2^63-1", With(",\"timestamp\":-9223372036854775809"), "timestamp"},
      {"timestamp 2^64-1", With(",\"timestamp\":18446744073709551615"), "timestamp"},
      {"timestamp 2^64", With(",\"timestamp\":18446744073709551616"), "timestamp"},
      {"timestamp 2^64+1 would wrap to 1", With(",\"timestamp\":18446744073709551617"),
       "timestamp"},
      {"timestamp in ms, beyond 2^53 s", With(",\"timestamp\":9007199254741000000"), "timestamp"},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    const Judged judged = Judge(row.body);
    CHECK(judged.status == 422);
    CHECK(judged.fields == row.field);
    CHECK(judged.detail.find(row.field) != std::string::npos);
  }
}

TEST_CASE("message bodies: what is accepted, and as what", "[json]") {
  struct Row {
    std::string why;
    std::string body;
    Message message;
  };
  const Message plain{.sender = "a", .recipient = "b", .text = "c", .key = "k"};
  const auto at = [&](int64_t timestamp) {
    Message message = plain;
    message.timestamp = timestamp;
    return message;
  };
  const auto saying = [&](std::string text) {
    Message message = plain;
    message.text = std::move(text);
    return message;
  };
  const std::vector<Row> rows = {
      {"the least", With(""), plain},
      {"white space around everything",
       " {\r\n\t\"sender\" : \"a\" , \"text\":\"c\",\"recipient\":\"b\" }\n ", plain},
      {"a byte order mark, which RFC 8259 lets a reader skip", "\xef\xbb\xbf" + With(""), plain},
      {"member names by escapes", R"({"s\u0065nder":"a","recipient":"b","text":"\u0063"})", plain},
      {"a room", R"({"sender":"a","room":"r","text":"c"})",
       Message{.sender = "a", .room = "r", .text = "c", .key = "k"}},
      {"timestamp 0", With(",\"timestamp\":0"), at(0)},
      {"timestamp -0", With(",\"timestamp\":-0"), at(0)},
      {"timestamp -1", With(",\"timestamp\":-1"), at(-1)},
      {"timestamp 2^53", With(",\"timestamp\":9007199254740992"), at(int64_t{1} << 53)},
      {"timestamp -2^53", With(",\"timestamp\":-9007199254740992"), at(-(int64_t{1} << 53))},
      {"surrogate pair", R"({"sender":"a","recipient":"b","text":"\ud83d\ude00"})",
       saying("\xf0\x9f\x98\x80")},
      {"controls in a text", R"({"sender":"a","recipient":"b","text":"\u0001\n\u007f\u0085"})",
       saying("\x01\n\x7f\xc2\x85")},
      {"65536 bytes of text",
       R"({"sender":"a","recipient":"b","text":")" + std::string(65536, 'c') + "\"}",
       saying(std::string(65536, 'c'))},
      {"65536 bytes of text in escapes",
       R"({"sender":"a","recipient":"b","text":")" + Repeat("\\u00e9", 32768) + "\"}",
       saying(Repeat("\xc3\xa9", 32768))},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    const Judged judged = Judge(row.body);
    CHECK(judged.detail == "");
    CHECK(judged.status == 200);
    CHECK(judged.message == row.message);
  }
}

TEST_CASE("depth: 16 levels and no more", "[json]") {
  CHECK(ParseJson(Nested(16)));
  CHECK_FALSE(ParseJson(Nested(17)));
  CHECK(ParseJson(Repeat("{\"a\":", 16) + "1" + Repeat("}", 16)));
  CHECK_FALSE(ParseJson(Repeat("{\"a\":", 17) + "1" + Repeat("}", 17)));
  CHECK(ParseJson(Repeat("[{\"a\":", 8) + "1" + Repeat("}]", 8)));
  CHECK_FALSE(ParseJson(Repeat("[{\"a\":", 8) + "[]" + Repeat("}]", 8)));
  // Width is no depth.
  CHECK(ParseJson("[" + Repeat("[],", 20'000) + "[]]"));
  CHECK(ParseJson("\"" + Repeat("[", 100) + "\""));
}

TEST_CASE("the strict reader builds what the library's own reader builds", "[json]") {
  for (
      std::string_view text :
      {"null", "true", "-1", "18446744073709551615", "1.5", "\"\"", "[]", "{}", "[[],[[]],[]]",
       R"({"a":{"b":{"c":[1,{"d":null},[2,[3]]]},"e":"f"},"g":[{"h":1},{"h":2},{"h":[{"h":{}}]}]})",
       R"([{"a":[1,2,{"b":[3,4]}]},{"a":[]},5,[6,{"c":7}]])",
       R"({"z":[{"y":[{"x":[{"w":[{"v":[{"u":[{"t":[1]}]}]}]}]}]}]})"}) {
    INFO(text);
    const auto json = ParseJson(text);
    REQUIRE(json);
    CHECK(*json == Json::parse(text));
  }
  const auto unknown = ParseJson(R"({"n":1e999,"m":[2,-1e400],"s":"1e999 \" 1e999"})");
  REQUIRE(unknown);
  CHECK((*unknown)["n"].is_number_float());
  CHECK((*unknown)["m"][0] == 2);
  CHECK((*unknown)["m"][1].is_number_float());
  CHECK((*unknown)["s"] == "1e999 \" 1e999");
}

TEST_CASE("one number out of range in a batch says nothing of its neighbours", "[json]") {
  const auto json = ReadJsonObject(R"({"messages":[)" + With("") + "," +
                                   With(",\"timestamp\":1e999") + "," + With("") + "]}");
  REQUIRE(json);
  const auto items = BatchMessages(*json);
  REQUIRE(items);
  REQUIRE(items->size() == 3);
  CHECK(MessageFromJson(*items->At(0), {}));
  const auto bad = MessageFromJson(*items->At(1), {});
  REQUIRE_FALSE(bad);
  CHECK(bad.error().status == 422);
  CHECK(bad.error().errors.at(0).field == "timestamp");
  CHECK(MessageFromJson(*items->At(2), {}));
}

TEST_CASE("8 MiB of numbers out of range are read in one pass", "[json]") {
  std::string text = "[";
  while (text.size() < 8 * 1024 * 1024) text += "1e999,";
  text += "1e999]";
  const auto json = ParseJson(text);
  REQUIRE(json);
  CHECK(json->back().is_number_float());
}

TEST_CASE("a batch item: extra members are allowed, others are not", "[json]") {
  const std::vector<std::string_view> extra = {"key", "stamp"};
  const auto item = ReadJson(With(R"(,"key":"k","stamp":5)"));
  REQUIRE(item);
  const auto message = MessageFromJson(item->root(), extra);
  REQUIRE(message);
  CHECK(message->key.empty());
  CHECK_FALSE(MessageFromJson(item->root(), {"key"}));
  for (const char* bad : {"null", "[]", "\"x\"", "1"}) {
    const auto refused = MessageFromJson(ReadJson(bad)->root(), extra);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().status == 400);
  }
}

TEST_CASE("the answer does not depend on the order of the members", "[json]") {
  // The first of the wrong ones by name is told.
  for (const char* body : {R"({"zz":1,"sender":2,"aa":3})", R"({"aa":3,"sender":2,"zz":1})"}) {
    CHECK(Judge(body).detail == "unknown member \"aa\"");
  }
  for (const char* body : {R"({"b":1,"b":2,"a":3,"a":4})", R"({"a":1,"b":2,"b":3,"a":4})"}) {
    CHECK(Judge(body).detail == "the body is not acceptable JSON: member \"a\" is there twice");
  }
  for (const char* body :
       {R"({"timestamp":"","text":1,"sender":"a"})", R"({"sender":"a","text":1,"timestamp":""})"}) {
    CHECK(Judge(body).fields == "text");
  }
  for (const char* body : {R"({"y":1,"messages":[],"x":1})", R"({"x":1,"messages":[],"y":1})"}) {
    const auto list = BatchMessages(*ReadJsonObject(body));
    REQUIRE_FALSE(list);
    CHECK(list.error().detail == "unknown member \"x\"");
  }
}

TEST_CASE("a batch is a list of 1 to 1000", "[json]") {
  const auto judge = [](const std::string& body) {
    const auto json = ReadJsonObject(body);
    REQUIRE(json);
    const auto list = BatchMessages(*json);
    return list ? static_cast<int>(list->size()) : -list.error().status;
  };
  CHECK(judge("{}") == -422);
  CHECK(judge(R"({"messages":{}})") == -422);
  CHECK(judge(R"({"messages":"x"})") == -422);
  CHECK(judge(R"({"messages":[]})") == -422);
  CHECK(judge(R"({"messages":[1]})") == 1);
  CHECK(judge(R"({"messages":[)" + Repeat("{},", 999) + "{}]}") == 1000);
  CHECK(judge(R"({"messages":[)" + Repeat("{},", 1000) + "{}]}") == -422);
}

TEST_CASE("strings are written as JSON reads them", "[json]") {
  for (int c = 0; c < 0x80; ++c) {
    const std::string text = "a" + std::string(1, static_cast<char>(c)) + "b";
    std::string out;
    AppendJsonString(&out, text);
    CHECK(Json::parse(out) == text);
    CHECK(out.find(static_cast<char>(c < 0x20 ? c : 1)) == std::string::npos);
  }
  std::string out = "x";
  AppendJsonString(&out, "\"\\\n\r\t\x01\x1f\x7f\xe5\xb0\x8f\xf0\x9f\x98\x80");
  CHECK(out == "x\"\\\"\\\\\\n\\r\\t\\u0001\\u001f\x7f\xe5\xb0\x8f\xf0\x9f\x98\x80\"");
  out.clear();
  AppendJsonString(&out, "");
  CHECK(out == "\"\"");
}

TEST_CASE("the message object", "[json]") {
  ShownMessage shown;
  shown.message = {
      .sender = "a\"", .recipient = "b", .text = "c\n", .timestamp = -5, .key = "secret"};
  shown.stamp = StampFromMs(1795248930123) + 9;
  std::string out;
  AppendMessageObject(&out, shown);
  CHECK(out == R"({"id":")" + std::string(36, '0') +
                   R"(","sender":"a\"","recipient":"b","text":"c\n","timestamp":-5,)"
                   R"("accepted_at":"2026-11-21T08:15:30.123Z"})");
  shown.message = {.sender = "a", .room = "r", .text = "c"};
  out.clear();
  AppendMessageObject(&out, shown, 2);
  CHECK(out == R"({"id":")" + std::string(36, '0') +
                   R"(","sender":"a","room":"r","text":"c",)"
                   R"("accepted_at":"2026-11-21T08:15:30.123Z","copies":2})");
}

}  // namespace chatchain
