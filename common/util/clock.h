// SPDX-License-Identifier: MIT
// Time is passed in, never taken: production uses SystemClock, tests and simulations their own.
#pragma once

#include <chrono>
#include <cstdint>

namespace chatchain {

// Monotonic time: for durations and deadlines. Never leaves the process.
using SteadyTime = std::chrono::steady_clock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Unix time in milliseconds as the machine believes it; may jump.
  virtual int64_t WallMs() const = 0;
  virtual SteadyTime Steady() const = 0;
};

class SystemClock final : public Clock {
 public:
  int64_t WallMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  SteadyTime Steady() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace chatchain
