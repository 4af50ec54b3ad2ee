// SPDX-License-Identifier: MIT
#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/support/sim_cluster.h"

namespace chatchain {

namespace {

// CHATCHAIN_SEEDS="from:to" runs those; sanitizers make every seed several times as expensive.
std::pair<uint64_t, uint64_t> Seeds() {
  if (const char* text = std::getenv("CHATCHAIN_SEEDS")) {
    char* end = nullptr;
    const uint64_t from = std::strtoull(text, &end, 10);
    return {from, *end == ':' ? std::strtoull(end + 1, nullptr, 10) : from + 1};
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return {1, 31};
#else
  return {1, 301};
#endif
}

}  // namespace

TEST_CASE("Whatever happens, healed nodes hold the same, and all that was acknowledged",
          "[convergence]") {
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::off);  // damage and forks are what it is about
  const auto [from, to] = Seeds();
  std::map<std::string, int> counts;
  for (uint64_t seed = from; seed < to; ++seed) {
    test::SimCluster cluster(seed);
    cluster.Run(150);
    cluster.Heal();
    const std::vector<std::string> problems = cluster.Problems();
    for (const auto& [what, count] : cluster.counts()) counts[what] += count;
    if (problems.empty()) continue;
    std::string text;
    for (const std::string& problem : problems) text += "\n  " + problem;
    FAIL_CHECK("seed " << seed << " (again: CHATCHAIN_SEEDS=" << seed << "):" << text);
    break;
  }
  spdlog::set_level(level);
  if (to - from < 30) return;
  // A fault that never happens proves nothing.
  for (const char* what : {"pull", "crash", "stop", "snapshot", "restore", "wipe", "clone", "fork",
                           "damage", "ahead", "sent", "known", "key reused"}) {
    INFO(what);
    CHECK(counts[what] > 0);
  }
}

}  // namespace chatchain
