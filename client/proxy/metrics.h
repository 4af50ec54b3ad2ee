// SPDX-License-Identifier: MIT
// What the proxy counts. Counters only grow; everything is lock-free and may be read at any time.
// Rendering (names, HELP, TYPE) is in client/http/metrics_page.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace chatchain {

using Counter = std::atomic<uint64_t>;

// A Prometheus histogram of durations. Each bucket counts its own range; rendering adds them up, so
// that what is shown is monotonic even while it is being counted.
class DurationHistogram {
 public:
  static constexpr std::array<int64_t, 14> kBoundsUs = {
      500,     1'000,   2'000,   5'000,     10'000,    20'000,    50'000,
      100'000, 200'000, 500'000, 1'000'000, 2'000'000, 5'000'000, 10'000'000};

  void Observe(int64_t us) {
    size_t bucket = 0;
    while (bucket < kBoundsUs.size() && us > kBoundsUs[bucket]) ++bucket;
    buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_us_.fetch_add(static_cast<uint64_t>(us < 0 ? 0 : us), std::memory_order_relaxed);
  }
  // The last one is of those above all bounds.
  uint64_t bucket(size_t i) const { return buckets_[i].load(std::memory_order_relaxed); }
  uint64_t sum_us() const { return sum_us_.load(std::memory_order_relaxed); }

 private:
  std::array<Counter, kBoundsUs.size() + 1> buckets_{};
  Counter sum_us_{0};
};

// Of one node. Every exchange has exactly one outcome.
struct NodeMetrics {
  Counter final_answers{0};
  Counter not_final{0};
  Counter refused{0};    // 503 and the like
  Counter faults{0};     // no answer, or one that no sound node gives
  Counter cancelled{0};  // another node was faster
  Counter batches{0};
  Counter batch_items{0};
  Counter queue_full{0};  // messages that found the node's queue full
  DurationHistogram duration;
};

enum class RouteId { kSend, kSendBatch, kList, kListLines, kGet };
inline constexpr size_t kRouteCount = 5;
// "POST /messages" and so on.
std::string_view RouteName(RouteId route);

// Of one route.
struct RouteMetrics {
  std::array<Counter, 5> by_class{};  // 1xx .. 5xx
  DurationHistogram duration;
};

struct ProxyMetrics {
  std::array<RouteMetrics, kRouteCount> routes;
  Counter hedges{0};          // second nodes asked because the first was slow
  Counter hedges_refused{0};  // not asked: over the budget
  Counter rounds{0};          // all nodes failed, and all were asked again
  Counter rounds_refused{0};
  Counter rate_limited{0};   // requests over their client's rate
  Counter shared_reads{0};   // answered by what another client's identical request got
  Counter shared_writes{0};  // the same of requests with the same key
  Counter unanswered{0};     // requests that no node could take
};

}  // namespace chatchain
