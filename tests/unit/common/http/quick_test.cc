// SPDX-License-Identifier: MIT
// What runs on an event loop, and what never does.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "common/http/event_loop.h"
#include "common/http/later.h"
#include "common/http/server.h"
#include "common/http/then.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using testing::RawSocket;

// Resumed within Begin().
class Ready final : public LaterAnswer {
 public:
  explicit Ready(bool at_once) : at_once_(at_once) {}
  void Begin(std::function<void()> resume) override { resume(); }
  bool finishes_at_once() const override { return at_once_; }
  Response Finish() override { return Where(); }
  static Response Where() {
    return JsonResponse(200, EventLoop::Current() != nullptr ? "\"loop\"" : "\"worker\"");
  }

 private:
  const bool at_once_;
};

Handler Later(bool at_once) {
  return [at_once](Request&) {
    Response response;
    response.later = std::make_shared<Ready>(at_once);
    return response;
  };
}

// Says where it ran itself, too.
Response Noted(Response response) {
  response.body += EventLoop::Current() != nullptr ? " loop" : " worker";
  return response;
}

std::string BodyOf(Server& server, const std::string& target) {
  RawSocket socket = RawSocket::Connect(server.port());
  socket.Send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = socket.ReadAnswer();
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

}  // namespace

TEST_CASE("quick handlers and answers that finish at once run on the loop, others do not",
          "[http][quick]") {
  const auto plain = [](Request&) { return Ready::Where(); };
  const auto then = [](Handler handler) {
    return [handler](Request& request) { return Then(handler(request), Noted); };
  };
  const auto on_worker = [](Handler handler) {
    return [handler](Request& request) { return ThenOnWorker(handler(request), Noted); };
  };
  std::vector<Route> routes;
  const auto add = [&](std::string pattern, Handler handler, bool quick) {
    routes.push_back({.method = "GET",
                      .pattern = std::move(pattern),
                      .handler = std::move(handler),
                      .quick = quick});
  };
  add("/plain", plain, false);
  add("/quick", plain, true);
  add("/at-once", Later(true), false);
  add("/later", Later(false), true);
  add("/then", then(Later(true)), true);
  add("/then-plain", then(plain), true);
  add("/block", on_worker(Later(true)), true);
  add("/block-plain", on_worker(plain), true);
  add("/block-worker", on_worker(plain), false);
  Server server({}, std::move(routes));
  REQUIRE(server.Start());
  CHECK(BodyOf(server, "/plain") == "\"worker\"");
  CHECK(BodyOf(server, "/quick") == "\"loop\"");
  CHECK(BodyOf(server, "/at-once") == "\"loop\"");
  CHECK(BodyOf(server, "/later") == "\"worker\"");
  CHECK(BodyOf(server, "/then") == "\"loop\" loop");
  CHECK(BodyOf(server, "/then-plain") == "\"loop\" loop");
  CHECK(BodyOf(server, "/block") == "\"worker\" worker");
  CHECK(BodyOf(server, "/block-plain") == "\"loop\" worker");
  CHECK(BodyOf(server, "/block-worker") == "\"worker\" worker");
}

TEST_CASE("a client that sends many quick requests at once lets others have their turn",
          "[http][quick]") {
  constexpr int kRequests = 500;
  std::atomic<int> handled{0};
  std::atomic<int> at_turn{-1};
  Server server({}, {Route{.method = "GET",
                           .pattern = "/",
                           .handler =
                               [&](Request&) {
                                 if (++handled == 1) {
                                   EventLoop::Current()->Post([&] { at_turn = handled.load(); });
                                 }
                                 return JsonResponse(200, "{}");
                               },
                           .quick = true}});
  REQUIRE(server.Start());
  RawSocket socket = RawSocket::Connect(server.port());
  std::string pipeline;
  for (int i = 0; i < kRequests; ++i) pipeline += "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  REQUIRE(socket.Send(pipeline));
  for (int i = 0; i < kRequests; ++i) REQUIRE(socket.ReadAnswer().find("200 OK") == 9);
  CHECK(handled == kRequests);
  CHECK(at_turn >= 1);
  CHECK(at_turn <= 100);
}

}  // namespace chatchain::http
