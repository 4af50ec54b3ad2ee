// SPDX-License-Identifier: MIT
#include "common/protocol/message.h"

#include <catch2/catch.hpp>
#include <limits>
#include <set>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr int64_t k2To53 = int64_t{1} << 53;
constexpr int64_t kHintMax_ms = (int64_t{1} << 48) - 1;

class Replay final : public Random {
 public:
  explicit Replay(uint64_t value) : value_(value) {}
  uint64_t Next() override { return value_; }

 private:
  uint64_t value_;
};

Message Hello() {
  return Message{.sender = "user1",
                 .recipient = "user2",
                 .text = "Hello world!",
                 .timestamp = 1697913600,
                 .key = "k1"};
}

// The fields that Validate() names, joined with commas; empty for a valid message.
std::string BadFields(const Message& message) {
  const auto valid = Validate(message);
  std::string fields;
  if (valid) return fields;
  for (const FieldError& error : valid.error()) {
    CHECK_FALSE(error.reason.empty());
    fields += (fields.empty() ? "" : ",") + error.field;
  }
  return fields.empty() ? "refused without a reason" : fields;
}

MessageId IdOfValid(const Message& message) {
  return Validate(message)->id();
}

int64_t HintOf(const Message& message) {
  const MessageId id = IdOfValid(message);
  int64_t hint = 0;
  for (int i = 0; i < 6; ++i) hint = hint << 8 | id.bytes[static_cast<size_t>(i)];
  return hint;
}

std::string Repeat(std::string_view part, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += part;
  return out;
}

}  // namespace

TEST_CASE("message rules: names", "[message]") {
  struct Row {
    std::string why;
    std::string name;
    bool valid;
  };
  const std::string kBomb = "\xf0\x9f\x92\xa3";  // 4 bytes
  const std::vector<Row> rows = {
      {"one byte", "a", true},
      {"a space alone", " ", true},
      {"exactly 256 bytes", std::string(256, 'n'), true},
      {"257 bytes", std::string(257, 'n'), false},
      {"256 bytes in 64 characters", Repeat(kBomb, 64), true},
      {"257 bytes in 65 characters", Repeat(kBomb, 64) + "a", false},
      {"CJK", "\xe5\xb0\x8f\xe6\x98\x8e", true},
      {"quotes and backslashes", "a\"b\\c", true},
      {"NUL", std::string("a\0b", 3), false},
      {"U+0001", "\x01", false},
      {"tab", "a\tb", false},
      {"line feed", "a\n", false},
      {"U+001F", "a\x1f", false},
      {"DEL", "a\x7f", false},
      {"U+0080, first of C1", "a\xc2\x80", false},
      {"U+0085, next line", "\xc2\x85", false},
      {"U+009F, last of C1",
       "a\xc2\x9f"
       "b",
       false},
      {"U+00A0 is no control", "a\xc2\xa0", true},
      {"a trail byte of another character in C1's range", "\xc3\x80\xe2\x82\x80", true},
      {"U+2028 is no control", "\xe2\x80\xa8", true},
      {"a lone continuation byte", "a\x80", false},
      {"a cut character", "a\xe5\xb0", false},
      {"overlong", "\xc0\x80", false},
      {"a surrogate", "\xed\xa0\x80", false},
      {"above U+10FFFF", "\xf4\x90\x80\x80", false},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    CHECK(NameRule(row.name).empty() == row.valid);
    Message message = Hello();
    message.sender = row.name;
    CHECK(BadFields(message) == (row.valid ? "" : "sender"));
    message = Hello();
    message.recipient = row.name;
    CHECK(BadFields(message) == (row.valid ? "" : "recipient"));
    message = Hello();
    message.recipient.clear();
    message.room = row.name;
    CHECK(BadFields(message) == (row.valid ? "" : "room"));
  }
  CHECK_FALSE(NameRule("").empty());
}

