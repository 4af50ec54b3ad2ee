// SPDX-License-Identifier: MIT
// The feed's routes: GET /messages/poll, /messages/stream, /ws, and GET /conversations.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/feed/socket.h"
#include "common/http/server.h"
#include "node/feed_driver.h"
#include "node/service/feed.h"
#include "node/service/service.h"

namespace chatchain {

class FeedRoutes {
 public:
  struct Options {
    std::vector<std::string> origins;  // of pages that may open a WebSocket
    int request_timeout_ms = 5000;
    int session_wait_ms = 500;
  };

  // `send`: the handler of POST /messages.
  FeedRoutes(Options options, Feed& feed, FeedDriver& driver, SqliteStorage& storage,
             const Clock& clock, http::Handler send);

  std::vector<http::Route> Routes();
  // Polls that wait are answered at once from now on.
  void set_draining() { draining_.store(true); }

 private:
  Try<http::Response> Poll(http::Request& request);
  Try<http::Response> Stream(http::Request& request);
  Try<http::Response> Socket(http::Request& request);
  Try<FeedPosition> Enter(const std::optional<std::string>& after);
  Try<std::shared_ptr<feed::Subscription>> Subscribe(const feed::FeedRequest& request);

  const Options options_;
  Feed& feed_;
  FeedDriver& driver_;
  SqliteStorage& storage_;
  const Clock& clock_;
  feed::SocketBackend backend_;
  std::atomic<bool> draining_{false};
};

}  // namespace chatchain
