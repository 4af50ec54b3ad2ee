// SPDX-License-Identifier: MIT
#include "common/protocol/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "common/protocol/json_scan.h"
#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// Builds the tree, and refuses what the library's own reader lets pass.
class StrictReader final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictReader(size_t text_bytes) : tree_(text_bytes) {}

  bool null() override { return tree_.AddNull(), true; }
  bool boolean(bool value) override { return tree_.AddBool(value), true; }
  bool number_integer(number_integer_t value) override { return tree_.AddInt(value), true; }
  bool number_unsigned(number_unsigned_t value) override { return tree_.AddUnsigned(value), true; }
  bool number_float(number_float_t value, const string_t&) override {
    return tree_.AddDouble(value), true;
  }
  bool string(string_t& value) override { return tree_.AddString(value), true; }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }
  bool start_object(std::size_t) override { return MayOpen() && (tree_.OpenObject(), true); }
  bool start_array(std::size_t) override { return MayOpen() && (tree_.OpenArray(), true); }
  bool end_array() override { return tree_.Close(), true; }
  bool key(string_t& name) override { return tree_.AddString(name), true; }
  bool end_object() override {
    if (const auto name = tree_.RepeatedName()) {
      return Fail("member " + Quoted(*name) + " is there twice");
    }
    return tree_.Close(), true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    huge_number_ = error.id == 406;
    std::string_view what = error.what();
    if (const size_t end = what.find("] "); end != std::string_view::npos) {
      what.remove_prefix(end + 2);
    }
    // The library goes on with all that it has read of the value: up to the whole body.
    what = what.substr(0, what.find("; last read"));
    return Fail(std::string(what.substr(0, 200)) + " (byte " + std::to_string(position) + ")");
  }

  JsonTree& tree() { return tree_; }
  // What was said against the text; nothing where only a quicker reader than the library gave up.
  std::optional<Problem>& problem() { return problem_; }
  // The text is JSON so far, but the library gave up at a number that no double holds.
  bool huge_number() const { return huge_number_; }

 private:
  bool Fail(const std::string& why) {
    problem_ = BadRequest("the body is not acceptable JSON: " + why);
    return false;
  }

  bool MayOpen() {
    return tree_.depth() < limits::kJsonMaxDepth || Fail("nested deeper than 16 levels");
  }

  JsonTree tree_;
  bool huge_number_ = false;
  std::optional<Problem> problem_;
};

// The length of the JSON number that `text` begins with; 0 if it begins with none.
size_t NumberLength(std::string_view text) {
  size_t i = 0;
  const auto take = [&](std::string_view any_of) {
    const bool taken = i < text.size() && any_of.find(text[i]) != std::string_view::npos;
    i += taken ? 1 : 0;
    return taken;
  };
  const auto take_digits = [&] {
    const size_t from = i;
    while (take("0123456789")) {
    }
    return i > from;
  };
  take("-");
  if (!take("0") && !take_digits()) return 0;
  if (take(".") && !take_digits()) return 0;
  if (take("eE")) {
    take("+-");
    if (!take_digits()) return 0;
  }
  return i;
}

// `text` with a fraction in the place of each number that no double holds, nothing else moved.
std::string WithoutHugeNumbers(std::string_view text) {
  std::string out(text);
  bool in_string = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (in_string) {
      if (out[i] == '"') in_string = false;
      if (out[i] == '\\') ++i;
    } else if (out[i] == '"') {
      in_string = true;
    } else if (const size_t length = NumberLength(std::string_view(out).substr(i)); length > 0) {
      double value = 0;
      const char* begin = out.data() + i;
      if (std::from_chars(begin, begin + length, value).ec == std::errc::result_out_of_range) {
        constexpr std::string_view kFraction = "0.5";  // never longer: the least is 1e309
        out.replace(i, length, length, ' ').replace(i, kFraction.size(), kFraction);
      }
      i += length - 1;
    }
  }
  return out;
}

