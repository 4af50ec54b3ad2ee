// SPDX-License-Identifier: MIT
// A message and its identity. Identity is the content: `digest` is SHA-256 over the canonical bytes
// and `id` follows from it, so the same send, retried anywhere at any time, is the same message.
// The forms are specified in docs/protocol.md, with test vectors.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/problem.h"
#include "common/util/random.h"
#include "common/util/sha256.h"

namespace chatchain {

// What a client sends. Exactly one of `recipient` and `room` is not empty in a valid message.
struct Message {
  std::string sender;
  std::string recipient;
  std::string room;
  std::string text;
  std::optional<int64_t> timestamp;  // Unix seconds, the sender's claim
  std::string key;                   // Idempotency-Key, or a UUIDv7 made by the first receiver

  friend bool operator==(const Message&, const Message&) = default;
};

// 22 bytes: 6 of time hint (ms), then the first 16 of the digest. Sorts roughly by time.
struct MessageId {
  std::array<uint8_t, 22> bytes{};

  friend auto operator<=>(const MessageId&, const MessageId&) = default;
  std::string_view view() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string Text() const;  // 36 characters of Crockford base32
  static std::optional<MessageId> Parse(std::string_view text);
  static bool FromBytes(std::string_view bytes, MessageId* id);
};

std::string CanonicalBytes(const Message& message);
// The id that follows from the content: what a stored message is checked against. Validate() is for
// what was never valid yet.
MessageId IdOf(const Message& message);

// A message that satisfies every rule of the contract. Only Validate() makes one.
class ValidMessage {
 public:
  const Message& message() const { return message_; }
  const Hash& digest() const { return digest_; }
  const MessageId& id() const { return id_; }

 private:
  friend Result<ValidMessage, std::vector<FieldError>> Validate(Message message);
  ValidMessage() = default;
  Message message_;
  Hash digest_;
  MessageId id_;
};

// Names every field that breaks its rule.
Result<ValidMessage, std::vector<FieldError>> Validate(Message message);
// The same failure as the API tells it: 422 of type "invalid".
Problem InvalidMessage(std::vector<FieldError> errors);

// Empty when `name` is a valid sender, recipient or room; else the rule that it breaks.
std::string_view NameRule(std::string_view name);
std::string_view KeyRule(std::string_view key);
bool IsNodeId(std::string_view text);  // [A-Za-z0-9_-]{1,64}

// RFC 9562 UUID version 7 as text. `unix_ms` is clamped to 0..2^48-1.
std::string MakeUuidV7(int64_t unix_ms, Random& random);
// Its time in ms, if `text` is one.
std::optional<int64_t> UuidV7Time(std::string_view text);

}  // namespace chatchain
