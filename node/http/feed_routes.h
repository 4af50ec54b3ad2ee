// SPDX-License-Identifier: MIT
// The feed's routes: GET /messages/poll, /messages/stream, /ws, and GET /conversations.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/feed/socket.h"
#include "common/feed/waiting_polls.h"
#include "common/http/server.h"
#include "node/feed_driver.h"
#include "node/http/api.h"
#include "node/service/conversations.h"
#include "node/service/feed.h"
#include "node/service/service.h"

namespace chatchain {

class FeedRoutes {
 public:
  struct Options {
    std::string cluster;
    std::vector<std::string> origins;  // of pages that may open a WebSocket
    int request_timeout_ms = 5000;
    int session_wait_ms = 500;
    size_t max_waiting_polls = 8192;
  };

  FeedRoutes(Options options, Feed& feed, FeedDriver& driver, Conversations& conversations,
             NodeApi& api, const Clock& clock);

  std::vector<http::Route> Routes();
  // Once, before `server` starts. It must end before this does.
  void Start(http::Server& server);
  // Polls that wait are answered at once from now on. REQUIRES: called before the server ends,
  // which waits for them.
  void set_draining();
  uint64_t waiting_polls() const { return polls_.waiting(); }

 private:
  Try<http::Response> Poll(http::Request& request);
  Try<http::Response> Stream(http::Request& request);
  Try<http::Response> Socket(http::Request& request);
  Try<http::Response> List(http::Request& request);
  Try<FeedPosition> Enter(const std::optional<std::string>& after);
  Try<std::shared_ptr<feed::Subscription>> Subscribe(const feed::FeedRequest& request);

  const Options options_;
  const TokenCodec tokens_;
  Feed& feed_;
  FeedDriver& driver_;
  Conversations& conversations_;
  NodeApi& api_;
  const Clock& clock_;
  feed::WaitingPolls polls_;
  feed::SocketBackend backend_;
  std::atomic<bool> draining_{false};
};

}  // namespace chatchain
