// SPDX-License-Identifier: MIT
// chatchain-ws-echo [HOST:PORT]: sends back what comes over a WebSocket at /, texts as texts and
// binary messages as such, so that public conformance suites can drive the WebSocket code of the
// product. Ends with SIGTERM or SIGINT.
#include <csignal>
#include <cstdio>
#include <deque>
#include <string>

#include "common/http/server.h"
#include "common/http/websocket.h"
#include "common/util/host_port.h"

namespace chatchain {

namespace {

constexpr size_t kHeldMessages = 8;

class Echo final : public http::WebSocketApp {
 public:
  void Begin(http::WebSocketPort* port) override { port_ = port; }
  void OnMessage(std::string data, bool binary) override {
    held_.push_back({std::make_shared<const std::string>(std::move(data)), binary});
    if (held_.size() >= kHeldMessages) port_->SetReading(false);
    port_->Poke();
  }
  std::optional<http::WebSocketMessage> Next() override {
    if (held_.empty()) return std::nullopt;
    http::WebSocketMessage next = std::move(held_.front());
    held_.pop_front();
    if (held_.size() + 1 == kHeldMessages) port_->SetReading(true);
    return next;
  }
  void End() override { port_ = nullptr; }
  size_t max_message_bytes() const override { return 64 << 20; }

 private:
  http::WebSocketPort* port_ = nullptr;
  std::deque<http::WebSocketMessage> held_;
};

int Run(const std::string& where) {
  const auto address = ParseHostPort(where);
  if (!address) {
    std::fprintf(stderr, "usage: chatchain-ws-echo [HOST:PORT]\n");
    return 2;
  }
  sigset_t stops;
  sigemptyset(&stops);
  sigaddset(&stops, SIGTERM);
  sigaddset(&stops, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stops, nullptr);
  http::ServerOptions options;
  options.host = address->host;
  options.port = address->port;
  http::Server server(options, {{.method = "GET", .pattern = "/", .handler = [](http::Request& r) {
                                   http::Response response;
                                   if (const auto problem = http::CheckUpgrade(r, {"*"})) {
                                     return http::ProblemResponse(*problem);
                                   }
                                   response.status = 101;
                                   response.websocket = std::make_shared<Echo>();
                                   return response;
                                 }}});
  if (const auto started = server.Start(); !started) {
    std::fprintf(stderr, "%s\n", started.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", server.address().c_str());
  int signal = 0;
  sigwait(&stops, &signal);
  server.Drain(2000);
  return 0;
}

}  // namespace

}  // namespace chatchain

int main(int argc, char** argv) {
  return chatchain::Run(argc > 1 ? argv[1] : "127.0.0.1:9001");
}
