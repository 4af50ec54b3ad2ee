// SPDX-License-Identifier: MIT
// The proxy's live routes: GET /messages/poll, /messages/stream, /ws, and GET /conversations.
#pragma once

#include <vector>

#include "client/http/routes.h"
#include "client/proxy/follow.h"
#include "common/feed/socket.h"
#include "common/http/server.h"

namespace chatchain {

class StreamRoutes {
 public:
  // All of it outlives the server. `send`: the handler of POST /messages.
  StreamRoutes(const RouteContext& context, Follower& follower, http::Handler send);
  std::vector<http::Route> Routes();

 private:
  http::Response Poll(http::Request& request);
  http::Response Stream(http::Request& request);
  http::Response Socket(http::Request& request);

  const RouteContext context_;
  Follower& follower_;
  const feed::SocketBackend backend_;
};

}  // namespace chatchain
