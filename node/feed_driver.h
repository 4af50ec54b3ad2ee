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

  Try<feed::Page> Read(const std::string& token, const Filter& filter) override;
  // Numbers tell all: a page that joins the ring names the last one that it covers.
  Order Compare(const std::string& /*token*/, const feed::Event& /*event*/) override {
    return Order::kBefore;
  }

  feed::HubStats stats() const { return hub_.stats(); }

 private:
  Try<feed::Page> ReadPage(const FeedPosition& position, const Filter& filter);
  void Run();
  void Follow();

  Feed& feed_;
  SqliteStorage& storage_;
  const Clock& clock_;
  feed::Hub hub_;
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> reached_ns_{0};
  std::thread thread_;
};

}  // namespace chatchain
