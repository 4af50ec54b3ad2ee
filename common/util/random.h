// SPDX-License-Identifier: MIT
// Randomness is passed in, as time is: simulations replay it.
#pragma once

#include <cstdint>

namespace chatchain {

// Thread-safe.
class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;  // uniform over all 64 bits

  // Uniform in [0, bound). REQUIRES: bound > 0. The bias of the modulo is below bound/2^64.
  uint64_t Below(uint64_t bound) { return Next() % bound; }
};

// The kernel's generator.
class SystemRandom final : public Random {
 public:
  uint64_t Next() override;
};

}  // namespace chatchain
