// SPDX-License-Identifier: MIT
// A server that answers GET /small, for load generators: ours, or cpp-httplib's own for comparison.
//
//   http-floor-bench [ours|stock] PORT [handler sleep in microseconds]
#include <httplib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/http/server.h"

int main(int argc, char** argv) {
  const std::string_view kind = argc > 1 ? argv[1] : "ours";
  const int port = argc > 2 ? std::atoi(argv[2]) : 0;
  const unsigned sleep_us = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 0;
  const std::string body =
      R"({"id":"0123456789abcdef","text":"hello","accepted_at":"2026-11-21T08:15:30Z"})";
  if (kind == "stock") {
    httplib::Server server;
    server.new_task_queue = [] { return new httplib::ThreadPool(64); };
    server.set_keep_alive_max_count(1'000'000'000);
    server.set_tcp_nodelay(true);
    server.Get("/small", [&](const httplib::Request&, httplib::Response& response) {
      if (sleep_us > 0) usleep(sleep_us);
      response.set_content(body, "application/json");
    });
    return server.listen("127.0.0.1", port) ? 0 : 1;
  }
  chatchain::http::ServerOptions options;
  options.port = static_cast<uint16_t>(port);
  std::vector<chatchain::http::Route> routes;
  routes.push_back(
      {.method = "GET", .pattern = "/small", .handler = [&](chatchain::http::Request&) {
         if (sleep_us > 0) usleep(sleep_us);
         return chatchain::http::JsonResponse(200, body);
       }});
  chatchain::http::Server server(options, std::move(routes));
  if (auto started = server.Start(); !started) {
    std::fprintf(stderr, "%s\n", started.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", server.address().c_str());
  pause();
}
