// SPDX-License-Identifier: MIT
// The live feed of a node, apart from HTTP: what follows a position, and what a position is. A
// position is a token vector that says: all that it covers was delivered. Two kinds of entries go
// beyond what this node holds: those it is still behind of, which stay in the position, and those
// that no longer exist anywhere, which are given up with a gap. Thread-safe; may block.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/query.h"
#include "common/protocol/token.h"
#include "node/service/service.h"
#include "node/service/storage.h"

namespace chatchain {

struct FeedPosition {
  TokenVector covers;
  bool behind = false;  // this node lacks something of it
  bool gap = false;     // something of it is gone, and was taken out
  // While it is behind: what it covers of epochs that it does not name may be said by seals that
  // are not here yet. Nothing of these is given meanwhile; where no live peer can bring the seals,
  // it is, perhaps again.
  bool hold_back = true;
};

struct FeedStep {
  ShownMessage shown;
  int64_t message_ref = 0;
  std::string token;  // after it
};

struct FeedAnswer {
  std::vector<FeedStep> steps;
  FeedPosition position;  // after them; `gap`: found on the way
  bool more = false;      // there is more to be read at once
  // At the end and not behind: exactly the messages with greater refs follow.
  std::optional<int64_t> live_after;
  uint64_t version = 0;  // of the state that was read
};

class Feed {
 public:
  Feed(Storage& storage, CatchUp& catch_up, std::string_view cluster)
      : storage_(storage), catch_up_(catch_up), tokens_(cluster) {}

  // "begin", a feed token, or none for now. 400 for anything else.
  Try<FeedPosition> Decode(const std::optional<std::string>& after) const;
  std::string Encode(const TokenVector& covers) const { return tokens_.EncodeFeed(covers); }

  // Pulls what `position` covers and this node lacks: 500 ms at most, and never for what no live
  // peer has. REQUIRES: called once where a feed begins, and now and then while it is behind.
  void Reach(FeedPosition* position, SteadyTime deadline);

  // What follows `position`: at most `max_items`, `max_bytes` of texts. Does not wait.
  Try<FeedAnswer> Read(const FeedPosition& position, const Filter& filter, size_t max_items,
                       size_t max_bytes, std::optional<int64_t> new_above_ref = std::nullopt);

 private:
  Storage& storage_;
  CatchUp& catch_up_;
  const TokenCodec tokens_;
};

}  // namespace chatchain
