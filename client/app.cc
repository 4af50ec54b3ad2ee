// SPDX-License-Identifier: MIT
#include "client/app.h"

#include <utility>

#include "client/http/routes.h"

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
      proxy_(config_, clock_, random_) {
  const RouteContext context{.config = config_,
                             .proxy = proxy_,
                             .hlc = hlc_,
                             .random = random_,
                             .clock = clock_,
                             .draining = draining_,
                             .rate_limiter = rate_limiter_,
                             .access_log = access_log_,
                             .server_stats = [this] { return server_->stats(); },
                             .page = LoadPage()};
  server_ = std::make_unique<http::Server>(ServerOptionsOf(config_), ProxyRoutes(context));
}

ClientApp::~ClientApp() = default;

Result<void, std::string> ClientApp::Start() {
  if (auto opened = access_log_.Open(config_.access_log); !opened) return opened;
  auto started = server_->Start();
  // After it: a start that fails says only why.
  if (started) proxy_.StartProbing();
  return started;
}

Result<std::string, std::string> ClientApp::Reload(const ClientConfig& config) {
  if (auto opened = access_log_.Open(config.access_log); !opened) return Err(opened.error());
  rate_limiter_.set_limits(RateLimitsOf(config));
  proxy_.Reconfigure(config);
  return NeedsRestart(config_, config);
}

std::string ClientApp::address() const {
  return server_->address();
}

bool ClientApp::Drain(int timeout_ms) {
  draining_ = true;
  return server_->Drain(timeout_ms);
}

}  // namespace chatchain
