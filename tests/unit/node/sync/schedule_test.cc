// SPDX-License-Identifier: MIT
#include "node/sync/schedule.h"

#include <catch2/catch.hpp>

#include "tests/support/store_test.h"

namespace chatchain {

TEST_CASE("A peer is pulled once an interval, at once while it has more", "[schedule]") {
  const SteadyTime t0{};
  PullSchedule schedule(1000, t0);
  REQUIRE(schedule.next() == t0);
  schedule.Succeeded(t0, false);
  REQUIRE(schedule.next() == t0 + std::chrono::milliseconds(1000));
  schedule.Succeeded(t0, true);
  REQUIRE(schedule.next() == t0);
}

TEST_CASE("Failures back off with full jitter, never beyond two seconds", "[schedule]") {
  const SteadyTime t0{};
  test::SeededRandom random(1);
  int64_t longest_ms = 0;
  for (int run = 0; run < 200; ++run) {
    PullSchedule schedule(1000, t0);
    for (int failure = 1; failure <= 40; ++failure) {
      schedule.Failed(t0, random);
      const int64_t wait_ms =
          std::chrono::duration_cast<std::chrono::milliseconds>(schedule.next() - t0).count();
      REQUIRE(wait_ms >= 1);
      REQUIRE(wait_ms <= std::min<int64_t>(2000, 100 << std::min(failure, 5)));
      longest_ms = std::max(longest_ms, wait_ms);
    }
    REQUIRE(schedule.failures() > 0);
    schedule.Succeeded(t0, false);
    REQUIRE(schedule.failures() == 0);
  }
  REQUIRE(longest_ms > 1900);
}

}  // namespace chatchain
