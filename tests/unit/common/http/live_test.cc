// SPDX-License-Identifier: MIT
// Bodies that go on for as long as their reader stays: fed on the loop, held by slow readers, ended
// by either side.
#include "common/http/live.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "common/http/server.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using testing::RawSocket;

// Gives `size` bytes, `at_a_time` at a time; then waits.
class Counted final : public LiveBody {
 public:
  Counted(std::atomic<int>* ended, size_t size) : ended_(ended), left_(size) {}
  void Begin(std::function<void()> poke) override { poke_ = std::move(poke); }
  Step Fill(std::string* out, bool draining) override {
    if (draining) return Step::kEnd;
    const size_t n = std::min(left_, kFillBytes);
    out->append(n, 'x');
    left_ -= n;
    given += n;
    return left_ > 0 ? Step::kMore : Step::kWait;
  }
  void End() override {
    poke_ = nullptr;
    ++*ended_;
  }
  std::atomic<size_t> given{0};

 private:
  std::atomic<int>* ended_;
  size_t left_;
  std::function<void()> poke_;
};

struct Live {
  explicit Live(size_t size, ServerOptions options = {}) {
    server = std::make_unique<Server>(
        options,
        std::vector<Route>{{.method = "GET", .pattern = "/live", .handler = [this, size](Request&) {
                              Response response;
                              response.content_type = "text/event-stream";
                              body = std::make_shared<Counted>(&ended, size);
                              response.live = body;
                              return response;
                            }}});
    REQUIRE(server->Start());
  }
  bool Eventually(const std::function<bool()>& holds) {
    const auto until = testing::Clock::now() + testing::kPatience;
    while (!holds()) {
      if (testing::Clock::now() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }

  std::atomic<int> ended{0};
  std::shared_ptr<Counted> body;
  std::unique_ptr<Server> server;
};

constexpr std::string_view kGet = "GET /live HTTP/1.1\r\nHost: test\r\n\r\n";

}  // namespace

TEST_CASE("a live body goes out in chunks and ends when the server drains", "[http]") {
  Live live(5);
  RawSocket socket = RawSocket::Connect(live.server->port());
  socket.Send(kGet);
  std::string got;
  while (got.find("5\r\nxxxxx\r\n") == std::string::npos) {
    REQUIRE(socket.ReadSome(&got) == RawSocket::Read::kData);
  }
  CHECK(got.find("Transfer-Encoding: chunked") != std::string::npos);
  CHECK(live.server->stats().live == 1);
  CHECK(live.server->stats().in_flight == 0);
  auto drained = std::async(std::launch::async, [&] { return live.server->Drain(5000); });
  const std::string rest = socket.ReadToEnd();
  CHECK(rest == "0\r\n\r\n");
  socket.Close();
  CHECK(drained.get());
  CHECK(live.ended == 1);
}

TEST_CASE("a live body is over when its reader goes away", "[http]") {
  for (const bool reset : {false, true}) {
    Live live(5);
    RawSocket socket = RawSocket::Connect(live.server->port());
    socket.Send(kGet);
    std::string got;
    socket.ReadSome(&got);
    if (reset) {
      socket.Reset();
    } else {
      socket.Close();
    }
    CHECK(live.Eventually([&] { return live.ended == 1; }));
    CHECK(live.Eventually([&] { return live.server->stats().connections_open == 0; }));
  }
}

TEST_CASE("a reader that does not read is not given more than it takes, and then cut", "[http]") {
  constexpr size_t kMuch = 256 << 20;
  ServerOptions options;
  options.write_timeout_ms = 300;
  Live live(kMuch, options);
  RawSocket socket = RawSocket::Connect(live.server->port(), 4096);
  socket.Send(kGet);
  CHECK(live.Eventually([&] { return live.ended == 1; }));
  CHECK(live.body->given < 16 << 20);  // what the kernel takes, and one filling
  CHECK(live.server->stats().buffered_bytes == 0);
}

TEST_CASE("a reader that is slow gets all of it", "[http]") {
  constexpr size_t kSize = 3 << 20;
  Live live(kSize);
  RawSocket socket = RawSocket::Connect(live.server->port(), 4096);
  socket.Send("GET /live HTTP/1.0\r\n\r\n");  // without chunks
  std::string got;
  size_t head = std::string::npos;
  while (head == std::string::npos || got.size() < head + 4 + kSize) {
    REQUIRE(socket.ReadSome(&got) == RawSocket::Read::kData);
    head = got.find("\r\n\r\n");
  }
  CHECK(got.find_first_not_of('x', head + 4) == std::string::npos);
}

TEST_CASE("HEAD of a live body is its head alone", "[http]") {
  Live live(5);
  RawSocket socket = RawSocket::Connect(live.server->port());
  socket.Send("HEAD /live HTTP/1.1\r\nHost: test\r\n\r\n");
  const std::string all = socket.ReadToEnd();
  CHECK(all.starts_with("HTTP/1.1 200 "));
  CHECK(all.ends_with("\r\n\r\n"));
}

}  // namespace chatchain::http
