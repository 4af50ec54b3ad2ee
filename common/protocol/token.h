// SPDX-License-Identifier: MIT
// Tokens: what a client holds on to. One format, a vector of heads bound to a cluster, with a type:
//   session  a lower bound: what the client has written or seen; joins freely
//   feed     everything that it covers was delivered; nothing is joined to it
//   cursor   a walk over history: what the walk covers, and the place it has reached
// Opaque to clients: base64url over the bytes that docs/protocol.md specifies. Pure values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "common/protocol/message.h"
#include "common/protocol/record.h"

namespace chatchain {

// An epoch as a token names it: the first 8 bytes of the chain tell the branches of a fork apart.
// With seq 0 it says that nothing of the epoch is covered, although a seal of it may be (seal.h).
struct Mark {
  Seq seq = 0;
  uint64_t chain_prefix = 0;

  friend bool operator==(const Mark&, const Mark&) = default;
};

using TokenVector = std::map<EpochKey, Mark>;

TokenVector ToTokenVector(const HeadVector& heads);

// The larger position of each epoch.
void Join(TokenVector* into, const TokenVector& other);
bool Covers(const TokenVector& vector, const EpochKey& key, Seq seq);

// The place of a message in history.
struct Place {
  Stamp stamp = 0;
  MessageId id;

  friend auto operator<=>(const Place&, const Place&) = default;
};

struct Cursor {
  TokenVector covers;       // what the walk gives
  Place after;              // the last place that was given
  uint64_t query_hash = 0;  // of filters and order: a cursor goes with the same only

  friend bool operator==(const Cursor&, const Cursor&) = default;
};

// Encodes and decodes for one cluster. Decoding names what is wrong: 400.
class TokenCodec {
 public:
  explicit TokenCodec(std::string_view cluster);

  std::string EncodeSession(const TokenVector& vector) const;
  std::string EncodeFeed(const TokenVector& vector) const;
  std::string EncodeCursor(const Cursor& cursor) const;
  Try<TokenVector> DecodeSession(std::string_view text) const;
  Try<TokenVector> DecodeFeed(std::string_view text) const;
  Try<Cursor> DecodeCursor(std::string_view text) const;

 private:
  std::string cluster_tag_;  // 4 bytes
};

}  // namespace chatchain
