// SPDX-License-Identifier: MIT
#include "client/proxy/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace chatchain {

namespace {
constexpr auto kWindow = std::chrono::seconds(10);
}

size_t LatencyWindow::BucketOf(int64_t us) {
  constexpr uint64_t kLargest = (uint64_t{1} << (kMaxOctave + 1)) - 1;
  const uint64_t value = std::min(static_cast<uint64_t>(std::max<int64_t>(us, 0)), kLargest);
  if (value < (uint64_t{1} << kSubBits)) return value;
  const int octave = static_cast<int>(std::bit_width(value)) - 1;
  const uint64_t sub = (value >> (octave - kSubBits)) & ((1 << kSubBits) - 1);
  return (static_cast<size_t>(octave - kSubBits + 1) << kSubBits) + sub;
}

int64_t LatencyWindow::UpperEndUs(size_t bucket) {
  if (bucket < (size_t{1} << kSubBits)) return static_cast<int64_t>(bucket);
  const int shift = static_cast<int>(bucket >> kSubBits) - 1;
  const int64_t sub = static_cast<int64_t>(bucket & ((1 << kSubBits) - 1)) + (1 << kSubBits);
  return ((sub + 1) << shift) - 1;
}

void LatencyWindow::Rotate(SteadyTime now) {
  if (now - current_since_ < kWindow) return;
  // After a long silence both halves are old.
  previous_ = now - current_since_ < 2 * kWindow ? current_ : Histogram{};
  current_ = Histogram{};
  current_since_ = now;
}

void LatencyWindow::Add(int64_t us, SteadyTime now) {
  Rotate(now);
  ++current_.counts[BucketOf(us)];
  ++current_.total;
}

std::optional<int64_t> LatencyWindow::QuantileUs(double quantile, SteadyTime now) {
  Rotate(now);
  const uint64_t total = current_.total + previous_.total;
  if (total == 0) return std::nullopt;
  const auto rank = static_cast<uint64_t>(std::ceil(quantile * static_cast<double>(total)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += current_.counts[i] + previous_.counts[i];
    if (seen >= rank) return UpperEndUs(i);
  }
  return UpperEndUs(kBuckets - 1);
}

int64_t HedgeDelayMs(std::optional<int64_t> p95_us, int64_t min_ms, int64_t max_ms) {
  if (!p95_us) return max_ms;
  return std::clamp((*p95_us + 999) / 1000, min_ms, max_ms);
}

}  // namespace chatchain