constexpr std::array<bool, 256> kPlainInString = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 256; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

// No deeper than the reader lets it be.
Json ToLibrary(const JsonValue& value) {
  if (value.is_object()) {
    Json object = Json::object();
    for (const auto& [name, member] : value.Members()) {
      object.emplace(name, ToLibrary(member));
    }
    return object;
  }
  if (value.is_array()) {
    Json array = Json::array();
    for (const JsonValue element : value.Elements()) array.push_back(ToLibrary(element));
    return array;
  }
  if (value.is_string()) return value.String();
  if (value.is_bool()) return value.Bool();
  if (value.is_null()) return nullptr;
  if (const auto whole = value.Unsigned()) return *whole;
  if (const auto whole = value.Int()) return *whole;
  return value.Double();
}

Problem UnknownMember(std::string_view name) {
  return BadRequest("unknown member " + Quoted(name));
}

Problem WrongType(std::string_view field, std::string_view expected) {
  return Invalid(field, "must be " + std::string(expected));
}

}  // namespace

Try<JsonTree> ReadJson(std::string_view text) {
  // The library takes a raw NUL for the end of the text and never sees what follows.
  if (text.find('\0') != std::string_view::npos) {
    return Err(BadRequest("the body is not acceptable JSON: raw NUL (byte " +
                          std::to_string(text.find('\0') + 1) + ")"));
  }
  // Several times as fast where it can; else the library decides, and says what is wrong.
  {
    StrictReader quick(text.size());
    if (ScanJson(text, &quick)) return std::move(quick.tree());
    if (quick.problem()) return Err(std::move(*quick.problem()));
  }
  StrictReader reader(text.size());
  if (Json::sax_parse(text.begin(), text.end(), &reader)) return std::move(reader.tree());
  if (!reader.huge_number()) return Err(std::move(*reader.problem()));
  // Such a number is the fault of one member, for whoever reads it to name; not of the whole text,
  // which may be a batch.
  const std::string tamed = WithoutHugeNumbers(text);
  StrictReader again(tamed.size());
  if (Json::sax_parse(tamed.begin(), tamed.end(), &again)) return std::move(again.tree());
  return Err(std::move(*again.problem()));
}

Try<JsonTree> ReadJsonObject(std::string_view text) {
  auto json = ReadJson(text);
  if (json && !json->root().is_object()) return Err(BadRequest("the body must be a JSON object"));
  return json;
}

Try<Json> ParseJson(std::string_view text) {
  const auto tree = ReadJson(text);
  if (!tree) return Err(tree.error());
  return ToLibrary(tree->root());
}

Try<Json> ParseJsonObject(std::string_view text) {
  const auto tree = ReadJsonObject(text);
  if (!tree) return Err(tree.error());
  return ToLibrary(tree->root());
}

std::optional<Problem> RefuseMembersBeyond(const std::vector<std::string_view>& known,
                                           const JsonValue& object) {
  std::optional<std::string_view> unknown;
  for (const auto& [name, value] : object.Members()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (!unknown || name < *unknown) unknown = name;
  }
  if (!unknown) return std::nullopt;
  return UnknownMember(*unknown);
}

void AppendJsonString(std::string* out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out->push_back('"');
  size_t plain_from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (kPlainInString[static_cast<unsigned char>(c)]) continue;
    out->append(text.substr(plain_from, i - plain_from));
    plain_from = i + 1;
    switch (c) {
      case '"': out->append("\\\""); break;
      case '\\': out->append("\\\\"); break;
      case '\n': out->append("\\n"); break;
      case '\r': out->append("\\r"); break;
      case '\t': out->append("\\t"); break;
      default:
        out->append("\\u00");
        out->push_back(kHex[static_cast<unsigned char>(c) >> 4]);
        out->push_back(kHex[c & 15]);
    }
  }
  out->append(text.substr(plain_from));
  out->push_back('"');
}

