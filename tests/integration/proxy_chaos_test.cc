// SPDX-License-Identifier: MIT
// Nodes are killed and paused at random while clients write to and read from the proxy: no request
// fails while one node lives. CHATCHAIN_CHAOS_STEPS=150 makes a long run of it (so many kills and
// pauses), CHATCHAIN_CHAOS_SEED repeats one:
//
//     CHATCHAIN_CHAOS_STEPS=150 build/release/bin/chatchain-integration-tests "[chaos]"
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr milliseconds kDeadline{5000};  // of one request at the proxy
constexpr milliseconds kBusyMachine{2000};
constexpr size_t kBetweenSteps = 30;  // messages

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

// Reads pages through the proxy without a pause; counts what is not a good answer.
class Readers {
 public:
  Readers(const std::string& proxy, int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, proxy, i] {
        Api api(proxy, kDeadline + kBusyMachine);
        // No two readers ask for the same, or they would share their answers.
        const std::string target = "/messages?order=desc&limit=" + std::to_string(10 + i);
        while (!stopping_) {
          const Answer answer = api.Get(target);
          ++reads_;
          if (answer.status == 200) continue;
          ++failures_;
          std::lock_guard lock(mutex_);
          last_failure_ = answer.text();
        }
      });
    }
  }
  ~Readers() { Stop(); }
  void Stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  uint64_t reads() const { return reads_; }
  uint64_t failures() const { return failures_; }
  std::string last_failure() {
    std::lock_guard lock(mutex_);
    return last_failure_;
  }

 private:
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> reads_{0};
  std::atomic<uint64_t> failures_{0};
  std::mutex mutex_;
  std::string last_failure_;
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("nodes die and hang at random, and no client of the proxy notices", "[chaos]") {
  const uint64_t steps = FromEnvironment("CHATCHAIN_CHAOS_STEPS", 10);
  const uint64_t seed = FromEnvironment("CHATCHAIN_CHAOS_SEED", std::random_device{}());
  INFO("CHATCHAIN_CHAOS_SEED=" << seed << " CHATCHAIN_CHAOS_STEPS=" << steps);
  std::mt19937_64 random(seed);

  Cluster cluster;
  cluster.StartAll();
  const std::string proxy = cluster.StartProxy().address();
  Ledger ledger;
  Load::Options patient;
  patient.timeout = kDeadline + kBusyMachine;
  Load load({proxy}, ledger, patient);
  Readers readers(proxy, 2);
  enum class State { kUp, kKilled, kPaused };
  std::vector<State> states(cluster.size(), State::kUp);
  uint64_t kills = 0;
  uint64_t pauses = 0;
  while (kills + pauses < steps) {
    load.AwaitMore(kBetweenSteps);
    const size_t i = random() % cluster.size();
    Node& node = cluster.node(i);
    if (states[i] == State::kKilled) {
      node.Start();
      states[i] = State::kUp;
    } else if (states[i] == State::kPaused) {
      node.Resume();
      states[i] = State::kUp;
    } else if (std::count(states.begin(), states.end(), State::kUp) > 1) {
      const bool kill = random() % 2 == 0;
      if (kill) {
        node.Kill();
      } else {
        node.Pause();
      }
      states[i] = kill ? State::kKilled : State::kPaused;
      ++(kill ? kills : pauses);
    }
    INFO("after " << kills << " kills and " << pauses << " pauses: " << readers.last_failure());
    REQUIRE(load.failures() == 0);
    REQUIRE(readers.failures() == 0);
  }
  for (size_t i = 0; i < cluster.size(); ++i) {
    if (states[i] == State::kKilled) cluster.node(i).Start();
    if (states[i] == State::kPaused) cluster.node(i).Resume();
  }
  load.AwaitMore(kBetweenSteps);
  load.Stop();
  readers.Stop();
  CHECK(load.failures() == 0);
  INFO(readers.last_failure());
  CHECK(readers.failures() == 0);
  CHECK(readers.reads() > 0);
  std::cout << "CHATCHAIN_CHAOS_SEED=" << seed << ": " << kills << " kills, " << pauses
            << " pauses; " << ledger.size() << " messages written and " << readers.reads()
            << " pages read through the proxy, " << load.failures() + readers.failures()
            << " requests failed\n";
  CheckConverged(cluster.addresses(), ledger);
  CheckHolds(proxy, ledger);
}

}  // namespace chatchain::testing
