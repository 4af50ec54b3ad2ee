// SPDX-License-Identifier: MIT
#include "client/http/rate_limit.h"

#include <catch2/catch.hpp>

namespace chatchain {
namespace {

using std::chrono::milliseconds;

constexpr SteadyTime kStart{std::chrono::hours(1)};

int Taken(RateLimiter& limiter, const std::string& address, int tries, SteadyTime now) {
  int taken = 0;
  for (int i = 0; i < tries; ++i) taken += limiter.Take(address, now) ? 1 : 0;
  return taken;
}

}  // namespace

TEST_CASE("each address has its burst and its rate, and others do not notice", "[rate_limit]") {
  RateLimiter limiter({.per_second = 10, .burst = 5});
  CHECK(Taken(limiter, "10.0.0.1", 100, kStart) == 5);
  CHECK(Taken(limiter, "10.0.0.2", 3, kStart) == 3);
  CHECK(Taken(limiter, "10.0.0.1", 100, kStart + milliseconds(300)) == 3);
  CHECK(Taken(limiter, "10.0.0.1", 100, kStart + milliseconds(60'000)) == 5);
}

TEST_CASE("no limit limits nothing, and limits can change", "[rate_limit]") {
  RateLimiter limiter({.per_second = 0, .burst = 1});
  CHECK(Taken(limiter, "10.0.0.1", 1000, kStart) == 1000);
  limiter.set_limits({.per_second = 1, .burst = 2});
  CHECK(Taken(limiter, "10.0.0.1", 1000, kStart) == 2);
  limiter.set_limits({.per_second = 1, .burst = 2});  // the same: nothing is forgotten
  CHECK(Taken(limiter, "10.0.0.1", 1000, kStart) == 0);
  limiter.set_limits({.per_second = 0, .burst = 2});
  CHECK(Taken(limiter, "10.0.0.1", 1000, kStart) == 1000);
}

TEST_CASE("addresses of one IPv6 network are one client", "[rate_limit]") {
  RateLimiter limiter({.per_second = 1, .burst = 2});
  CHECK(Taken(limiter, "2001:db8:1:2::1", 1, kStart) == 1);
  CHECK(Taken(limiter, "2001:db8:1:2:ffff::9", 5, kStart) == 1);
  CHECK(Taken(limiter, "2001:db8:1:3::1", 5, kStart) == 2);
}

TEST_CASE("memory is bounded: too many addresses share one bucket", "[rate_limit]") {
  RateLimiter limiter({.per_second = 1, .burst = 2}, /*max_addresses=*/10);
  for (int i = 0; i < 10; ++i) CHECK(limiter.Take("10.0.0." + std::to_string(i), kStart));
  CHECK(Taken(limiter, "10.0.1.1", 5, kStart) == 2);
  CHECK(Taken(limiter, "10.0.1.2", 5, kStart) == 0);
  // Those that have been quiet are forgotten.
  CHECK(Taken(limiter, "10.0.1.3", 5, kStart + milliseconds(2500)) == 2);
  CHECK(Taken(limiter, "10.0.1.4", 5, kStart + milliseconds(2500)) == 2);
}

}  // namespace chatchain
