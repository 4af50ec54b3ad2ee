// SPDX-License-Identifier: MIT
// Small things of the protocol between proxy and node.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "common/util/clock.h"

namespace chatchain {

inline constexpr std::string_view kKeyReusedType = "urn:chatchain:problem:key-reused";

// The value of ChatChain-Deadline-Ms: what remains, less the way back, so that a node which waits
// to the end (for copies, for a session token) still answers in time.
inline std::string DeadlineMs(SteadyTime deadline, SteadyTime now) {
  const int64_t left_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now).count();
  const int64_t way_back_ms = std::clamp<int64_t>(left_ms / 10, 1, 100);
  return std::to_string(std::max<int64_t>(left_ms - way_back_ms, 1));
}

}  // namespace chatchain