TEST_CASE("message rules: text", "[message]") {
  struct Row {
    std::string why;
    std::string text;
    bool valid;
  };
  const std::vector<Row> rows = {
      {"empty", "", false},
      {"one byte", "x", true},
      {"exactly 65536 bytes", std::string(65536, 'x'), true},
      {"65537 bytes", std::string(65537, 'x'), false},
      {"65536 bytes in 16384 characters", Repeat("\xf0\x9f\x98\x80", 16384), true},
      {"65537 bytes in 16385 characters", Repeat("\xf0\x9f\x98\x80", 16384) + "x", false},
      {"line feeds, tabs and other controls", "a\r\n\tb\x01\x1b\x7f\xc2\x85", true},
      {"U+0000 alone", std::string(1, '\0'), false},
      {"U+0000 at the end", std::string("ab\0", 3), false},
      {"noncharacters", "\xef\xbf\xbf\xef\xb7\x90", true},
      {"invalid UTF-8", "a\xff", false},
      {"a cut character at the very end", std::string(65534, 'x') + "\xe5\xb0", false},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    Message message = Hello();
    message.text = row.text;
    CHECK(BadFields(message) == (row.valid ? "" : "text"));
  }
}

TEST_CASE("message rules: key", "[message]") {
  struct Row {
    std::string why;
    std::string key;
    bool valid;
  };
  const std::vector<Row> rows = {
      {"empty", "", false},
      {"one", "k", true},
      {"exactly 256", std::string(256, 'k'), true},
      {"257", std::string(257, 'k'), false},
      {"first and last printable", " ~", true},
      {"tab", "a\tb", false},
      {"line feed", "a\nb", false},
      {"DEL", "\x7f", false},
      {"NUL", std::string("a\0", 2), false},
      {"not ASCII", "\xc3\xa9", false},
      {"last byte value", "\xff", false},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    CHECK(KeyRule(row.key).empty() == row.valid);
    Message message = Hello();
    message.key = row.key;
    CHECK(BadFields(message) == (row.valid ? "" : "key"));
  }
}

TEST_CASE("message rules: timestamp", "[message]") {
  const std::vector<std::pair<int64_t, bool>> rows = {{0, true},
                                                      {-1, true},
                                                      {k2To53, true},
                                                      {-k2To53, true},
                                                      {k2To53 + 1, false},
                                                      {-k2To53 - 1, false},
                                                      {std::numeric_limits<int64_t>::max(), false},
                                                      {std::numeric_limits<int64_t>::min(), false}};
  for (const auto& [timestamp, valid] : rows) {
    INFO(timestamp);
    Message message = Hello();
    message.timestamp = timestamp;
    CHECK(BadFields(message) == (valid ? "" : "timestamp"));
  }
}

TEST_CASE("message rules: recipient or room, never both, and every fault is named", "[message]") {
  Message message = Hello();
  message.room = "lobby";
  CHECK(BadFields(message) == "recipient");
  message.room.clear();
  message.recipient.clear();
  CHECK(BadFields(message) == "recipient");
  CHECK(BadFields(Message{}) == "sender,recipient,text,key");

  Message wrong = Hello();
  wrong.sender.clear();
  wrong.recipient = "a\n";
  wrong.text = std::string(65537, 'x');
  wrong.timestamp = k2To53 + 1;
  const auto valid = Validate(wrong);
  REQUIRE_FALSE(valid);
  const Problem problem = InvalidMessage(valid.error());
  CHECK(problem.status == 422);
  CHECK(problem.type == "invalid");
  CHECK(problem.errors.size() == 4);
  CHECK(
      problem.detail ==
      "sender: must not be empty; recipient: must not contain control characters; text: must be at "
      "most 65536 bytes of UTF-8; timestamp: must be whole Unix seconds from -2^53 to 2^53");
}

TEST_CASE("a valid message is handed on unchanged", "[message]") {
  const auto valid = Validate(Hello());
  REQUIRE(valid);
  CHECK(valid->message() == Hello());
  CHECK(valid->digest() == Sha256(CanonicalBytes(Hello())));
}

