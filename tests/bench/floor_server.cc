// SPDX-License-Identifier: MIT
// A server that answers GET /small and does nothing else: our HTTP floor, or cpp-httplib's own
// server for comparison. With a sleep the handlers block, as those that wait for a commit do.
//
//   chatchain-bench-floor [ours|stock] [PORT] [handler sleep in microseconds]
#include <httplib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/http/server.h"

namespace {

const std::string kBody =
    R"({"id":"0123456789abcdef","text":"hello","accepted_at":"2026-11-21T08:15:30Z"})";

int RunStock(int port, unsigned sleep_us) {
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(64); };
  server.set_keep_alive_max_count(1'000'000'000);
  server.set_tcp_nodelay(true);
  server.Get("/small", [sleep_us](const httplib::Request&, httplib::Response& response) {
    if (sleep_us > 0) usleep(sleep_us);
    response.set_content(kBody, "application/json");
  });
  if (port == 0) {
    port = server.bind_to_any_port("127.0.0.1");
  } else if (!server.bind_to_port("127.0.0.1", port)) {
    port = -1;
  }
  if (port < 0) {
    std::fprintf(stderr, "cannot listen on 127.0.0.1\n");
    return 1;
  }
  std::fprintf(stderr, "listening on 127.0.0.1:%d\n", port);
  return server.listen_after_bind() ? 0 : 1;
}

int RunOurs(int port, unsigned sleep_us) {
  using namespace chatchain::http;
  ServerOptions options;
  options.port = static_cast<uint16_t>(port);
  Server server(options, {{.method = "GET", .pattern = "/small", .handler = [sleep_us](Request&) {
                             if (sleep_us > 0) usleep(sleep_us);
                             return JsonResponse(200, kBody);
                           }}});
  if (const auto started = server.Start(); !started) {
    std::fprintf(stderr, "%s\n", started.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", server.address().c_str());
  pause();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view kind = argc > 1 ? argv[1] : "ours";
  const int port = argc > 2 ? std::atoi(argv[2]) : 0;
  const unsigned sleep_us = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 0;
  return kind == "stock" ? RunStock(port, sleep_us) : RunOurs(port, sleep_us);
}
