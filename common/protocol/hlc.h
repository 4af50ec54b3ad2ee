// SPDX-License-Identifier: MIT
// Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): 48 bits of Unix ms, 16
// bits of counter. A later event that knows an earlier one has the larger stamp.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain {

using Stamp = uint64_t;

inline constexpr int64_t StampMs(Stamp stamp) {
  return static_cast<int64_t>(stamp >> 16);
}
// The first stamp of that millisecond; clamped to 0..2^48-1 ms.
Stamp StampFromMs(int64_t unix_ms);

// RFC 3339 UTC with milliseconds, "2026-11-21T08:15:30.123Z"; held within the years 0 to 9999.
std::string FormatTime(int64_t unix_ms);
// RFC 3339 with any offset, or whole Unix seconds; in ms, a finer fraction rounded up.
std::optional<int64_t> ParseTime(std::string_view text);

// Thread-safe.
class Hlc {
 public:
  explicit Hlc(const Clock& clock) : clock_(clock) {}

  // Greater than every stamp that Next() gave and Observe() followed.
  Stamp Next();
  // Follows a stamp that was seen, unless it is more than 60 s ahead of this clock.
  void Observe(Stamp stamp);
  // The stamp under which a message is accepted: a given one as it is, except that one more than 60
  // s ahead is replaced.
  Stamp Accept(std::optional<Stamp> given);

  // What peers' clocks say that must be added to ours (ms).
  void set_offset_ms(int64_t offset_ms) { offset_ms_.store(offset_ms); }
  int64_t NowMs() const { return clock_.WallMs() + offset_ms_.load(); }

 private:
  const Clock& clock_;
  std::atomic<int64_t> offset_ms_{0};
  Mutex mutex_;
  Stamp last_ GUARDED_BY(mutex_) = 0;
};

}  // namespace chatchain
