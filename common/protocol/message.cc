// SPDX-License-Identifier: MIT
#include "common/protocol/message.h"

#include <algorithm>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr std::string_view kMessageTag = "chatchain.message.v1";
constexpr int64_t kTimeHintMax_ms = (int64_t{1} << 48) - 1;

// C0, DEL and C1 of Unicode (category Cc). REQUIRES: valid UTF-8.
bool HasControlCharacter(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

int64_t TimeHintMs(const Message& message) {
  if (const auto key_ms = UuidV7Time(message.key)) return *key_ms;
  if (!message.timestamp) return 0;
  // 2^53 seconds in ms fit into 64 bits.
  return std::clamp<int64_t>(*message.timestamp * 1000, 0, kTimeHintMax_ms);
}

MessageId MakeId(const Message& message, const Hash& digest) {
  MessageId id;
  const int64_t hint_ms = TimeHintMs(message);
  for (size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(hint_ms >> (40 - 8 * i));
  std::copy_n(digest.bytes.begin(), 16, id.bytes.begin() + 6);
  return id;
}

}  // namespace

std::string MessageId::Text() const {
  return Base32Encode(view());
}

std::optional<MessageId> MessageId::Parse(std::string_view text) {
  MessageId id;
  const auto decoded = Base32Decode(text);
  if (!decoded || !FromBytes(*decoded, &id)) return std::nullopt;
  return id;
}

bool MessageId::FromBytes(std::string_view bytes, MessageId* id) {
  if (bytes.size() != id->bytes.size()) return false;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(id->bytes.data()));
  return true;
}

std::string CanonicalBytes(const Message& message) {
  std::string out;
  out.reserve(kMessageTag.size() + message.sender.size() + message.recipient.size() +
              message.room.size() + message.text.size() + message.key.size() + 64);
  AppendSized(&out, kMessageTag);
  AppendSized(&out, message.sender);
  AppendSized(&out, message.recipient);
  AppendSized(&out, message.room);
  AppendSized(&out, message.text);
  if (message.timestamp) {
    AppendU32(&out, 8);
    AppendU64(&out, static_cast<uint64_t>(*message.timestamp));
  } else {
    AppendU32(&out, 0);
  }
  AppendSized(&out, message.key);
  return out;
}

MessageId IdOf(const Message& message) {
  return MakeId(message, Sha256(CanonicalBytes(message)));
}

std::string_view NameRule(std::string_view name) {
  if (name.empty()) return "must not be empty";
  if (name.size() > limits::kNameMaxBytes) return "must be at most 256 bytes of UTF-8";
  if (!IsUtf8(name)) return "must be valid UTF-8";
  if (HasControlCharacter(name)) return "must not contain control characters";
  return {};
}

std::string_view KeyRule(std::string_view key) {
  const bool printable =
      std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (key.empty() || key.size() > limits::kKeyMaxBytes || !printable) {
    return "must be 1 to 256 printable ASCII characters";
  }
  return {};
}

bool IsNodeId(std::string_view text) {
  return !text.empty() && text.size() <= limits::kNodeIdMaxBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

Result<ValidMessage, std::vector<FieldError>> Validate(Message message) {
  std::vector<FieldError> errors;
  const auto check = [&](std::string_view field, std::string_view rule) {
    if (!rule.empty()) errors.push_back({std::string(field), std::string(rule)});
  };
  check("sender", NameRule(message.sender));
  if (message.recipient.empty() == message.room.empty()) {
    check("recipient", message.room.empty() ? "either recipient or room is required"
                                            : "recipient and room exclude each other");
  }
  if (!message.recipient.empty()) check("recipient", NameRule(message.recipient));
  if (!message.room.empty()) check("room", NameRule(message.room));
  if (message.text.empty()) {
    check("text", "must not be empty");
  } else if (message.text.size() > limits::kTextMaxBytes) {
    check("text", "must be at most 65536 bytes of UTF-8");
  } else if (!IsUtf8(message.text)) {
    check("text", "must be valid UTF-8");
  } else if (message.text.find('\0') != std::string::npos) {
    check("text", "must not contain U+0000");
  }
  if (message.timestamp && (*message.timestamp > limits::kTimestampMax_s ||
                            *message.timestamp < -limits::kTimestampMax_s)) {
    check("timestamp", "must be whole Unix seconds from -2^53 to 2^53");
  }
  check("key", KeyRule(message.key));
  if (!errors.empty()) return Err(std::move(errors));

  ValidMessage valid;
  valid.digest_ = Sha256(CanonicalBytes(message));
  valid.id_ = MakeId(message, valid.digest_);
  valid.message_ = std::move(message);
  return valid;
}

Problem InvalidMessage(std::vector<FieldError> errors) {
  Problem problem{.status = 422, .type = "invalid"};
  for (const FieldError& error : errors) {
    if (!problem.detail.empty()) problem.detail += "; ";
    problem.detail += error.field + ": " + error.reason;
  }
  problem.errors = std::move(errors);
  return problem;
}

std::string MakeUuidV7(int64_t unix_ms, Random& random) {
  const auto ms = static_cast<uint64_t>(std::clamp<int64_t>(unix_ms, 0, kTimeHintMax_ms));
  const uint64_t high = (ms << 16) | 0x7000 | (random.Next() & 0x0fff);
  const uint64_t low = (random.Next() >> 2) | 0x8000000000000000;
  const std::string hex = HexU64(high) + HexU64(low);
  return hex.substr(0, 8) + '-' + hex.substr(8, 4) + '-' + hex.substr(12, 4) + '-' +
         hex.substr(16, 4) + '-' + hex.substr(20);
}

std::optional<int64_t> UuidV7Time(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  uint64_t high = 0;
  uint64_t low = 0;
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash_place = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash_place != (text[i] == '-')) return std::nullopt;
    if (dash_place) continue;
    // UUIDs are read without regard to case (RFC 9562 section 4).
    const char c = text[i] >= 'A' && text[i] <= 'F' ? static_cast<char>(text[i] | 0x20) : text[i];
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    uint64_t& half = digits++ < 16 ? high : low;
    half = half << 4 | static_cast<uint64_t>(letter ? c - 'a' + 10 : c - '0');
  }
  if ((high >> 12 & 0xf) != 7 || (low >> 62) != 2) return std::nullopt;
  return static_cast<int64_t>(high >> 16);
}

}  // namespace chatchain
