// SPDX-License-Identifier: MIT
// Long polls that wait for something new: subscriptions that take one answer. None holds a thread
// while it waits. Ends when there is something, at its time, when its client goes away, and when
// draining begins. Thread-safe; the polls themselves belong to the server's event loop.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>

#include "common/feed/hub.h"
#include "common/feed/poll.h"
#include "common/http/later.h"
#include "common/protocol/problem.h"

namespace chatchain::feed {

class WaitingPolls {
 public:
  // `post` and `post_at` run something on the event loop.
  using Post = Hub::Post;
  using PostAt = std::function<void(SteadyTime, std::function<void()>)>;

  // At most `most` wait at a time.
  explicit WaitingPolls(size_t most) : most_(most) {}
  // Once, before the first Wait().
  void Start(Post post, PostAt post_at);

  struct Wanted {
    size_t events = 0;  // at most
    size_t bytes = 0;   // of them, roughly; one is always given
    SteadyTime until;
  };
  // The answer of what comes to `subscription`, as `make` writes it on a worker. 503 where too many
  // wait.
  Try<http::Response> Wait(std::shared_ptr<Subscription> subscription, const Wanted& wanted,
                           std::function<http::Response(Polled)> make);
  // Answers all that wait, and from now on at once. REQUIRES: before the server ends, if any
  // waited.
  void Drain();

  uint64_t waiting() const { return waiting_.load(); }

 private:
  class Poll;
  // On the event loop.
  void Add(const std::shared_ptr<Poll>& poll);
  void Remove(Poll* poll);
  void Schedule();

  const size_t most_;
  Post post_;
  PostAt post_at_;
  std::atomic<uint64_t> waiting_{0};
  std::atomic<bool> draining_{false};

  // Of the event loop.
  std::multimap<SteadyTime, std::shared_ptr<Poll>> polls_;  // by their time
  SteadyTime tick_at_ = SteadyTime::max();
};

}  // namespace chatchain::feed
