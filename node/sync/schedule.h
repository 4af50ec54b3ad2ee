// SPDX-License-Identifier: MIT
// When to pull a peer: once an interval, at once while it has more or a reader waits, and after
// errors with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), capped at 2 s. Pure:
// time and randomness are passed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "common/util/clock.h"
#include "common/util/random.h"

namespace chatchain {

class PullSchedule {
 public:
  static constexpr int64_t kBackoffBase_ms = 100;
  static constexpr int64_t kBackoffMax_ms = 2000;

  PullSchedule(int64_t interval_ms, SteadyTime now) : interval_ms_(interval_ms), next_(now) {}

  SteadyTime next() const { return next_; }
  int failures() const { return failures_; }

  // A pull that began at `begun` has succeeded; `more`: the peer holds more for us.
  void Succeeded(SteadyTime begun, bool more) {
    failures_ = 0;
    next_ = more ? begun : begun + std::chrono::milliseconds(interval_ms_);
  }

  void Failed(SteadyTime now, Random& random) {
    failures_ = std::min(failures_ + 1, 30);
    const int64_t ceiling_ms = std::min(kBackoffMax_ms, kBackoffBase_ms << std::min(failures_, 10));
    next_ = now + std::chrono::milliseconds(random.Below(static_cast<uint64_t>(ceiling_ms)) + 1);
  }

 private:
  int64_t interval_ms_;
  SteadyTime next_;
  int failures_ = 0;
};

}  // namespace chatchain
