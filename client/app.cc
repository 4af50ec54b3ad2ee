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

}  // namespace

ClientApp::ClientApp(ClientConfig config)
    : config_(std::move(config)), proxy_(config_, clock_, random_) {
  const RouteContext context{.config = config_,
                             .proxy = proxy_,
                             .hlc = hlc_,
                             .random = random_,
                             .clock = clock_,
                             .draining = draining_,
                             .server_stats = [this] { return server_->stats(); },
                             .page = LoadPage()};
  server_ = std::make_unique<http::Server>(ServerOptionsOf(config_), ProxyRoutes(context));
}

ClientApp::~ClientApp() = default;

Result<void, std::string> ClientApp::Start() {
  return server_->Start();
}

std::string ClientApp::address() const {
  return server_->address();
}

bool ClientApp::Drain(int timeout_ms) {
  draining_ = true;
  return server_->Drain(timeout_ms);
}

}  // namespace chatchain
