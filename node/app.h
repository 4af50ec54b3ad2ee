// SPDX-License-Identifier: MIT
// The node as a graph of objects, in construction order; torn down in the reverse. One thread.
#pragma once

#include <memory>
#include <string>

#include "common/http/server.h"
#include "common/util/clock.h"
#include "common/util/random.h"
#include "common/util/result.h"
#include "node/config.h"
#include "node/feed_driver.h"
#include "node/http/api.h"
#include "node/http/feed_routes.h"
#include "node/service/feed.h"
#include "node/service/service.h"
#include "node/store/sqlite_storage.h"
#include "node/sync_driver.h"

namespace chatchain {

class App {
 public:
  // Opens the store, listens, and starts to pull. The error is one line for the operator.
  static Result<std::unique_ptr<App>, std::string> Start(const NodeConfig& config);
  ~App();

  std::string address() const { return server_->address(); }
  // Answers what is in flight, takes nothing new. True when nothing had to be cut off.
  bool Drain();

 private:
  explicit App(const NodeConfig& config);

  SystemClock clock_;
  SystemRandom random_;
  Hlc hlc_;
  std::string instance_;
  std::unique_ptr<SqliteStorage> storage_;
  std::unique_ptr<CopyTracker> copies_;
  std::unique_ptr<SyncDriver> sync_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Feed> feed_;
  std::unique_ptr<FeedDriver> feed_driver_;
  std::unique_ptr<NodeApi> api_;
  std::unique_ptr<FeedRoutes> feed_routes_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace chatchain
