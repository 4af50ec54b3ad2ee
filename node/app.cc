// SPDX-License-Identifier: MIT
#include "node/app.h"

#include "common/feed/metrics.h"
#include "common/protocol/limits.h"
#include "common/util/encoding.h"
#include "common/util/version.h"

namespace chatchain {

namespace {

constexpr int kDrainTimeout_ms = 8000;

}  // namespace

App::App(const NodeConfig&) : hlc_(clock_), instance_(HexU64(random_.Next())) {}

Result<std::unique_ptr<App>, std::string> App::Start(const NodeConfig& config) {
  std::unique_ptr<App> app(new App(config));

  SqliteStorage::Options storage;
  storage.directory = config.data_dir;
  storage.cluster = config.cluster_name;
  storage.node_id = config.node_id;
  storage.cache_mib = config.cache_mib;
  storage.read_connections = static_cast<size_t>(config.read_connections);
  if (!config.peers.empty()) storage.record_tail.max_bytes = limits::kRecordTailBytes;
  storage.writer.max_queue = static_cast<size_t>(config.max_queue_items);
  storage.writer.checkpoint_bytes = config.wal_checkpoint_bytes;
  auto opened = SqliteStorage::Open(std::move(storage), app->clock_, app->hlc_, app->random_);
  if (!opened) return Err(std::move(opened.error()));
  app->storage_ = std::move(*opened);
  app->copies_ = std::make_unique<CopyTracker>(config.node_id);

  SyncDriver::Options sync;
  sync.cluster = config.cluster_name;
  sync.node_id = config.node_id;
  sync.instance = app->instance_;
  sync.peers = config.peers;
  sync.interval_ms = config.sync_interval_ms;
  sync.page_records = static_cast<size_t>(config.sync_page_records);
  sync.page_bytes = static_cast<size_t>(config.sync_page_bytes);
  sync.session_wait_ms = config.session_wait_ms;
  app->sync_ = std::make_unique<SyncDriver>(std::move(sync), *app->storage_, *app->copies_,
                                            app->hlc_, app->clock_, app->random_);
  app->service_ = std::make_unique<Service>(*app->storage_, *app->sync_, *app->copies_);

  app->feed_ = std::make_unique<Feed>(*app->storage_, *app->sync_, config.cluster_name);
  app->conversations_ = std::make_unique<Conversations>(*app->storage_, *app->sync_);
  app->feed_driver_ = std::make_unique<FeedDriver>(*app->feed_, *app->storage_, app->clock_);

  NodeApi::Options api;
  api.cluster = config.cluster_name;
  api.node_id = config.node_id;
  api.instance = app->instance_;
  api.version = ProjectVersion();
  api.configured_nodes = static_cast<int>(config.peers.size()) + 1;
  app->api_ = std::make_unique<NodeApi>(std::move(api), *app->service_, *app->storage_, *app->sync_,
                                        *app->copies_, app->clock_, app->random_);

  app->api_->set_more_metrics(
      [app = app.get(), driver = app->feed_driver_.get()](MetricsText* text) {
        feed::AppendMetrics(driver->stats(), app->feed_routes_->waiting_polls(), text);
        text->Family("chatchain_feed_lag_records", "gauge",
                     "Records that were committed and that the feed has not looked at.");
        text->Sample(static_cast<double>(driver->lag_records()));
      });
  std::vector<http::Route> routes = app->api_->Routes();
  FeedRoutes::Options feed;
  feed.cluster = config.cluster_name;
  feed.origins = config.cors_origins;
  feed.request_timeout_ms = config.request_timeout_ms;
  feed.session_wait_ms = config.session_wait_ms;
  feed.max_waiting_polls = static_cast<size_t>(config.max_waiting_polls);
  app->feed_routes_ = std::make_unique<FeedRoutes>(std::move(feed), *app->feed_, *app->feed_driver_,
                                                   *app->conversations_, *app->api_, app->clock_);
  for (http::Route& route : app->feed_routes_->Routes()) routes.push_back(std::move(route));

  http::ServerOptions server;
  server.host = config.listen.host;
  server.port = config.listen.port;
  server.max_connections = static_cast<size_t>(config.max_connections);
  server.max_connections_per_address = server.max_connections;
  server.max_in_flight = static_cast<size_t>(config.max_in_flight);
  server.request_timeout_ms = config.request_timeout_ms;
  server.cors_origins = config.cors_origins;
  server.fixed_headers = {{"ChatChain-Node", config.node_id}};
  app->server_ = std::make_unique<http::Server>(std::move(server), std::move(routes));
  app->api_->set_server(app->server_.get());
  app->feed_routes_->Start(*app->server_);
  if (auto started = app->server_->Start(); !started) return Err(std::move(started.error()));
  app->feed_driver_->Start([server = app->server_.get()](std::function<void()> work) {
    server->PostToLive(std::move(work));
  });
  app->sync_->Start();
  return app;
}

App::~App() {
  // Blocked handlers first: the server's destructor waits for them.
  if (sync_) sync_->Stop();
  if (copies_) copies_->Interrupt();
  if (storage_) storage_->board().Interrupt();
  if (feed_routes_) feed_routes_->set_draining();
  if (feed_driver_) feed_driver_->Stop();
  // Its live connections know the feed.
  server_.reset();
}

bool App::Drain() {
  api_->set_draining();
  feed_routes_->set_draining();
  // Long polls of peers would hold the drain for their whole wait.
  storage_->board().Interrupt();
  const bool clean = server_->Drain(kDrainTimeout_ms);
  sync_->Stop();
  return clean;
}

}  // namespace chatchain
