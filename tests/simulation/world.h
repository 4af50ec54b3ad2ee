// SPDX-License-Identifier: MIT
// What everything in a simulation shares: virtual time and the queue of events, one source of
// randomness, the trace, and what the checkers found. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/util/clock.h"
#include "tests/support/seeded_random.h"

namespace chatchain::simulation {

class World {
 public:
  World(uint64_t seed, bool print_trace) : random_(seed), print_trace_(print_trace) {}

  int64_t now_us() const { return now_us_; }
  SteadyTime Steady() const { return SteadyTime{} + std::chrono::microseconds(now_us_); }
  test::SeededRandom& random() { return random_; }
  uint64_t Below(uint64_t bound) { return random_.Below(bound); }
  // `rate`: per thousand.
  bool Happens(uint64_t rate) { return rate > 0 && random_.Below(1000) < rate; }

  void Post(int64_t delay_us, std::function<void()> run) {
    queue_.push({now_us_ + std::max<int64_t>(delay_us, 0), ++posted_, std::move(run)});
  }
  // The next event. REQUIRES: there is one.
  void Step() {
    Event event = std::move(const_cast<Event&>(queue_.top()));
    queue_.pop();
    now_us_ = event.at_us;
    ++steps_;
    event.run();
  }
  bool idle() const { return queue_.empty(); }
  uint64_t steps() const { return steps_; }

  // One line of the trace; its hash is the run's.
  void Trace(std::string_view what, std::string_view who, std::string_view detail = {}) {
    const std::string line = std::to_string(now_us_) + " " + std::string(what) + " " +
                             std::string(who) + (detail.empty() ? "" : " ") + std::string(detail);
    for (const char c : line) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash_ = (hash_ ^ '\n') * 0x100000001b3;
    if (print_trace_) Print(line);
  }
  uint64_t hash() const { return hash_; }  // FNV-1a

  void Count(const std::string& what) { ++counts_[what]; }
  const std::map<std::string, uint64_t>& counts() const { return counts_; }

  // A promise that was broken.
  void Violation(std::string_view checker, const std::string& what) {
    violations_.push_back(std::string(checker) + ": " + what);
    Trace("VIOLATION", checker, what);
  }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  struct Event {
    int64_t at_us;
    uint64_t number;
    std::function<void()> run;
    bool operator<(const Event& other) const {
      return std::pair(at_us, number) > std::pair(other.at_us, other.number);
    }
  };
  static void Print(const std::string& line);

  test::SeededRandom random_;
  const bool print_trace_;
  std::priority_queue<Event> queue_;
  int64_t now_us_ = 0;
  uint64_t posted_ = 0;
  uint64_t steps_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::map<std::string, uint64_t> counts_;
  std::vector<std::string> violations_;
};

}  // namespace chatchain::simulation
