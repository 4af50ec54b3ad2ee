// SPDX-License-Identifier: MIT
// What the sync protocol needs to read of the log. The store implements it; tests and simulations
// may bring their own.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "common/protocol/record.h"
#include "common/protocol/seal.h"
#include "common/protocol/token.h"

namespace chatchain {

// A record that does not match its body or its chain.
struct CorruptRecord {
  EpochKey epoch;
  Seq seq = 0;
};

// The log at one moment, as the last commit left it. Immutable, shared between threads.
struct LogState {
  struct EpochState {
    int64_t ref = 0;  // the store's own short name of the epoch
    Position head;    // seq 0 with the chain seed where nothing is held (any more)
    bool frozen = false;

    friend bool operator==(const EpochState&, const EpochState&) = default;
  };

  std::map<EpochKey, EpochState> epochs;
  HeadVector heads;  // of epochs that are not frozen and hold something
  // Of records in epochs that are not frozen. Invariant: what they seal is held, or frozen.
  std::shared_ptr<const Seals> seals = std::make_shared<const Seals>();
  HeadVector folded;             // `heads` as peers get them
  TokenVector token;             // `heads` as clients get them
  std::optional<EpochKey> live;  // where this process appends; absent before its first record
  std::vector<EpochKey> forks;   // frozen epochs
  // Since the start of this process: where records were given up because they were damaged, the
  // first of each epoch, that have not come back from a peer.
  std::vector<CorruptRecord> damaged;
  bool id_runs_twice = false;
  int64_t last_message_ref = 0;  // messages are numbered in commit order
  int64_t messages = 0;
  uint64_t version = 0;  // grows with every commit that changed something
};

using LogStatePtr = std::shared_ptr<const LogState>;

// Makes `folded` and `token` from `heads` and `seals`.
inline void Fold(LogState* state) {
  state->folded = FoldHeads(state->heads, *state->seals);
  state->token = FoldToken(state->heads, *state->seals);
}

// Two branches of one epoch exist.
struct Fork {
  EpochKey epoch;
  Seq seen_at = 0;  // where the chains differ from ours; 0: a peer says so
};

// What an exchange with a peer showed beyond records: the log acts on it.
struct Findings {
  std::vector<Fork> forked;             // freeze them
  std::vector<CorruptRecord> corrupt;   // repair them
  bool twin = false;                    // another process has our id
  std::optional<EpochKey> taken_epoch;  // our live epoch, which somebody else writes
  // Highest counter of the epochs of our own id that the peer names and we do not hold.
  uint32_t own_counter = 0;

  bool empty() const {
    return forked.empty() && corrupt.empty() && !twin && !taken_epoch && own_counter == 0;
  }
};

// One stored record with its body, as it is served.
struct StoredRecord {
  WireRecord wire;          // digest recomputed from the stored body
  int64_t message_ref = 0;  // 0: not a message
};

// A consistent snapshot of the log for reading. One thread.
class LogReader {
 public:
  virtual ~LogReader() = default;
  virtual std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) = 0;
  // Records behind `from`, up to `to`, that are at hand as whole records in their JSON: ascending,
  // without a gap, known to fit their chain, as long as `take` returns true. The last one that was
  // taken; `from` where there was none. ReadRecords() has all.
  virtual Position ReadRecent(const EpochKey& epoch, const Position& from, Seq to,
                              const std::function<bool(std::string_view json)>& take) {
    (void)epoch, (void)to, (void)take;
    return from;
  }
  // Records with from <= seq <= to, ascending, as long as `take` returns true.
  virtual void ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                           const std::function<bool(StoredRecord&&)>& take) = 0;
  // Every position that holds the message.
  virtual std::vector<std::pair<EpochKey, Seq>> PositionsOf(int64_t message_ref) = 0;
};

}  // namespace chatchain
