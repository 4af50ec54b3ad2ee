// SPDX-License-Identifier: MIT
#include "client/proxy/hedger.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace chatchain {

namespace {
constexpr auto kTick = std::chrono::milliseconds(5);
// Idle ticks before it sleeps: a lone client must not pay a wake-up for each of its reads.
constexpr int kIdleTicks = 200;
}  // namespace

Hedger::Hedger(std::vector<NodeLink*> nodes, Budgets& budgets, ProxyMetrics& metrics,
               HelperPool& helpers, const Clock& clock)
    : nodes_(std::move(nodes)),
      budgets_(budgets),
      metrics_(metrics),
      helpers_(helpers),
      clock_(clock),
      thread_([this] { Run(); }) {}

Hedger::~Hedger() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

Hedger::Watch::Watch(Hedger& hedger, std::shared_ptr<ReadRace> race, int64_t delay_ms,
                     bool may_hedge)
    : hedger_(hedger),
      race_(std::move(race)),
      due_(hedger.clock_.Steady() + std::chrono::milliseconds(delay_ms)),
      considered_(!may_hedge) {
  bool wake = false;
  {
    MutexLock lock(hedger_.mutex_);
    slot_ = hedger_.watches_.size();
    hedger_.watches_.push_back(this);
    wake = hedger_.asleep_;
  }
  if (wake) hedger_.wake_.NotifyAll();
}

Hedger::Watch::~Watch() {
  MutexLock lock(hedger_.mutex_);
  Watch* last = hedger_.watches_.back();
  hedger_.watches_[slot_] = last;
  last->slot_ = slot_;
  hedger_.watches_.pop_back();
}

void Hedger::Run() {
  pthread_setname_np(pthread_self(), "hedger");
  int idle_ticks = 0;
  std::vector<std::pair<std::shared_ptr<ReadRace>, bool>> due;
  while (true) {
    due.clear();
    {
      MutexLock lock(mutex_);
      while (!stopping_ && watches_.empty() && idle_ticks >= kIdleTicks) {
        asleep_ = true;
        wake_.Wait(mutex_);
      }
      asleep_ = false;
      if (!stopping_) wake_.WaitUntil(mutex_, clock_.Steady() + kTick);
      if (stopping_) return;
      idle_ticks = watches_.empty() ? idle_ticks + 1 : 0;
      const SteadyTime now = clock_.Steady();
      for (Watch* watch : watches_) {
        if (watch->due_ > now) continue;
        due.emplace_back(watch->race_, watch->considered_);
        // Refused or not, the budget is asked once a read; later looks only see a mute node.
        watch->considered_ = true;
      }
    }
    for (const auto& [race, asked_before] : due) Consider(race, asked_before);
  }
}

void Hedger::Consider(const std::shared_ptr<ReadRace>& race, bool asked_before) {
  const SteadyTime now = clock_.Steady();
  const std::vector<ReadRace::RunningTry> running = race->running_tries();
  if (running.empty()) return;
  const auto all = [&](auto says) {
    return std::all_of(
        running.begin(), running.end(), [&](const ReadRace::RunningTry& running_try) {
          return says(*nodes_[static_cast<size_t>(running_try.node)], running_try.since);
        });
  };
  const bool mute = all([&](const NodeLink& node, SteadyTime) { return node.View(now).mute; });
  const bool quiet = !race->may_wait() && all([&](const NodeLink& node, SteadyTime since) {
    return node.Quiet(since, now);
  });
  const bool moving_on = mute || quiet;
  if (moving_on && race->Settle()) return;
  if (!race->CanHedge(moving_on)) return;
  if (!moving_on) {
    if (asked_before) return;
    if (!budgets_.hedges.Take(now)) {
      metrics_.hedges_refused.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  } else if (!mute && !budgets_.retries.Take(now)) {
    return;  // until it is mute, or the budget has grown
  }
  const int node = race->TakeHedge(moving_on);
  if (node < 0) return;
  metrics_.hedges.fetch_add(1, std::memory_order_relaxed);
  if (!helpers_.Submit([race, node] { race->Run(node); })) race->GiveBack(node);
}

}  // namespace chatchain
