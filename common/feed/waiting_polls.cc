// SPDX-License-Identifier: MIT
#include "common/feed/waiting_polls.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/util/contain.h"

namespace chatchain::feed {

namespace {

// How often those are looked at that the ring has nothing for: their node is behind.
constexpr std::chrono::milliseconds kTick{250};

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

class WaitingPolls::Poll final : public http::LaterAnswer,
                                 public std::enable_shared_from_this<Poll> {
 public:
  Poll(WaitingPolls& polls, std::shared_ptr<Subscription> subscription, const Wanted& wanted,
       std::function<http::Response(Polled)> make)
      : polls_(polls),
        subscription_(std::move(subscription)),
        wanted_(wanted),
        make_(std::move(make)) {}
  ~Poll() override { polls_.waiting_.fetch_sub(1); }

  void Begin(std::function<void()> resume) override {
    polls_.post_([self = shared_from_this(), resume = std::move(resume)]() mutable {
      self->resume_ = std::move(resume);
      self->polls_.Add(self);
    });
  }
  http::Response Finish() override { return make_(std::move(polled_)); }
  bool waits_long() const override { return true; }
  void Cancel() override {
    polls_.post_([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->cancelled_ = true;
      self->End();
    });
  }

  // ---- on the event loop

  SteadyTime until() const { return wanted_.until; }

  void Attach() {
    subscription_->Attach([this] { Take(); });
    Take();
  }

  // Takes what there is, and ends when that is something to be told.
  void Take() {
    if (subscription_ == nullptr) return;
    size_t bytes = 0;
    while (polled_.events.size() < wanted_.events && bytes < wanted_.bytes) {
      auto item = subscription_->Next();
      if (!item) break;
      switch (item->kind) {
        case Subscription::Item::Kind::kToken: break;
        case Subscription::Item::Kind::kGap: polled_.gap = true; break;
        case Subscription::Item::Kind::kStatus: polled_.behind = item->behind; break;
        case Subscription::Item::Kind::kEvent:
          bytes += item->event->json.size();
          polled_.events.push_back(std::move(item->event));
          break;
      }
    }
    if (!polled_.events.empty() || polled_.gap || cancelled_ || subscription_->failed() ||
        Now() >= wanted_.until) {
      End();
    }
  }

  void End() {
    if (!resume_) return;  // not begun, or ended already
    polled_.token = subscription_->token();
    subscription_->Detach();
    subscription_.reset();
    const auto resume = std::exchange(resume_, nullptr);
    polls_.Remove(this);
    resume();
  }

 private:
  WaitingPolls& polls_;
  std::shared_ptr<Subscription> subscription_;
  const Wanted wanted_;
  const std::function<http::Response(Polled)> make_;
  Polled polled_;
  bool cancelled_ = false;
  std::function<void()> resume_;  // set while it waits
};

void WaitingPolls::Start(Post post, PostAt post_at) {
  post_ = std::move(post);
  post_at_ = std::move(post_at);
}

Try<http::Response> WaitingPolls::Wait(std::shared_ptr<Subscription> subscription,
                                       const Wanted& wanted,
                                       std::function<http::Response(Polled)> make) {
  // Its destructor takes it off again.
  if (waiting_.fetch_add(1) >= most_) {
    waiting_.fetch_sub(1);
    return Err(Unavailable("too many polls wait here; GET /messages/stream needs none"));
  }
  http::Response response;
  response.later = std::make_shared<Poll>(*this, std::move(subscription), wanted, std::move(make));
  return response;
}

void WaitingPolls::Drain() {
  draining_ = true;
  // One that comes at this moment counts already, or sees that draining has begun.
  if (waiting_ == 0) return;
  post_([this] {
    while (!polls_.empty()) polls_.begin()->second->End();
  });
}

void WaitingPolls::Add(const std::shared_ptr<Poll>& poll) {
  polls_.emplace(poll->until(), poll);
  poll->Attach();
  if (draining_) return poll->End();
  Schedule();
}

void WaitingPolls::Schedule() {
  if (polls_.empty()) return;
  const SteadyTime at = std::min(polls_.begin()->first, Now() + kTick);
  if (tick_at_ <= at) return;
  tick_at_ = at;
  post_at_(at, [this, at] {
    if (tick_at_ == at) tick_at_ = SteadyTime::max();
    std::vector<std::shared_ptr<Poll>> all;
    all.reserve(polls_.size());
    for (const auto& [until, poll] : polls_) all.push_back(poll);
    for (const auto& poll : all) {
      Contained("a poll that waits", [&] { poll->Take(); });
    }
    Schedule();
  });
}

void WaitingPolls::Remove(Poll* poll) {
  const auto [begin, end] = polls_.equal_range(poll->until());
  const auto it =
      std::find_if(begin, end, [&](const auto& each) { return each.second.get() == poll; });
  if (it != end) polls_.erase(it);
}

}  // namespace chatchain::feed
