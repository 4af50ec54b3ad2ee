// SPDX-License-Identifier: MIT
#include "common/util/random.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace chatchain {

uint64_t SystemRandom::Next() {
  // One system call for many numbers; what is left over stays with its thread.
  thread_local std::array<uint64_t, 32> pool;
  thread_local size_t left = 0;
  if (left == 0) {
    // 256 bytes come whole once the kernel's generator is seeded.
    while (getrandom(pool.data(), sizeof(pool), 0) != static_cast<ssize_t>(sizeof(pool))) {
      if (errno != EINTR) std::abort();
    }
    left = pool.size();
  }
  return pool[--left];
}

}  // namespace chatchain
