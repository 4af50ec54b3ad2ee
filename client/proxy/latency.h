// SPDX-License-Identifier: MIT
// How long a node took of late: a histogram over the last 10 to 20 seconds, in 217 buckets of at
// most 12.5 % width. Pure: time is passed in. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "common/util/clock.h"

namespace chatchain {

class LatencyWindow {
 public:
  void Add(int64_t us, SteadyTime now);

  // The upper end of the bucket that holds the quantile; none without samples.
  // REQUIRES: 0 < quantile <= 1.
  std::optional<int64_t> QuantileUs(double quantile, SteadyTime now);

 private:
  static constexpr int kSubBits = 3;     // 8 buckets an octave
  static constexpr int kMaxOctave = 29;  // above 2^30 us (18 minutes) all is one
  static constexpr size_t kBuckets = (kMaxOctave - kSubBits + 2) << kSubBits;
  struct Histogram {
    std::array<uint32_t, kBuckets> counts{};
    uint64_t total = 0;
  };

  static size_t BucketOf(int64_t us);
  static int64_t UpperEndUs(size_t bucket);
  void Rotate(SteadyTime now);

  Histogram current_;
  Histogram previous_;
  SteadyTime current_since_{};
};

// The delay before a second node is asked: the first one's p95, within bounds; `max_ms` while
// nothing is known of it.
int64_t HedgeDelayMs(std::optional<int64_t> p95_us, int64_t min_ms, int64_t max_ms);

}  // namespace chatchain
