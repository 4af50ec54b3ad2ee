// SPDX-License-Identifier: MIT
// Which node gave which session token of late. A client that hands its last token back is best
// served by the node that issued it: that one holds all of it by construction, and nothing needs
// decoding. Only a hint: a wrong one costs a wait at the node, never a wrong answer.
//
// Thread-safe and lock-free; fixed size.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace chatchain {

class TokenHints {
 public:
  // REQUIRES: 0 <= node < 255.
  void Remember(std::string_view token, int node) {
    const uint64_t hash = std::hash<std::string_view>{}(token);
    slots_[hash % kSlots].store((hash & ~kNodeMask) | static_cast<uint64_t>(node + 1),
                                std::memory_order_relaxed);
  }

  std::optional<int> Issuer(std::string_view token) const {
    const uint64_t hash = std::hash<std::string_view>{}(token);
    const uint64_t slot = slots_[hash % kSlots].load(std::memory_order_relaxed);
    if (slot == 0 || (slot & ~kNodeMask) != (hash & ~kNodeMask)) return std::nullopt;
    return static_cast<int>(slot & kNodeMask) - 1;
  }

 private:
  static constexpr size_t kSlots = 1 << 14;
  static constexpr uint64_t kNodeMask = 0xff;
  std::array<std::atomic<uint64_t>, kSlots> slots_{};
};

}  // namespace chatchain
