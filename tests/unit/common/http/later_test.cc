// SPDX-License-Identifier: MIT
// Answers that come later, and those that never come.
#include "common/http/later.h"

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "common/http/event_loop.h"
#include "common/http/server.h"
#include "common/util/log.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using testing::RawSocket;
using Resume = std::function<void()>;

// What happens to `resume` is up to the test.
class Scripted final : public LaterAnswer {
 public:
  explicit Scripted(std::function<void(Resume)> begin) : begin_(std::move(begin)) {}
  void Begin(Resume resume) override { begin_(std::move(resume)); }
  Response Finish() override { return JsonResponse(200, "{}"); }

 private:
  const std::function<void(Resume)> begin_;
};

Response Later(std::function<void(Resume)> begin) {
  Response response;
  response.later = std::make_shared<Scripted>(std::move(begin));
  return response;
}

}  // namespace

TEST_CASE("a request whose answer is forgotten is answered 500, and its connection goes on",
          "[http][later]") {
  spdlog::set_level(spdlog::level::off);
  EventLoop other("other");
  std::function<void(Resume)> begin = [](const Resume& resume) { resume(); };
  const bool quick = GENERATE(false, true);
  Server server({}, {Route{.method = "GET",
                           .pattern = "/",
                           .handler = [&](Request&) { return Later(begin); },
                           .quick = quick}});
  REQUIRE(server.Start());
  RawSocket socket = RawSocket::Connect(server.port());
  const auto status = [&](std::function<void(Resume)> with) {
    begin = std::move(with);
    REQUIRE(socket.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    const std::string answer = socket.ReadAnswer();
    return answer.size() > 12 ? answer.substr(9, 3) : answer;
  };
  CHECK(status([](const Resume& resume) { resume(); }) == "200");
  CHECK(status([](const Resume&) {}) == "500");
  CHECK(status([](const Resume&) { throw std::runtime_error("broken"); }) == "500");
  CHECK(status([&](Resume resume) { other.Post([resume = std::move(resume)] { throw 1; }); }) ==
        "500");
  // It was resumed, whatever comes after that.
  CHECK(status([](const Resume& resume) {
          resume();
          throw std::runtime_error("broken");
        }) == "200");
  CHECK(status([&](Resume resume) { other.Post(std::move(resume)); }) == "200");
  CHECK(server.stats().in_flight <= 1);
}

TEST_CASE("who blocks for an answer that is forgotten is told", "[http][later]") {
  CHECK(AwaitLater(Later([](const Resume& resume) { resume(); })).status == 200);
  CHECK_THROWS(AwaitLater(Later([](const Resume&) {})));
}

}  // namespace chatchain::http
