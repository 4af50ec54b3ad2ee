// SPDX-License-Identifier: MIT
// The replicated log: positions, records, hash chains and vectors of heads. Bytes and formulas are
// specified in docs/protocol.md. Everything here is a pure value.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/hlc.h"
#include "common/protocol/message.h"
#include "common/util/sha256.h"

namespace chatchain {

// 32 bits of counter, 32 of randomness; 16 hex digits as text. New at every start of a node.
using Epoch = uint64_t;
using Seq = uint64_t;  // 1, 2, 3 ... in its (origin, epoch)

struct EpochKey {
  std::string origin;
  Epoch epoch = 0;

  friend auto operator<=>(const EpochKey&, const EpochKey&) = default;
};

// "origin/epoch", for logs and errors.
std::string ToText(const EpochKey& key);

// The last record of an epoch that somebody holds. Its chain vouches for everything before it.
struct Position {
  Seq seq = 0;
  Hash chain;

  friend bool operator==(const Position&, const Position&) = default;
};

using HeadVector = std::map<EpochKey, Position>;

inline constexpr std::string_view kMessageKind = "message";

struct Record {
  EpochKey epoch;
  Seq seq = 0;
  std::string kind{kMessageKind};
  Stamp stamp = 0;
  Hash digest;  // SHA-256 of the canonical bytes of the body
  Hash chain;
};

// A record as it travels. The body is a message, or the payload of a kind that we do not know; both
// are absent where the receiver is known to hold the message already.
struct WireRecord {
  Record record;
  std::optional<Message> message;
  std::optional<std::string> payload;
  std::optional<MessageId> id;  // of a message that was left out: where the receiver finds its copy
};

// The chain value before seq 1.
Hash ChainSeed(std::string_view cluster, const EpochKey& epoch);
// The chain value of `record` after `previous`; does not read record.chain.
Hash NextChain(const Hash& previous, const Record& record);

// SHA-256 over the sorted vector: equal digests are equal logs.
Hash VectorDigest(const HeadVector& heads);

// True when `vector` names `key` at `seq` or further, or `seq` is 0.
bool Covers(const HeadVector& vector, const EpochKey& key, Seq seq);

bool IsKind(std::string_view text);  // [a-z0-9._-]{1,32}

}  // namespace chatchain
