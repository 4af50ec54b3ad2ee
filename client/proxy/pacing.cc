// SPDX-License-Identifier: MIT
#include "client/proxy/pacing.h"

#include <algorithm>

namespace chatchain {

namespace {

using std::chrono::milliseconds;

constexpr int64_t kLeastTry_ms = 300;

PaceStep Ask(size_t until) {
  return {.kind = PaceStep::Kind::kAsk, .ask_until = until};
}
PaceStep Wait(SteadyTime until) {
  return {.kind = PaceStep::Kind::kWait, .wait_until = until};
}

}  // namespace

int64_t TryShareMs(int64_t left_ms, size_t equals, size_t lesser) {
  const int64_t reserved_ms = kLeastTry_ms * static_cast<int64_t>(lesser);
  return std::max(kLeastTry_ms, (left_ms - reserved_ms) / static_cast<int64_t>(equals + 1));
}

std::optional<milliseconds> RoundBackoff(int round) {
  if (round == 0) return milliseconds(50);
  if (round == 1) return milliseconds(150);
  return std::nullopt;
}

int64_t TryTimeoutMs(int64_t total_ms, size_t nodes) {
  return std::max(kLeastTry_ms, total_ms / static_cast<int64_t>(std::max<size_t>(nodes, 1)));
}

PaceStep NextStep(const PaceState& state, SteadyTime now) {
  const PaceStep finish{.kind = PaceStep::Kind::kFinish};
  if (state.done || now >= state.deadline) return finish;

  const bool more = state.asked < state.nodes;
  const bool fanout = state.strategy == Strategy::kFanout;
  // Some of the ready nodes are spared as long as the first ones do well.
  const bool spared =
      fanout && state.first_ask < state.first_tier && state.asked < state.first_tier;
  const size_t next = !fanout                      ? std::min(state.asked + 1, state.nodes)
                      : spared && state.asked == 0 ? state.first_ask
                                                   : state.tier_end;
  if (state.outstanding == 0) {
    if (state.answered && state.asked >= state.first_tier) return finish;
    return more ? Ask(next) : finish;
  }

  // Somebody still owes an answer.
  if (spared) {
    const SteadyTime lead_end = state.last_ask + milliseconds(state.lead_ms);
    const bool failed = state.outstanding < state.asked && !state.stored;
    return failed || now >= lead_end ? Ask(next) : Wait(std::min(lead_end, state.deadline));
  }
  const SteadyTime try_end = state.last_ask + milliseconds(state.try_ms);
  if (state.answered && state.asked >= state.first_tier) {
    return now >= try_end ? finish : Wait(std::min(try_end, state.deadline));
  }
  if (!more) return Wait(state.deadline);
  if (state.strategy == Strategy::kHedged && !state.hedged) {
    const SteadyTime hedge_at = state.last_ask + milliseconds(state.hedge_delay_ms);
    if (now >= hedge_at) return {.kind = PaceStep::Kind::kHedge, .ask_until = next};
    return Wait(std::min({hedge_at, try_end, state.deadline}));
  }
  const SteadyTime patience_end = fanout ? state.last_ask + milliseconds(state.stall_ms) : try_end;
  return now >= patience_end ? Ask(next) : Wait(std::min(patience_end, state.deadline));
}

}  // namespace chatchain
