// SPDX-License-Identifier: MIT
#include "client/app.h"

#include <algorithm>
#include <utility>

#include "client/http/routes.h"
#include "common/util/log.h"

namespace chatchain {

namespace {

http::ServerOptions ServerOptionsOf(const ClientConfig& config) {
  http::ServerOptions options;
  options.host = config.listen.host;
  options.port = config.listen.port;
  options.max_connections = static_cast<size_t>(config.max_connections);
  options.max_connections_per_address = options.max_connections;
  options.max_in_flight = static_cast<size_t>(config.max_in_flight);
  options.request_timeout_ms = config.request_timeout_ms;
  options.cors_origins = config.cors_origins;
  return options;
}

RateLimiter::Limits RateLimitsOf(const ClientConfig& config) {
  return {.per_second = config.rate_limit_per_second, .burst = config.rate_limit_burst};
}

}  // namespace

ClientApp::ClientApp(ClientConfig config)
    : config_(std::move(config)),
      rate_limiter_(RateLimitsOf(config_)),
      proxy_(config_, clock_, random_),
      follower_(proxy_, config_.nodes, config_.connect_timeout_ms, clock_) {
  const RouteContext context{.config = config_,
                             .proxy = proxy_,
                             .hlc = hlc_,
                             .random = random_,
                             .clock = clock_,
                             .draining = draining_,
                             .rate_limiter = rate_limiter_,
                             .access_log = access_log_,
                             .server_stats = [this] { return server_->stats(); },
                             .web = LoadPage()};
  std::vector<http::Route> routes = ProxyRoutes(context);
  const auto send = std::find_if(routes.begin(), routes.end(), [](const http::Route& route) {
    return route.method == "POST" && route.pattern == "/messages";
  });
  const auto metrics = std::find_if(routes.begin(), routes.end(), [](const http::Route& route) {
    return route.pattern == "/metrics";
  });
  metrics->handler = [this, rest = metrics->handler](http::Request& request) {
    http::Response response = rest(request);
    if (response.status == 200)
      response.body += FollowMetrics(follower_.stats(), streams_->waiting_polls());
    return response;
  };
  streams_ = std::make_unique<StreamRoutes>(context, follower_, send->handler);
  for (http::Route& route : streams_->Routes()) routes.push_back(std::move(route));
  server_ =
      std::make_unique<http::Server>(ServerOptionsOf(config_), std::move(routes), &proxy_.loops());
}

std::shared_ptr<const WebFiles> ClientApp::LoadPage() {
  auto files = FindWebFiles(config_.web_dir);
  if (files) return std::move(*files);
  if (!config_.web_dir.empty()) {
    page_error_ = "client.web_dir: " + files.error();
  } else {
    spdlog::warn("there is no chat page at /: {}; client.web_dir can name where it lies",
                 LogSafe(files.error(), 1000));
  }
  return nullptr;
}

ClientApp::~ClientApp() {
  streams_->set_draining();
  follower_.Stop();
  // Its live connections know the follower.
  server_.reset();
}

Result<void, std::string> ClientApp::Start() {
  if (!page_error_.empty()) return Err(page_error_);
  if (auto opened = access_log_.Open(config_.access_log); !opened) return opened;
  streams_->Start(*server_);
  auto started = server_->Start();
  if (!started) return started;
  // After it: a start that fails says only why.
  proxy_.StartProbing();
  follower_.Start([server = server_.get()](std::function<void()> work) {
    server->PostToLive(std::move(work));
  });
  return {};
}

Result<std::string, std::string> ClientApp::Reload(const ClientConfig& config) {
  if (auto opened = access_log_.Open(config.access_log); !opened) return Err(opened.error());
  rate_limiter_.set_limits(RateLimitsOf(config));
  proxy_.Reconfigure(config);
  follower_.set_nodes(config.nodes, config.connect_timeout_ms);
  return NeedsRestart(config_, config);
}

std::string ClientApp::address() const {
  return server_->address();
}

bool ClientApp::Drain(int timeout_ms) {
  draining_ = true;
  follower_.set_draining();
  streams_->set_draining();
  return server_->Drain(timeout_ms);
}

}  // namespace chatchain
