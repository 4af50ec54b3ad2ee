// SPDX-License-Identifier: MIT
#include "client/proxy/budget.h"

#include <catch2/catch.hpp>

namespace chatchain {
namespace {
constexpr SteadyTime kStart{std::chrono::hours(1)};
}

TEST_CASE("a share of the requests may be repeated, and no more", "[budget]") {
  TokenBucket bucket(/*capacity=*/10, /*per_second=*/0, /*initial=*/0);
  int taken = 0;
  for (int i = 0; i < 1000; ++i) {
    bucket.Deposit(0.1);
    taken += bucket.Take(kStart) ? 1 : 0;
  }
  CHECK(taken >= 99);
  CHECK(taken <= 100);
}

TEST_CASE("unused tokens are kept up to the capacity", "[budget]") {
  TokenBucket bucket(10, 0, 100);
  for (int i = 0; i < 1000; ++i) bucket.Deposit(1);
  int taken = 0;
  while (bucket.Take(kStart)) ++taken;
  CHECK(taken == 10);
}

TEST_CASE("some come with time", "[budget]") {
  TokenBucket bucket(100, 10, 0);
  CHECK(!bucket.Take(kStart));
  CHECK(!bucket.Take(kStart + std::chrono::milliseconds(99)));
  CHECK(bucket.Take(kStart + std::chrono::milliseconds(101)));
  CHECK(!bucket.Take(kStart + std::chrono::milliseconds(102)));
  CHECK(!bucket.Take(kStart));  // a time before the last gives nothing
}

}  // namespace chatchain
