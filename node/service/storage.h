// SPDX-License-Identifier: MIT
// What the service needs of a store: SQLite today (node/store), another database later. The types
// are values; Storage is thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/protocol/json.h"
#include "common/protocol/query.h"
#include "common/protocol/token.h"
#include "common/util/clock.h"
#include "node/sync/log_reader.h"

namespace chatchain {

struct WriteError {
  enum class Kind {
    kDiskFull,    // nothing was stored; may work again later
    kFailed,      // the disk failed: this process writes no more
    kOverloaded,  // the queue is full
    kExpired,     // the deadline passed before it was begun: nothing was stored
    kUnknown,     // the deadline passed while it was written: it may be stored
    kStopping,
  };
  Kind kind = Kind::kFailed;
  std::string detail;
};

enum class WriteState { kWritable, kDiskFull, kFailed };

struct AppendItem {
  ValidMessage message;
  std::optional<Stamp> stamp;  // given by the first receiver
  // The key was made for this request, at random: no stored message has it, so nothing is looked
  // up.
  bool new_key = false;
};

struct Appended {
  enum class Kind {
    kNew,
    kKnown,      // the same message was already here
    kKeyReused,  // the sender used the key for another message: nothing was stored
  };
  Kind kind = Kind::kNew;
  Stamp stamp = 0;  // the message's smallest, so far
  int64_t message_ref = 0;
  // kNew: where the message stands in our own log, its only record so far.
  EpochKey epoch = {};
  Seq seq = 0;
};

struct HistoryItem {
  ShownMessage shown;
  Place place;  // in this walk; shown.stamp may have become smaller meanwhile
};

struct HistoryQuery {
  const Filter* filter = nullptr;
  bool descending = false;
  std::optional<Place> after;
  size_t limit = 100;
  const TokenVector* covers = nullptr;  // what the walk gives; none: all of `state`, a first page
};

struct HistoryPage {
  std::vector<HistoryItem> items;
  bool more = false;
  std::vector<EpochKey> apart;  // of what the walk gives: here, another branch; nothing is given
};

// Messages in the order in which they arrived here: of all that `after` covers no record of.
struct FeedQuery {
  const TokenVector* after = nullptr;
  const Filter* filter = nullptr;
  size_t max_items = 100;
  size_t max_bytes = 1 << 20;  // of texts, roughly; one item is always given
  // For who has followed every commit: what has a greater message_ref is new, anything else known.
  std::optional<int64_t> new_above_ref;
  // Nothing is given of epochs that `after` does not name below one of which it goes beyond the
  // state: seals that are not here yet may say that it covers them.
  bool hold_back = true;
};

struct FeedItem {
  ShownMessage shown;
  int64_t message_ref = 0;
  TokenVector moved;  // what the items before, and what was left out, do not cover of this step
};

struct FeedPage {
  std::vector<FeedItem> items;
  TokenVector moved;  // passed behind the last item
  bool more = false;
};

class Storage {
 public:
  virtual ~Storage() = default;

  virtual LogStatePtr State() const = 0;
  virtual WriteState write_state() const = 0;

  // All in one durable commit, answered in order. Blocks until then, or until `deadline`.
  virtual Result<std::vector<Appended>, WriteError> Append(
      std::shared_ptr<const std::vector<AppendItem>> items, SteadyTime deadline) = 0;

  // The same for one message, without a thread that waits: `done` is called exactly once, on any
  // thread, and must not block.
  virtual void AppendLater(AppendItem item, SteadyTime deadline,
                           std::function<void(Result<Appended, WriteError>)> done) = 0;

  // A page as of `state`, which State() gave. 503 when it cannot be read, or when a stored message
  // is damaged (its repair has begun then).
  virtual Try<HistoryPage> ReadHistory(const HistoryQuery& query, const LogState& state) = 0;
  // As of `state`, which State() gave. Frozen epochs move no token: their messages are given where
  // another record vouches for them. Errors as above.
  virtual Try<FeedPage> ReadFeed(const FeedQuery& query, const LogState& state) = 0;
  virtual Try<std::optional<ShownMessage>> Find(const MessageId& id) = 0;
  // Every position in every log that holds the message, frozen epochs left out.
  virtual Try<std::vector<std::pair<EpochKey, Seq>>> PositionsOf(int64_t message_ref) = 0;
};

}  // namespace chatchain
