// SPDX-License-Identifier: MIT
// Watches reads that wait for their node and sends a second try when the first is slow: after its
// p95, at most once a read, within the budget. Nodes that are mute (hung) are left without asking
// the budget, under every strategy: that is moving on, not hedging. Before a node counts as mute, a
// read that need not wait for anything moves on within the retry budget; and an answer that is not
// final does not wait for nodes that hang.
//
// One thread, named "hedger", looks every 5 ms while reads are under way; a read that is answered
// fast costs an entry in a list and no wake-up. Thread-safe.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "client/proxy/budgets.h"
#include "client/proxy/helper_pool.h"
#include "client/proxy/read_race.h"

namespace chatchain {

class Hedger {
 public:
  Hedger(std::vector<NodeLink*> nodes, Budgets& budgets, ProxyMetrics& metrics, HelperPool& helpers,
         const Clock& clock);
  ~Hedger();
  Hedger(const Hedger&) = delete;
  Hedger& operator=(const Hedger&) = delete;

  // Watches `race` from the construction of this object to its end.
  class Watch {
   public:
    // `may_hedge` false: only moves on from mute nodes.
    Watch(Hedger& hedger, std::shared_ptr<ReadRace> race, int64_t delay_ms, bool may_hedge);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    friend class Hedger;
    Hedger& hedger_;
    const std::shared_ptr<ReadRace> race_;
    const SteadyTime due_;
    size_t slot_ = 0;  // guarded by hedger_.mutex_
    bool considered_;  // guarded by hedger_.mutex_: the budget was asked, or must not be
  };

 private:
  void Run();
  void Consider(const std::shared_ptr<ReadRace>& race, bool asked_before);

  const std::vector<NodeLink*> nodes_;
  Budgets& budgets_;
  ProxyMetrics& metrics_;
  HelperPool& helpers_;
  const Clock& clock_;

  Mutex mutex_;
  CondVar wake_;
  std::vector<Watch*> watches_ GUARDED_BY(mutex_);
  bool asleep_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace chatchain
