// SPDX-License-Identifier: MIT
// Token buckets that bound extra work: hedges are a share of the reads, repeated tries a share of
// the requests plus some a second. Pure: time is passed in. Not thread-safe.
#pragma once

#include <algorithm>

#include "common/util/clock.h"

namespace chatchain {

class TokenBucket {
 public:
  // Starts with `initial` tokens; never holds more than `capacity`.
  TokenBucket(double capacity, double per_second, double initial)
      : capacity_(capacity), per_second_(per_second), tokens_(std::min(initial, capacity)) {}

  void Deposit(double tokens) { tokens_ = std::min(capacity_, tokens_ + tokens); }

  // Takes one token, or leaves everything as it is.
  bool Take(SteadyTime now) {
    Refill(now);
    if (tokens_ < 1.0) return false;
    tokens_ -= 1.0;
    return true;
  }

 private:
  void Refill(SteadyTime now) {
    if (started_ && now > last_) {
      Deposit(per_second_ * std::chrono::duration<double>(now - last_).count());
    }
    if (!started_ || now > last_) last_ = now;
    started_ = true;
  }

  double capacity_;
  double per_second_;
  double tokens_;
  bool started_ = false;
  SteadyTime last_{};
};

}  // namespace chatchain
