// SPDX-License-Identifier: MIT
#include "client/proxy/read_race.h"

#include <algorithm>
#include <utility>

#include "client/proxy/pacing.h"

namespace chatchain {

ReadRace::ReadRace(std::shared_ptr<const ReadRequest> request, Choice choice)
    : request_(std::move(request)), choice_(std::move(choice)) {}

bool ReadRace::MayAskMore() const {
  if (over_ || taken_ >= choice_.order.size()) return false;
  return !result_.answered || taken_ < choice_.first_tier();
}

int ReadRace::TakeLocked() {
  ++pending_;
  ++result_.attempts;
  return choice_.order[taken_++];
}

int ReadRace::TakeNext() {
  MutexLock lock(mutex_);
  return MayAskMore() ? TakeLocked() : -1;
}

int ReadRace::TakeFanout() {
  MutexLock lock(mutex_);
  return !over_ && taken_ < choice_.first_tier() ? TakeLocked() : -1;
}

bool ReadRace::MayHedge(bool moving_on) const {
  if (over_ || pending_ == 0 || taken_ >= choice_.order.size()) return false;
  return moving_on || (!hedged_ && taken_ < choice_.first_tier());
}

bool ReadRace::CanHedge(bool moving_on) const {
  MutexLock lock(mutex_);
  return MayHedge(moving_on);
}

int ReadRace::TakeHedge(bool moving_on) {
  MutexLock lock(mutex_);
  if (!MayHedge(moving_on)) return -1;
  hedged_ = true;
  return TakeLocked();
}

bool ReadRace::Settle() {
  std::vector<std::shared_ptr<http::Cancellation>> losers;
  {
    MutexLock lock(mutex_);
    if (over_ || !result_.answered || taken_ < choice_.first_tier()) return false;
    over_ = true;
    for (const Try& loser : tries_) losers.push_back(loser.cancellation);
  }
  for (const auto& loser : losers) loser->Cancel();
  return true;
}

std::vector<ReadRace::RunningTry> ReadRace::running_tries() const {
  MutexLock lock(mutex_);
  std::vector<RunningTry> tries;
  for (const Try& running : tries_) tries.push_back({running.node, running.since});
  return tries;
}

bool ReadRace::IsRunning(const http::Cancellation* cancellation) const {
  MutexLock lock(mutex_);
  return std::any_of(tries_.begin(), tries_.end(),
                     [&](const Try& t) { return t.cancellation.get() == cancellation; });
}

ReadRace::Opened ReadRace::Open(int node, SteadyTime now) {
  Opened opened{.cancellation = std::make_shared<http::Cancellation>()};
  MutexLock lock(mutex_);
  const int64_t left_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(request_->deadline - now).count();
  const size_t tier_end = std::max(choice_.first_tier(), taken_);
  opened.deadline = std::min(
      request_->deadline, now + std::chrono::milliseconds(TryShareMs(
                                    left_ms, tier_end - taken_, choice_.order.size() - tier_end)));
  // Somebody else may have won already.
  if (over_) opened.cancellation->Cancel();
  tries_.push_back({node, now, opened.cancellation});
  return opened;
}

void ReadRace::Conclude(int node, const http::Cancellation* cancellation, NodeAnswer answer) {
  std::vector<std::shared_ptr<http::Cancellation>> losers;
  {
    MutexLock lock(mutex_);
    --pending_;
    std::erase_if(tries_, [&](const Try& t) { return t.cancellation.get() == cancellation; });
    const AnswerVerdict& verdict = answer.verdict;
    if (over_ || answer.cancelled) {
      // Somebody else has won.
    } else if (verdict.finality == Finality::kFailed) {
      result_.failures.push_back(std::move(answer.error));
    } else if (verdict.finality == Finality::kFinal || !result_.answered ||
               verdict.rank > best_rank_) {
      result_.answered = true;
      result_.response = std::move(answer.response);
      result_.node = node;
      best_rank_ = verdict.rank;
      if (verdict.finality == Finality::kFinal) {
        over_ = true;
        for (const Try& loser : tries_) losers.push_back(loser.cancellation);
      }
    }
  }
  for (const auto& loser : losers) loser->Cancel();
}

bool ReadRace::over() const {
  MutexLock lock(mutex_);
  return over_;
}

size_t ReadRace::running() const {
  MutexLock lock(mutex_);
  return pending_;
}

bool ReadRace::answered() const {
  MutexLock lock(mutex_);
  return result_.answered;
}

ReadResult ReadRace::Take() {
  std::vector<std::shared_ptr<http::Cancellation>> losers;
  ReadResult result;
  {
    MutexLock lock(mutex_);
    over_ = true;
    for (const Try& loser : tries_) losers.push_back(loser.cancellation);
    result = std::move(result_);
  }
  for (const auto& loser : losers) loser->Cancel();
  return result;
}

}  // namespace chatchain
