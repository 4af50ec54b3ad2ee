// SPDX-License-Identifier: MIT
#include "client/proxy/latency.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace chatchain {
namespace {
constexpr SteadyTime kStart{std::chrono::hours(1)};
}

TEST_CASE("quantiles are those of the sorted samples, within a bucket's width", "[latency]") {
  LatencyWindow window;
  std::vector<int64_t> samples;
  uint64_t state = 42;
  for (int i = 0; i < 5000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto us = static_cast<int64_t>((state >> 33) % (uint64_t{1} << (1 + i % 24)));
    samples.push_back(us);
    window.Add(us, kStart);
  }
  std::sort(samples.begin(), samples.end());
  for (const double quantile : {0.01, 0.5, 0.9, 0.95, 0.99, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(quantile * 5000)) - 1;
    const auto exact = static_cast<double>(samples[rank]);
    const auto shown = static_cast<double>(*window.QuantileUs(quantile, kStart));
    INFO(quantile);
    CHECK(shown >= exact);
    CHECK(shown <= exact * 1.125 + 1);
  }
}

TEST_CASE("old samples are forgotten", "[latency]") {
  using std::chrono::seconds;
  LatencyWindow window;
  CHECK(!window.QuantileUs(0.5, kStart));
  window.Add(1'000'000, kStart);
  CHECK(window.QuantileUs(0.5, kStart + seconds(9)));
  CHECK(window.QuantileUs(0.5, kStart + seconds(11)));  // the window before counts too
  CHECK(!window.QuantileUs(0.5, kStart + seconds(40)));
  window.Add(1, kStart + seconds(41));
  CHECK(window.QuantileUs(1.0, kStart + seconds(41)) == 1);
}

TEST_CASE("extreme durations have a bucket", "[latency]") {
  LatencyWindow window;
  for (const int64_t us : {int64_t{-5}, int64_t{0}, int64_t{1} << 62}) window.Add(us, kStart);
  CHECK(window.QuantileUs(0.1, kStart) == 0);
  CHECK(*window.QuantileUs(1.0, kStart) >= (int64_t{1} << 30) - 1);
}

TEST_CASE("the hedge delay is the p95 within its bounds", "[latency]") {
  CHECK(HedgeDelayMs(std::nullopt, 20, 500) == 500);
  CHECK(HedgeDelayMs(1'000, 20, 500) == 20);
  CHECK(HedgeDelayMs(100'001, 20, 500) == 101);
  CHECK(HedgeDelayMs(9'000'000, 20, 500) == 500);
}

}  // namespace chatchain
