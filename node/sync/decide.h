// SPDX-License-Identifier: MIT
// What the driver of sync decides from what it has heard, apart from its threads and sockets: when
// a reader need not wait any longer, how far off our clock is, what a page will have changed when
// it is written. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "common/protocol/token.h"
#include "node/sync/log_reader.h"

namespace chatchain {

// What of `wanted` this node lacks. Nothing more of a frozen epoch will come: its messages come
// under other records. What `wanted` leaves out need not be looked at: who holds the seals that it
// covers holds what they seal.
std::vector<EpochKey> Missing(const TokenVector& wanted, const LogState& state);

// What of `wanted` lies in an epoch that is frozen here, beyond its end or on another branch of the
// fork, so that nothing of it will come under that name. Reads no record where nothing is frozen.
std::vector<EpochKey> BeyondFork(const TokenVector& wanted, const LogState& state,
                                 LogReader& reader);

// False where what a page was to bring up to `ends` did not come to be.
bool Reaches(const LogState& state, const HeadVector& ends);

// A peer as a waiting reader sees it.
struct ReachPeer {
  bool answered = false;              // a round that began after the reader came
  bool failed = false;                // that round
  bool live = false;                  // it answers rounds, and in time
  const HeadVector* heads = nullptr;  // folded, of its last answer
};

struct ReachVerdict {
  bool wait = false;
  bool behind = false;
  bool coming = false;         // a live peer has something of it, or may have
  std::vector<EpochKey> lost;  // every peer was asked, none has them
};

// REQUIRES: `missing` is what Missing() gives for `state`, and is not empty.
ReachVerdict JudgeReach(const TokenVector& wanted, const std::vector<EpochKey>& missing,
                        const LogState& state, const std::vector<ReachPeer>& peers,
                        bool time_is_up);

// What must be added to our clock, when these are the differences to those of others; our own, 0,
// is one of them.
int64_t MedianOffset(std::vector<int64_t> offsets_ms);

}  // namespace chatchain
