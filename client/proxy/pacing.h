// SPDX-License-Identifier: MIT
// When a write asks which nodes: one decision at a time, from what has happened so far. The driver
// asks, waits and comes back; it owns the clock, the nodes and the budgets. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "client/config.h"
#include "common/util/clock.h"

namespace chatchain {

// The bound of one try when nodes are asked one after another: an even share, but never so short
// that a busy disk looks dead.
int64_t TryTimeoutMs(int64_t total_ms, size_t nodes);

// The bound of a try when `equals` more nodes as good as this one, and `lesser` doubtful ones,
// could be asked after it: an even share among equals, and the least for each doubtful one. With
// none left it is all that remains.
int64_t TryShareMs(int64_t left_ms, size_t equals, size_t lesser);

// The pause after round number `round` (from 0) in which every node failed; none: give up. A node
// that was starting while another was dying may take the request now.
std::optional<std::chrono::milliseconds> RoundBackoff(int round);

struct PaceState {
  Strategy strategy = Strategy::kFanout;
  size_t nodes = 0;
  // Fan-out: so many nodes at first, the rest of their tier when those are late or fail. At
  // least 1.
  size_t first_ask = std::numeric_limits<size_t>::max();
  size_t first_tier = 0;  // the nodes that an answer that is not final waits for
  size_t tier_end = 0;    // of the next node to be asked
  size_t asked = 0;
  size_t outstanding = 0;  // asked, and neither answered nor failed
  bool done = false;       // a final answer is here
  bool stored = false;     // durable somewhere: at most copies are waited for
  bool answered = false;   // at least an answer that is not final is here, for every item
  bool hedged = false;     // the hedge was sent, or the budget refused it
  SteadyTime last_ask{};
  SteadyTime deadline{};
  int64_t hedge_delay_ms = 0;
  int64_t lead_ms = 0;   // fan-out: when the first_ask nodes are late
  int64_t stall_ms = 0;  // fan-out: silence after which the lesser nodes are asked too
  int64_t try_ms = 0;    // TryTimeoutMs
};

struct PaceStep {
  enum class Kind {
    kFinish,  // with the best that there is
    kAsk,     // the nodes up to `ask_until`
    kHedge,   // one more node, if the budget allows
    kWait,    // for a report, or until `wait_until`
  };
  Kind kind = Kind::kFinish;
  size_t ask_until = 0;
  SteadyTime wait_until{};
};

PaceStep NextStep(const PaceState& state, SteadyTime now);

}  // namespace chatchain