TEST_CASE("canonical bytes", "[message]") {
  CHECK(HexEncode(
            CanonicalBytes(Message{.sender = "a", .recipient = "b", .text = "c", .key = "d"})) ==
        "00000014" + HexEncode("chatchain.message.v1") + "0000000161" + "0000000162" + "00000000" +
            "0000000163" + "00000000" + "0000000164");
  CHECK(HexEncode(CanonicalBytes(
            Message{.sender = "a", .room = "r", .text = "c", .timestamp = -2, .key = "d"})) ==
        "00000014" + HexEncode("chatchain.message.v1") + "0000000161" + "00000000" + "0000000172" +
            "0000000163" + "00000008fffffffffffffffe" + "0000000164");
}

TEST_CASE("each field is part of the identity, and fields do not flow into one another",
          "[message]") {
  std::vector<Message> messages(9, Hello());
  messages[1].sender = "user3";
  messages[2].recipient = "user3";
  messages[3].recipient.clear();
  messages[3].room = "user2";
  messages[4].text += "!";
  messages[5].timestamp.reset();
  messages[6].timestamp = 0;
  messages[7].key = "k2";
  messages[8].sender = "user";
  messages[8].recipient = "1user2";
  std::set<std::string> digests;
  std::set<std::string> ids;
  for (const Message& message : messages) {
    digests.insert(Validate(message)->digest().Hex());
    ids.insert(IdOfValid(message).Text());
  }
  CHECK(digests.size() == messages.size());
  CHECK(ids.size() == messages.size());
  CHECK(IdOfValid(Hello()) == IdOfValid(Hello()));
}

TEST_CASE("id: the digest's first 16 bytes after 6 bytes of time", "[message]") {
  const auto valid = Validate(Hello());
  CHECK(valid->id().view().substr(6) == valid->digest().view().substr(0, 16));
  CHECK(IdOfValid(valid->message()) == valid->id());

  constexpr std::string_view kUuid = "018b3f2c-5a00-7abc-8def-0123456789ab";
  struct Row {
    std::string why;
    std::string key;
    std::optional<int64_t> timestamp;
    int64_t hint_ms;
  };
  const std::vector<Row> rows = {
      {"timestamp", "k", 1697913600, 1697913600000},
      {"neither", "k", std::nullopt, 0},
      {"the key's time beats the timestamp", std::string(kUuid), 1, 0x018b3f2c5a00},
      {"the key's time alone", std::string(kUuid), std::nullopt, 0x018b3f2c5a00},
      {"a UUIDv7 of time 0 beats the timestamp too", "00000000-0000-7000-8000-000000000000", 5, 0},
      {"the greatest UUIDv7 time", "ffffffff-ffff-7000-8000-000000000000", 5, kHintMax_ms},
      {"upper case is a UUID as well", "018B3F2C-5A00-7ABC-8DEF-0123456789AB", 1, 0x018b3f2c5a00},
      {"version 4 is no time", "018b3f2c-5a00-4abc-8def-0123456789ab", 7, 7000},
      {"another variant is no time", "018b3f2c-5a00-7abc-cdef-0123456789ab", 7, 7000},
      {"no dashes is no UUID", "018b3f2c5a007abc8def0123456789ab", 7, 7000},
      {"negative is held at 0", "k", -1, 0},
      {"least", "k", -k2To53, 0},
      {"greatest", "k", k2To53, kHintMax_ms},
      {"the last second that fits", "k", kHintMax_ms / 1000, kHintMax_ms / 1000 * 1000},
      {"the first that does not", "k", kHintMax_ms / 1000 + 1, kHintMax_ms},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    Message message = Hello();
    message.key = row.key;
    message.timestamp = row.timestamp;
    CHECK(HintOf(message) == row.hint_ms);
  }
}

TEST_CASE("ids sort by time, as bytes and as text", "[message]") {
  MessageId previous;
  for (int64_t timestamp : {0, 1, 2, 1000, 1697913600, 1697913601, 2000000000}) {
    Message message = Hello();
    message.timestamp = timestamp;
    const MessageId id = IdOfValid(message);
    CHECK(previous < id);
    CHECK(previous.Text() < id.Text());
    previous = id;
  }
}

