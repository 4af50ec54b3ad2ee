// SPDX-License-Identifier: MIT
// The proxy's live routes: GET /messages/poll, /messages/stream, /ws, and GET /conversations.
#pragma once

#include <string>
#include <vector>

#include "client/http/routes.h"
#include "client/proxy/follow.h"
#include "common/feed/socket.h"
#include "common/feed/waiting_polls.h"
#include "common/http/server.h"

namespace chatchain {

class StreamRoutes {
 public:
  // All of it outlives the server. `send`: the handler of POST /messages.
  StreamRoutes(const RouteContext& context, Follower& follower, http::Handler send);
  std::vector<http::Route> Routes();
  // Once `server` has started, whose event loop the polls wait on.
  void Start(http::Server& server);
  // Answers the polls that wait. REQUIRES: before the server ends, if any waited.
  void set_draining() { polls_.Drain(); }
  // For /metrics.
  uint64_t waiting_polls() const { return polls_.waiting(); }

 private:
  http::Response Poll(http::Request& request);
  http::Response Wait(const feed::FeedRequest& poll, bool as_blocks);
  http::Response Stream(http::Request& request);
  http::Response Socket(http::Request& request);
  http::Response Conversations(http::Request& request);

  const RouteContext context_;
  Follower& follower_;
  feed::WaitingPolls polls_;
  const feed::SocketBackend backend_;
};

// What /metrics has to say of it.
std::string FollowMetrics(const FollowStats& stats, uint64_t waiting_polls);

}  // namespace chatchain
