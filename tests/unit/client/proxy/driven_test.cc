// SPDX-License-Identifier: MIT
#include "client/proxy/driven.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "common/util/log.h"

namespace chatchain {

namespace {

class Stepped final : public Driven {
 public:
  explicit Stepped(std::function<void()> step) : step_(std::move(step)) {}
  int given_up() const { return given_up_; }

 private:
  void Step() override { step_(); }
  void GiveUp() override { ++given_up_; }
  const std::function<void()> step_;
  int given_up_ = 0;
};

}  // namespace

TEST_CASE("a kick within a step makes another one, afterwards", "[driven]") {
  int steps = 0;
  bool inside = false;
  std::shared_ptr<Stepped> driven;
  driven = std::make_shared<Stepped>([&] {
    CHECK_FALSE(inside);
    inside = true;
    // However many: what they tell is seen by one look.
    if (++steps < 5) {
      for (int i = 0; i < 3; ++i) driven->Kick();
    }
    inside = false;
  });
  driven->Kick();
  CHECK(steps == 5);
  driven->OnDue();
  CHECK(steps == 6);
}

TEST_CASE("a step that throws ends its request, and no later kick is stuck behind it", "[driven]") {
  spdlog::set_level(spdlog::level::off);
  int steps = 0;
  const auto driven = std::make_shared<Stepped>([&] {
    if (++steps == 2) throw std::runtime_error("broken");
  });
  for (int i = 0; i < 4; ++i) driven->Kick();
  CHECK(steps == 4);
  CHECK(driven->given_up() == 1);
}

TEST_CASE("steps run one at a time, and no kick is lost", "[driven]") {
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  std::atomic<int> happened{0};
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  int seen = 0;  // not atomic: whoever steps has it for himself
  const auto driven = std::make_shared<Stepped>([&] {
    if (inside.fetch_add(1) != 0) ++overlaps;
    seen = happened.load();
    inside.fetch_sub(1);
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        ++happened;
        driven->Kick();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(overlaps == 0);
  CHECK(seen == kThreads * kEach);
}

}  // namespace chatchain
