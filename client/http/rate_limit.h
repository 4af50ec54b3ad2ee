// SPDX-License-Identifier: MIT
// A client that asks for too much is told so, and others do not notice: one token bucket an
// address. IPv6 addresses count by their first 64 bits, which one client has for itself.
//
// Thread-safe. Bounded: once so many addresses have a bucket that is not full, further ones share
// one.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "client/proxy/budget.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain {

class RateLimiter {
 public:
  static constexpr size_t kMaxAddresses = 65'536;

  struct Limits {
    int per_second = 0;  // requests; 0: no limit
    int burst = 1;       // requests at once after a while without
    bool operator==(const Limits&) const = default;
  };

  explicit RateLimiter(Limits limits, size_t max_addresses = kMaxAddresses)
      : max_addresses_(max_addresses), limits_(limits) {}

  // Whether `address` (without a port) may make one more request.
  bool Take(const std::string& address, SteadyTime now);
  // Forgets what was used so far.
  void set_limits(Limits limits);

 private:
  struct Client {
    TokenBucket bucket;
    SteadyTime full_at{};  // when nothing of it is used any more
  };

  Client MakeClient() const REQUIRES(mutex_);
  Client& ClientOf(const std::string& name, SteadyTime now) REQUIRES(mutex_);

  const size_t max_addresses_;
  Mutex mutex_;
  Limits limits_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, Client> clients_ GUARDED_BY(mutex_);
  SteadyTime swept_at_ GUARDED_BY(mutex_){};
};

}  // namespace chatchain