TEST_CASE("id as text: 36 characters, one text an id", "[message]") {
  const MessageId id = IdOfValid(Hello());
  const std::string text = id.Text();
  CHECK(text.size() == 36);
  CHECK(MessageId::Parse(text) == id);
  CHECK(MessageId{}.Text() == std::string(36, '0'));
  MessageId greatest;
  greatest.bytes.fill(0xff);
  CHECK(greatest.Text() == std::string(35, 'z') + "g");
  std::string upper = text;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  for (const std::string& bad :
       {std::string(), text.substr(1), text + "0", std::string(36, 'z'), std::string(35, '0') + "1",
        std::string(36, 'i'), std::string(36, ' '), upper, text.substr(0, 35) + "\n",
        "-" + text.substr(1), std::string(100000, '0')}) {
    INFO(bad.substr(0, 50));
    CHECK_FALSE(MessageId::Parse(bad));
  }
  MessageId from;
  CHECK_FALSE(MessageId::FromBytes(std::string(21, 'x'), &from));
  CHECK_FALSE(MessageId::FromBytes(std::string(23, 'x'), &from));
  CHECK(MessageId::FromBytes(id.view(), &from));
  CHECK(from == id);
}

TEST_CASE("UUIDv7: layout, time and clamping", "[message]") {
  Replay zeros(0);
  Replay ones(UINT64_MAX);
  CHECK(MakeUuidV7(0x018b3f2c5a00, zeros) == "018b3f2c-5a00-7000-8000-000000000000");
  CHECK(MakeUuidV7(0x018b3f2c5a00, ones) == "018b3f2c-5a00-7fff-bfff-ffffffffffff");
  CHECK(MakeUuidV7(-5, zeros) == "00000000-0000-7000-8000-000000000000");
  CHECK(MakeUuidV7(std::numeric_limits<int64_t>::max(), zeros) ==
        "ffffffff-ffff-7000-8000-000000000000");
  SystemRandom random;
  std::set<std::string> made;
  for (int64_t ms : {int64_t{0}, int64_t{1}, int64_t{1697913600123}, kHintMax_ms}) {
    const std::string uuid = MakeUuidV7(ms, random);
    CHECK(UuidV7Time(uuid) == ms);
    CHECK(KeyRule(uuid).empty());
    made.insert(uuid);
  }
  CHECK(made.size() == 4);
  for (std::string_view bad :
       {"", "018b3f2c-5a00-7abc-8def-0123456789a", "018b3f2c-5a00-7abc-8def-0123456789abc",
        "018b3f2c-5a00-6abc-8def-0123456789ab", "018b3f2c-5a00-7abc-7def-0123456789ab",
        "018b3f2c-5a00-7abc-8def-0123456789ag", "018b3f2c 5a00 7abc 8def 0123456789ab",
        "018b3f2c5-a00-7abc-8def-0123456789ab", "-18b3f2c-5a00-7abc-8def-0123456789ab",
        "{18b3f2c-5a00-7abc-8def-0123456789a}"}) {
    INFO(bad);
    CHECK_FALSE(UuidV7Time(bad));
  }
  // Every variant digit: only 8, 9, a and b are RFC 9562's.
  for (char digit : std::string_view("0123456789abcdef")) {
    std::string uuid = "018b3f2c-5a00-7abc-8def-0123456789ab";
    uuid[19] = digit;
    CHECK(UuidV7Time(uuid).has_value() ==
          (digit == '8' || digit == '9' || digit == 'a' || digit == 'b'));
  }
}

TEST_CASE("node ids", "[message]") {
  for (const std::string& good :
       {std::string("0"), std::string("node-1_A"), std::string(64, 'n')}) {
    CHECK(IsNodeId(good));
  }
  for (const std::string& bad : {std::string(), std::string(65, 'n'), std::string("a b"),
                                 std::string("a/b"), std::string("a\n"), std::string("a\0", 2),
                                 std::string("\xc3\xa9"), std::string("a.b"), std::string("\"")}) {
    INFO(bad);
    CHECK_FALSE(IsNodeId(bad));
  }
}

}  // namespace chatchain
