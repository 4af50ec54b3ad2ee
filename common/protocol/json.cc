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

// Builds the tree as the library's own reader does, and refuses what that one lets pass.
class StrictReader final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }
  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    Json& object = *open_.back();
    const auto [it, added] = object.get_ref<Json::object_t&>().emplace(std::move(name), nullptr);
    if (!added) return Fail("member " + Quoted(it->first) + " is there twice");
    member_ = &it->second;
    return true;
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

  Json& root() { return root_; }
  Problem& problem() { return problem_; }
  // The text is JSON so far, but the library gave up at a number that no double holds.
  bool huge_number() const { return huge_number_; }

 private:
  bool Fail(const std::string& why) {
    problem_ = BadRequest("the body is not acceptable JSON: " + why);
    return false;
  }

  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }

  template <typename T>
  bool Put(T&& value) {
    Place(Json(std::forward<T>(value)));
    return true;
  }

  bool Open(Json container) {
    if (open_.size() >= limits::kJsonMaxDepth) return Fail("nested deeper than 16 levels");
    // Elements of an array are only reached through open_ while they are its last: no dangling.
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;
  bool huge_number_ = false;
  Problem problem_;
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

Problem WrongType(std::string_view field, std::string_view expected) {
  return Invalid(field, "must be " + std::string(expected));
}

}  // namespace

Try<Json> ParseJson(std::string_view text) {
  // The library takes a raw NUL for the end of the text and never sees what follows.
  if (text.find('\0') != std::string_view::npos) {
    return Err(BadRequest("the body is not acceptable JSON: raw NUL (byte " +
                          std::to_string(text.find('\0') + 1) + ")"));
  }
  // Several times as fast where it can; else the library decides, and says what is wrong.
  if (StrictReader quick; ScanJson(text, &quick)) return std::move(quick.root());
  StrictReader reader;
  if (Json::sax_parse(text.begin(), text.end(), &reader)) return std::move(reader.root());
  if (!reader.huge_number()) return Err(std::move(reader.problem()));
  // Such a number is the fault of one member, for whoever reads it to name; not of the whole text,
  // which may be a batch.
  const std::string tamed = WithoutHugeNumbers(text);
  StrictReader again;
  if (Json::sax_parse(tamed.begin(), tamed.end(), &again)) return std::move(again.root());
  return Err(std::move(again.problem()));
}

Try<Json> ParseJsonObject(std::string_view text) {
  auto json = ParseJson(text);
  if (json && !json->is_object()) return Err(BadRequest("the body must be a JSON object"));
  return json;
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

Try<Message> MessageFromJson(const Json& json, const std::vector<std::string_view>& extra_members,
                             UnknownMembers unknown) {
  if (!json.is_object()) return Err(BadRequest("a message must be a JSON object"));
  constexpr std::array<std::string_view, 5> kMembers = {"sender", "recipient", "room", "text",
                                                        "timestamp"};
  // First of all, so that the answer does not depend on the order of the members.
  for (const auto& [name, value] : json.items()) {
    const auto is_name = [&name = name](std::string_view known) { return known == name; };
    if (unknown == UnknownMembers::kRefuse &&
        std::none_of(kMembers.begin(), kMembers.end(), is_name) &&
        std::none_of(extra_members.begin(), extra_members.end(), is_name)) {
      return Err(BadRequest("unknown member " + Quoted(name)));
    }
  }
  Message message;
  bool has_sender = false;
  bool has_text = false;
  for (const auto& [name, value] : json.items()) {
    std::string* target = nullptr;
    if (name == "sender") {
      target = &message.sender;
      has_sender = true;
    } else if (name == "recipient") {
      target = &message.recipient;
    } else if (name == "room") {
      target = &message.room;
    } else if (name == "text") {
      target = &message.text;
      has_text = true;
    }
    if (target != nullptr) {
      if (!value.is_string()) return Err(WrongType(name, "a string"));
      *target = value.get_ref<const std::string&>();
      // Absence is what an empty value means inside; given and empty is a mistake.
      if (target->empty()) return Err(Invalid(name, "must not be empty"));
    } else if (name == "timestamp") {
      if (!value.is_number()) return Err(WrongType(name, "a whole number of Unix seconds"));
      if (!value.is_number_integer()) {
        return Err(Invalid(name, "must be whole Unix seconds from -2^53 to 2^53"));
      }
      // Unsigned values beyond int64 would wrap: the range rule must see them as too large.
      const bool huge = value.is_number_unsigned() &&
                        value.get<uint64_t>() > static_cast<uint64_t>(limits::kTimestampMax_s);
      message.timestamp = huge ? limits::kTimestampMax_s + 1 : value.get<int64_t>();
    }
  }
  if (!has_sender) return Err(Invalid("sender", "is required"));
  if (!has_text) return Err(Invalid("text", "is required"));
  return message;
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
