// SPDX-License-Identifier: MIT
// Whatever throws while a request is on its way through the proxy ends that request at the most.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "client/proxy/proxy.h"
#include "tests/support/running_proxy.h"

namespace chatchain::testing {
namespace {

// Throws once, at the n-th look from when it is told to.
class Faulty final : public Clock {
 public:
  void ThrowAt(int look) { left_ = look; }
  bool thrown() const { return left_ <= 0; }

  int64_t WallMs() const override { return system_.WallMs(); }
  SteadyTime Steady() const override {
    if (left_.fetch_sub(1) == 1) throw std::runtime_error("no time");
    return system_.Steady();
  }

 private:
  const SystemClock system_{};
  mutable std::atomic<int> left_{-1};
};

constexpr milliseconds kPatience{500};

// What start(promise) comes to: its status, 0 where no node answered, -1 where it was given up.
template <typename Start>
int StatusOf(Start start) {
  auto promise = std::make_shared<std::promise<int>>();
  auto status = promise->get_future();
  start(std::move(promise));
  REQUIRE(status.wait_for(20 * kPatience) == std::future_status::ready);
  try {
    return status.get();
  } catch (const std::future_error&) {
    return -1;
  }
}

using StatusPromise = std::shared_ptr<std::promise<int>>;

int Read(Proxy& proxy) {
  return StatusOf([&](StatusPromise promise) {
    proxy.StartRead(
        {.target = "/messages/" + kId, .deadline = std::chrono::steady_clock::now() + kPatience},
        [promise](const SharedAnswer<ReadResult>& read) {
          promise->set_value(read.get().answered ? read.get().response.status : 0);
        });
  });
}

int Write(Proxy& proxy) {
  return StatusOf([&](StatusPromise promise) {
    proxy.StartWrite({.items = {kMessage},
                      .copies = 2,
                      .acks = "2",
                      .deadline = std::chrono::steady_clock::now() + kPatience},
                     "", [promise](const WriteResult& write, bool) {
                       promise->set_value(write.items.front().status);
                     });
  });
}

}  // namespace

TEST_CASE("what throws ends its own request, wherever it throws, and the next one is answered",
          "[proxy][contained]") {
  const auto [send, good] = GENERATE(table<int (*)(Proxy&), int>({{&Read, 200}, {&Write, 201}}));
  ScriptedNode one(Sound);
  ScriptedNode two(Sound);
  Faulty clock;
  SystemRandom random;
  Proxy proxy(Config({one.address(), two.address()}), clock, random);
  REQUIRE(send(proxy) == good);
  int look = 0;
  for (bool thrown = true; thrown;) {
    clock.ThrowAt(++look);
    const int status = send(proxy);
    INFO("at look number " << look << ": " << status);
    CHECK((status == good || status == 0 || status == -1));
    thrown = clock.thrown();
    clock.ThrowAt(-1);
    CHECK(send(proxy) == good);
    REQUIRE(look < 1000);
  }
  CHECK(look > 5);
}

}  // namespace chatchain::testing
