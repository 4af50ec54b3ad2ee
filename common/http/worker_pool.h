// SPDX-License-Identifier: MIT
// The threads that run handlers. Handlers may block, so the pool grows while all workers are busy
// and shrinks when they are idle; small stacks keep a thousand of them cheap. Thread-safe.
#pragma once

#include <pthread.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain::http {

class WorkerPool {
 public:
  class Task {
   public:
    virtual ~Task() = default;
    virtual void RunTask() = 0;  // must not throw
  };

  // How long a task may wait before the pool grows.
  static constexpr std::chrono::milliseconds kGrowAfter{1};

  // `on_busy` is called, on any thread and often, while tasks wait and all workers are busy:
  // somebody shall call Grow() after kGrowAfter.
  WorkerPool(size_t min_workers, size_t max_workers, std::function<void()> on_busy);
  ~WorkerPool();  // runs what is queued, then joins

  // Queues `task`; `urgent` ones go first. The queue is bounded by the callers: one task a
  // connection.
  void Post(std::shared_ptr<Task> task, bool urgent) EXCLUDES(mutex_);
  // Starts workers if tasks have waited for longer than kGrowAfter. True: call again later.
  [[nodiscard]] bool Grow() EXCLUDES(mutex_);

  size_t workers() const EXCLUDES(mutex_);

 private:
  // Shared, because who wakes a worker may still hold it when it has already ended.
  struct Worker {
    CondVar wake;
    bool called = false;
    pthread_t thread{};
    WorkerPool* pool = nullptr;
  };
  using WorkerPtr = std::shared_ptr<Worker>;
  struct Waiting {
    std::shared_ptr<Task> task;
    SteadyTime since;
  };

  static void* Main(void* worker);
  void Work(const WorkerPtr& self) EXCLUDES(mutex_);
  // False: this worker shall end.
  bool Rest(const WorkerPtr& self) REQUIRES(mutex_);
  void Spawn(size_t count) REQUIRES(mutex_);
  // Takes an idle worker off the list to be woken by the caller; null if there is none.
  WorkerPtr CallOne() REQUIRES(mutex_);
  void JoinEnded() EXCLUDES(mutex_);

  const size_t min_workers_;
  const size_t max_workers_;
  const std::function<void()> on_busy_;
  mutable Mutex mutex_;
  CondVar ended_cv_;
  std::deque<Waiting> queue_ GUARDED_BY(mutex_);
  std::vector<WorkerPtr> idle_ GUARDED_BY(mutex_);  // the last one rested last: its cache is warm
  size_t workers_ GUARDED_BY(mutex_) = 0;
  // A worker was woken and has not looked at the queue yet: no need to wake another one for now.
  bool waking_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<pthread_t> ended_ GUARDED_BY(mutex_);  // to be joined
};

}  // namespace chatchain::http
