// SPDX-License-Identifier: MIT
// Compares a log with a peer's and finds, for each epoch, the first record in which they differ. A
// chain vouches for all before it, so the first difference is found by bisection: with logs of n
// records, about log2(n) requests, however many epochs differ.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/sync.h"
#include "common/util/result.h"

namespace chatchain {

// A peer as it can be asked. Errors are one line for people.
class ChainPeer {
 public:
  virtual ~ChainPeer() = default;
  virtual Result<HeadVector, std::string> Heads() = 0;
  // The chain at each of `positions`, in their order; nothing where the peer holds no such record.
  // REQUIRES: at most limits::kSyncChainsMax of them.
  virtual Result<std::vector<std::optional<Hash>>, std::string> ChainsAt(
      const std::vector<LogPosition>& positions) = 0;
};

struct Comparison {
  std::vector<LogPosition> different;  // the first record of an epoch that is not the same
  uint64_t records_here = 0;           // that the peer does not hold (yet)
  uint64_t records_there = 0;          // that are not here (yet)
  size_t requests = 0;
};

// `mine`: the heads here; `chain_at`: the chain at a position at or below them, nothing where it
// cannot be read.
Result<Comparison, std::string> CompareWith(
    ChainPeer& peer, const HeadVector& mine,
    const std::function<std::optional<Hash>(const LogPosition&)>& chain_at);

}  // namespace chatchain
