// SPDX-License-Identifier: MIT
#include "client/proxy/breaker.h"

#include <algorithm>

namespace chatchain {

std::string_view BreakerName(Breaker::State state) {
  switch (state) {
    case Breaker::State::kClosed: return "closed";
    case Breaker::State::kHalfOpen: return "half_open";
    case Breaker::State::kOpen: return "open";
  }
  return "";
}

Breaker::State Breaker::state(SteadyTime now) const {
  if (!open_) return State::kClosed;
  return now < open_until_ ? State::kOpen : State::kHalfOpen;
}

void Breaker::OnRequest(bool ok, SteadyTime now, uint64_t random) {
  if (!ok) return Fail(&request_failures_, now, random);
  request_failures_ = 0;
  probe_failures_ = 0;
  if (open_) return Close(now);
  if (now - closed_since_ >= std::chrono::milliseconds(last_open_ms_)) trips_ = 0;
}

void Breaker::OnProbe(bool ok, SteadyTime now, uint64_t random) {
  if (!ok) return Fail(&probe_failures_, now, random);
  probe_failures_ = 0;
  if (state(now) == State::kHalfOpen) Close(now);
}

void Breaker::Fail(int* counter, SteadyTime now, uint64_t random) {
  if (open_) {
    // What was sent before it opened comes back late: that is no news.
    if (now >= open_until_) Open(now, random);
    return;
  }
  ++*counter;
  if (request_failures_ + probe_failures_ >= options_.failures_to_open) Open(now, random);
}

void Breaker::Open(SteadyTime now, uint64_t random) {
  constexpr int kMaxDoublings = 20;
  const int64_t full_ms =
      std::min<int64_t>(int64_t{options_.open_ms} << std::min(trips_, kMaxDoublings),
                        std::max(options_.open_ms, options_.max_open_ms));
  // Half fixed, half random: proxies that lost a node together do not come back together.
  const int64_t half_ms = full_ms / 2;
  last_open_ms_ = full_ms - half_ms + static_cast<int64_t>(random % (half_ms + 1));
  open_ = true;
  open_until_ = now + std::chrono::milliseconds(last_open_ms_);
  ++trips_;
}

void Breaker::Close(SteadyTime now) {
  open_ = false;
  closed_since_ = now;
  request_failures_ = 0;
  probe_failures_ = 0;
}

}  // namespace chatchain
