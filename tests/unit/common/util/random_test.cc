// SPDX-License-Identifier: MIT
#include "common/util/random.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace chatchain {

namespace {

class Replay final : public Random {
 public:
  explicit Replay(uint64_t value) : value_(value) {}
  uint64_t Next() override { return value_; }

 private:
  uint64_t value_;
};

}  // namespace

TEST_CASE("Below stays below", "[random]") {
  CHECK(Replay(0).Below(7) == 0);
  CHECK(Replay(20).Below(7) == 6);
  CHECK(Replay(UINT64_MAX).Below(1) == 0);
  CHECK(Replay(UINT64_MAX).Below(UINT64_MAX) == 0);
}

TEST_CASE("the system's numbers repeat neither in a thread nor across threads", "[random]") {
  SystemRandom random;
  std::array<std::vector<uint64_t>, 4> drawn;
  std::vector<std::thread> threads;
  for (auto& numbers : drawn) {
    threads.emplace_back([&random, &numbers] {
      for (int i = 0; i < 1000; ++i) numbers.push_back(random.Next());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const auto& numbers : drawn) all.insert(all.end(), numbers.begin(), numbers.end());
  std::sort(all.begin(), all.end());
  // A collision among 4000 has a chance below 10^-12.
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
  // Each bit is set about half the time: 2000 of 4000, standard deviation 32.
  for (int bit = 0; bit < 64; ++bit) {
    const auto set = std::count_if(all.begin(), all.end(),
                                   [bit](uint64_t value) { return (value >> bit & 1) != 0; });
    CHECK(set > 1680);
    CHECK(set < 2320);
  }
}

}  // namespace chatchain
