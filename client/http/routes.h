// SPDX-License-Identifier: MIT
// The proxy's public routes: decode, one call, encode.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "client/config.h"
#include "client/http/access_log.h"
#include "client/http/rate_limit.h"
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
  std::string page;  // the HTML of GET /
};

std::vector<http::Route> ProxyRoutes(const RouteContext& context);

// The chat page: share/chatchain/web/index.html beside the installed program, else from the
// sources; a line that says what is missing when there is neither.
std::string LoadPage();

}  // namespace chatchain
