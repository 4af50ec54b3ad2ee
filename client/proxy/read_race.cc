// SPDX-License-Identifier: MIT
#include "client/proxy/read_race.h"

#include <algorithm>
#include <utility>

#include "client/proxy/pacing.h"
#include "client/proxy/upstream.h"

namespace chatchain {

ReadRace::ReadRace(std::shared_ptr<const ReadRequest> request, std::vector<NodeLink*> nodes,
                   Choice choice, const Clock& clock)
    : request_(std::move(request)),
      nodes_(std::move(nodes)),
      clock_(clock),
      choice_(std::move(choice)) {}

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
    changed_.NotifyAll();
  }
  for (const auto& loser : losers) loser->Cancel();
  return true;
}

void ReadRace::GiveBack(int node) {
  MutexLock lock(mutex_);
  --pending_;
  --result_.attempts;
  --taken_;
  // Another thread may have taken a node since: the one given back is the next again.
  const auto position = std::find(choice_.order.begin(), choice_.order.end(), node);
  std::rotate(position, position + 1,
              choice_.order.begin() + static_cast<std::ptrdiff_t>(taken_ + 1));
  changed_.NotifyAll();
}

std::vector<ReadRace::RunningTry> ReadRace::running_tries() const {
  MutexLock lock(mutex_);
  std::vector<RunningTry> tries;
  for (const Try& running : tries_) tries.push_back({running.node, running.since});
  return tries;
}

void ReadRace::Run(int node) {
  auto cancellation = std::make_shared<http::Cancellation>();
  SteadyTime deadline = request_->deadline;
  const SteadyTime now = clock_.Steady();
  bool skip = false;
  {
    MutexLock lock(mutex_);
    const int64_t left_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now).count();
    const size_t tier_end = std::max(choice_.first_tier(), taken_);
    deadline =
        std::min(deadline, now + std::chrono::milliseconds(TryShareMs(
                                     left_ms, tier_end - taken_, choice_.order.size() - tier_end)));
    skip = over_;
    if (!skip) tries_.push_back({node, now, cancellation});
  }
  NodeAnswer answer;
  if (!skip) {
    http::ClientRequest request{
        .method = "GET", .target = request_->target, .headers = request_->headers};
    request.headers.Set("ChatChain-Deadline-Ms", DeadlineMs(deadline, now));
    answer = nodes_[static_cast<size_t>(node)]->Ask(request, request_->expect, deadline,
                                                    cancellation.get());
  }

  std::vector<std::shared_ptr<http::Cancellation>> losers;
  {
    MutexLock lock(mutex_);
    --pending_;
    std::erase_if(tries_, [&](const Try& t) { return t.cancellation == cancellation; });
    const AnswerVerdict& verdict = answer.verdict;
    if (skip || over_ || answer.cancelled) {
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
    changed_.NotifyAll();
  }
  for (const auto& loser : losers) loser->Cancel();
}

void ReadRace::WaitForTries(SteadyTime until) {
  MutexLock lock(mutex_);
  while (!over_ && pending_ > 0) {
    if (!changed_.WaitUntil(mutex_, until)) return;
  }
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
