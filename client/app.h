// SPDX-License-Identifier: MIT
// The proxy's object graph, in construction order. main creates one App and runs it.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "client/config.h"
#include "client/http/access_log.h"
#include "client/http/rate_limit.h"
#include "client/http/stream.h"
#include "client/http/web_files.h"
#include "client/proxy/follow.h"
#include "client/proxy/proxy.h"
#include "common/http/server.h"
#include "common/protocol/hlc.h"
#include "common/util/clock.h"
#include "common/util/random.h"
#include "common/util/result.h"

namespace chatchain {

class ClientApp {
 public:
  explicit ClientApp(ClientConfig config);
  ~ClientApp();
  ClientApp(const ClientApp&) = delete;
  ClientApp& operator=(const ClientApp&) = delete;

  // The error is one line for the operator.
  Result<void, std::string> Start();
  // Takes the nodes and the limits of `config`, and opens the access log anew. The error is one
  // line for the operator, and nothing has changed then; otherwise what NeedsRestart() says. One
  // thread.
  Result<std::string, std::string> Reload(const ClientConfig& config);
  std::string address() const;

  // Stops accepting, finishes what is in flight. True if nothing had to be cut.
  bool Drain(int timeout_ms);

 private:
  // The chat page. Where it is missing the API is served without it, unless the configuration says
  // where it should be: then Start() fails.
  std::shared_ptr<const WebFiles> LoadPage();

  const ClientConfig config_;
  std::string page_error_;
  SystemClock clock_;
  SystemRandom random_;
  Hlc hlc_{clock_};
  std::atomic<bool> draining_{false};
  RateLimiter rate_limiter_;
  AccessLog access_log_;
  Proxy proxy_;
  Follower follower_;
  std::unique_ptr<StreamRoutes> streams_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace chatchain