Try<Message> MessageFromJson(const JsonValue& json,
                             const std::vector<std::string_view>& extra_members,
                             UnknownMembers unknown) {
  if (!json.is_object()) return Err(BadRequest("a message must be a JSON object"));
  // In the order of the alphabet, in which they are judged: the answer must not depend on the order
  // of the text.
  enum { kRecipient, kRoom, kSender, kText, kTimestamp, kMembers };
  constexpr std::array<std::string_view, kMembers> kNames = {"recipient", "room", "sender", "text",
                                                             "timestamp"};
  std::array<std::optional<JsonValue>, kMembers> members;
  std::optional<std::string_view> stranger;
  for (const auto& [name, value] : json.Members()) {
    const auto known = std::find(kNames.begin(), kNames.end(), name);
    if (known != kNames.end()) {
      members.at(static_cast<size_t>(known - kNames.begin())) = value;
    } else if (unknown == UnknownMembers::kRefuse &&
               std::find(extra_members.begin(), extra_members.end(), name) == extra_members.end()) {
      if (!stranger || name < *stranger) stranger = name;
    }
  }
  if (stranger) return Err(UnknownMember(*stranger));

  Message message;
  const std::array<std::string*, kTimestamp> texts = {&message.recipient, &message.room,
                                                      &message.sender, &message.text};
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!members[i]) continue;
    if (!members[i]->is_string()) return Err(WrongType(kNames[i], "a string"));
    *texts[i] = members[i]->String();
    // Absence is what an empty value means inside; given and empty is a mistake.
    if (texts[i]->empty()) return Err(Invalid(kNames[i], "must not be empty"));
  }
  if (const auto& timestamp = members[kTimestamp]) {
    if (!timestamp->is_number())
      return Err(WrongType("timestamp", "a whole number of Unix seconds"));
    if (!timestamp->is_integer()) {
      return Err(Invalid("timestamp", "must be whole Unix seconds from -2^53 to 2^53"));
    }
    // What is beyond int64 is too large for the range rule, too.
    constexpr int64_t kTooLarge = limits::kTimestampMax_s + 1;
    message.timestamp = std::min(timestamp->Int().value_or(kTooLarge), kTooLarge);
  }
  if (!members[kSender]) return Err(Invalid("sender", "is required"));
  if (!members[kText]) return Err(Invalid("text", "is required"));
  return message;
}

Try<JsonValue> BatchMessages(const JsonTree& body) {
  const JsonValue root = body.root();
  if (auto problem = RefuseMembersBeyond({"messages"}, root)) return Err(std::move(*problem));
  const auto list = root.Find("messages");
  if (!list) return Err(Invalid("messages", "is required"));
  if (!list->is_array() || list->size() == 0 || list->size() > limits::kBatchMaxMessages) {
    return Err(Invalid("messages", "must be a list of 1 to 1000 messages"));
  }
  return *list;
}

void AppendMessageMembers(std::string* out, const Message& message) {
  out->append("\"sender\":");
  AppendJsonString(out, message.sender);
  out->append(message.room.empty() ? ",\"recipient\":" : ",\"room\":");
  AppendJsonString(out, message.room.empty() ? message.recipient : message.room);
  out->append(",\"text\":");
  AppendJsonString(out, message.text);
  if (message.timestamp) {
    out->append(",\"timestamp\":");
    out->append(std::to_string(*message.timestamp));
  }
}

void AppendMessageObject(std::string* out, const ShownMessage& shown, int copies) {
  out->append("{\"id\":\"");
  out->append(shown.id.Text());
  out->append("\",");
  AppendMessageMembers(out, shown.message);
  out->append(",\"accepted_at\":\"");
  out->append(FormatTime(StampMs(shown.stamp)));
  out->push_back('"');
  if (copies > 0) {
    out->append(",\"copies\":");
    out->append(std::to_string(copies));
  }
  out->push_back('}');
}

}  // namespace chatchain
