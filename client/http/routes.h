// SPDX-License-Identifier: MIT
// The proxy's public routes: decode, one call, encode.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "client/config.h"
#include "client/http/access_log.h"
#include "client/http/rate_limit.h"
#include "client/http/web_files.h"
#include "client/proxy/proxy.h"
#include "common/http/server.h"
#include "common/protocol/hlc.h"
#include "common/util/random.h"

namespace chatchain {

// What the handlers use; all of it outlives the server.
struct RouteContext {
  const ClientConfig& config;
  Proxy& proxy;
  Hlc& hlc;
  Random& random;
  const Clock& clock;
  const std::atomic<bool>& draining;
  RateLimiter& rate_limiter;
  AccessLog& access_log;
  std::function<http::ServerStats()> server_stats;
  std::shared_ptr<const WebFiles> web;  // the chat page; null: there is none
};

// A node's answer to `read`, once it is there.
http::Response Forward(Proxy& proxy, ReadRequest read, const http::Request& request);

std::vector<http::Route> ProxyRoutes(const RouteContext& context);

}  // namespace chatchain
