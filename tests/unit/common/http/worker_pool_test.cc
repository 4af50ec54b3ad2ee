// SPDX-License-Identifier: MIT
#include "common/http/worker_pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace chatchain::http {

namespace {

constexpr std::chrono::seconds kPatience{10};

class Run final : public WorkerPool::Task {
 public:
  explicit Run(std::function<void()> what) : what_(std::move(what)) {}
  void RunTask() override { what_(); }

 private:
  std::function<void()> what_;
};

// A number that can be waited for.
class Count {
 public:
  void Add() {
    const std::lock_guard lock(mutex_);
    ++n_;
    changed_.notify_all();
  }
  bool WaitFor(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return n_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int n_ = 0;
};

// The part that the server's event loop plays: calls Grow() while the pool wants it.
class Grower {
 public:
  explicit Grower(size_t min_workers, size_t max_workers) {
    pool.emplace(min_workers, max_workers, [this] { wanted_ = true; });
    thread_ = std::thread([this] {
      while (!stop_) {
        std::this_thread::sleep_for(WorkerPool::kGrowAfter);
        if (wanted_.exchange(false) && pool->Grow()) wanted_ = true;
      }
    });
  }
  ~Grower() {
    stop_ = true;
    thread_.join();
    pool.reset();
  }

  std::optional<WorkerPool> pool;

 private:
  std::atomic<bool> wanted_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("tasks that block all run at the same time, up to the limit", "[http][pool]") {
  for (int round = 0; round < 20; ++round) {
    Grower grower(3, 40);
    Count running;
    Count done;
    std::mutex gate;
    gate.lock();
    for (int i = 0; i < 50; ++i) {
      grower.pool->Post(std::make_shared<Run>([&] {
                          running.Add();
                          const std::lock_guard wait(gate);
                          done.Add();
                        }),
                        false);
    }
    REQUIRE(running.WaitFor(40));
    CHECK(grower.pool->workers() == 40);
    gate.unlock();
    REQUIRE(done.WaitFor(50));
  }
}

TEST_CASE("many short tasks all run", "[http][pool]") {
  Grower grower(2, 100);
  Count done;
  for (int i = 0; i < 20'000; ++i) {
    grower.pool->Post(std::make_shared<Run>([&] { done.Add(); }), false);
  }
  CHECK(done.WaitFor(20'000));
}

TEST_CASE("urgent tasks go first, and what is queued runs before the end", "[http][pool]") {
  std::vector<int> order;
  {
    Count running;
    std::mutex gate;
    gate.lock();
    WorkerPool pool(1, 1, [] {});
    pool.Post(std::make_shared<Run>([&] {
                running.Add();
                const std::lock_guard wait(gate);
              }),
              false);
    REQUIRE(running.WaitFor(1));
    pool.Post(std::make_shared<Run>([&] { order.push_back(1); }), false);
    pool.Post(std::make_shared<Run>([&] { order.push_back(2); }), true);
    CHECK(pool.Grow());  // it may not, but tasks wait
    CHECK(pool.workers() == 1);
    gate.unlock();
  }
  CHECK(order == std::vector<int>{2, 1});
}

}  // namespace chatchain::http
