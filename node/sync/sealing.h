// SPDX-License-Identifier: MIT
// When epochs are sealed, and what is told of sealed ones. Pure: what the peers have shown, and the
// time, are passed in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/util/clock.h"
#include "node/sync/log_reader.h"

namespace chatchain {

// What a pull says that this node has: folded, but with every epoch named that the peer named in
// its last answer, `named`, or may leave out by a seal that is not here. The peer may not know our
// seal.
HeadVector HaveFor(const LogState& state, const HeadVector& named);

// One thread at a time.
class Sealer {
 public:
  static constexpr size_t kMaxSeals = 100;  // at once

  struct Plan {
    std::vector<SealedHead> seals;     // to be written in our live epoch
    std::vector<Seals::Place> shared;  // seals that every known peer has shown to hold

    bool empty() const { return seals.empty() && shared.empty(); }
  };

  // `quiet_ms`: how long the head of an epoch must have stood still. Another process with our id
  // may go on in it: then each seal would soon need another one.
  Sealer(std::string node_id, int64_t quiet_ms)
      : node_id_(std::move(node_id)), quiet_ms_(quiet_ms) {}

  // `shown`: the folded heads of the last answer, or the last `have`, of every known peer; null
  // where it has shown nothing to this process.
  Plan Next(const LogState& state, const std::vector<const HeadVector*>& shown, SteadyTime now);

 private:
  struct Still {
    Position head;
    SteadyTime since;
  };

  const std::string node_id_;
  const int64_t quiet_ms_;
  std::map<EpochKey, Still> still_;
};

}  // namespace chatchain
