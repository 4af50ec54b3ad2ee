// SPDX-License-Identifier: MIT
// The start and the end of a server.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/running_server.h"

namespace chatchain::http::testing {

TEST_CASE("a port is not shared, and free again at once", "[http][server]") {
  auto first = std::make_unique<RunningServer>();
  const uint16_t port = first->server->port();
  RawSocket socket = first->Connect();
  socket.Send(
      Get("/small", "Connection: close\r\n"));  // the server closes: TIME_WAIT stays with it
  socket.ReadToEnd();
  Server second({.port = port}, {});
  const auto started = second.Start();
  REQUIRE_FALSE(started);
  CHECK(started.error() ==
        "cannot listen on 127.0.0.1:" + std::to_string(port) + ": address already in use");
  first.reset();
  Server third({.port = port}, {});
  CHECK(third.Start());
  CHECK(third.port() == port);
  Server nowhere({.host = "no-such-host.invalid"}, {});
  CHECK_FALSE(nowhere.Start());
}

TEST_CASE("draining answers what is in flight and ends the rest", "[http][server]") {
  RunningServer fixture;
  RawSocket idle = fixture.Connect();
  idle.Send(Get("/small"));
  idle.ReadAnswer();
  RawSocket partial = fixture.Connect();
  partial.Send("GET /small HTTP/1.1\r\nHo");
  RawSocket busy = fixture.Connect();
  busy.Send(Get("/wait"));
  REQUIRE(fixture.gate.WaitForWaiting(1));
  RawSocket uploading = fixture.Connect();
  uploading.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  uploading.ReadAnswer();

  auto drained = std::async(std::launch::async, [&] { return fixture.server->Drain(9'000); });
  CHECK(idle.ReadToEnd().empty());
  const std::string refused = partial.ReadToEnd();
  CHECK(Status(refused) == 503);
  CHECK(Says(refused, "Connection: close"));
  CHECK_FALSE(fixture.Connect().open());
  uploading.Send("hello");
  std::string answer = uploading.ReadToEnd();
  CHECK(Body(answer) == "hello");
  CHECK(Says(answer, "Connection: close"));
  // Behind the one in flight: no more than a refusal.
  busy.Send(Get("/small"));
  fixture.gate.Open();
  answer = busy.ReadToEnd();
  CHECK(Body(answer).starts_with("\"waited\""));
  CHECK(Says(answer, "Connection: close"));
  partial.Close();
  CHECK(drained.get());
  CHECK(fixture.server->stats().connections_open == 0);
}

TEST_CASE("draining cuts what does not end in time", "[http][server]") {
  RunningServer fixture;
  RawSocket busy = fixture.Connect();
  busy.Send(Get("/wait"));
  REQUIRE(fixture.gate.WaitForWaiting(1));
  const auto start = Clock::now();
  CHECK_FALSE(fixture.server->Drain(50));
  CHECK(MsSince(start) < 1'000);
  CHECK(busy.ReadToEnd().empty());
}

TEST_CASE("draining under load loses no answer", "[http][server]") {
  for (int round = 0; round < (kSanitized ? 3 : 10); ++round) {
    std::atomic<int> handled{0};
    Server server({}, {Route{.method = "GET", .pattern = "/", .handler = [&](Request&) {
                               ++handled;
                               return JsonResponse(200, "{}");
                             }}});
    REQUIRE(server.Start());
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        RawSocket socket = RawSocket::Connect(server.port());
        while (socket.Send(Get("/"))) {
          const std::string answer = socket.ReadAnswer();
          if (Status(answer) == 200) ++answered;
          if (answer.empty() || Says(answer, "Connection: close")) break;
        }
      });
    }
    CHECK(Eventually([&] { return handled > 100; }));
    CHECK(server.Drain(9'000));
    for (std::thread& thread : threads) thread.join();
    CHECK(answered == handled);
  }
}

}  // namespace chatchain::http::testing
