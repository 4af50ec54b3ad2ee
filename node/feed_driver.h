// SPDX-License-Identifier: MIT
// The feed's thread and hub: one thread follows the commits, reads each new message once and
// publishes it to all who follow; nobody follows, and it rests. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "common/feed/hub.h"
#include "node/service/feed.h"
#include "node/store/sqlite_storage.h"

namespace chatchain {

feed::EventPtr EventOf(FeedStep&& step);

class FeedDriver final : public feed::Source {
 public:
  FeedDriver(Feed& feed, SqliteStorage& storage, const Clock& clock);
  ~FeedDriver() override;

  void Start(feed::Hub::Post post);
  // REQUIRES: before the server that `post` belongs to ends.
  void Stop();

  // A subscription that begins at `position`, which Feed::Decode() and Reach() gave.
  Try<std::shared_ptr<feed::Subscription>> Subscribe(const FeedPosition& position,
                                                     const Filter& filter);

  // One that goes on where `answer` ends. REQUIRES: `answer` has no more to be read at once.
  std::shared_ptr<feed::Subscription> Follow(const FeedAnswer& answer, const Filter& filter);

  Try<feed::Page> Read(const std::string& token, const Filter& filter) override;
  // Numbers tell all: a page that joins the ring names the last one that it covers.
  Order Compare(const std::string& /*token*/, const feed::Event& /*event*/) override {
    return Order::kBefore;
  }

  feed::HubStats stats() const { return hub_.stats(); }
  // Committed and not looked at yet; 0 while nobody follows.
  int64_t lag_records() const;

 private:
  Try<feed::Page> ReadPage(const FeedPosition& position, const Filter& filter);
  void Run();
  void Publish();

  Feed& feed_;
  SqliteStorage& storage_;
  const Clock& clock_;
  feed::Hub hub_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> reached_ns_{0};
  std::atomic<bool> hold_back_{true};      // as the last Reach() that was behind said
  std::atomic<int64_t> followed_ref_{-1};  // -1: nobody follows
  std::thread thread_;
};

}  // namespace chatchain
