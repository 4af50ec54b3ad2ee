// SPDX-License-Identifier: MIT
#include "common/http/worker_pool.h"

#include <algorithm>
#include <utility>

#include "common/util/log.h"

namespace chatchain::http {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackBytes = 1024 * 1024;  // sanitizers make frames several times larger
#else
constexpr size_t kStackBytes = 256 * 1024;
#endif
constexpr std::chrono::seconds kIdleEnd{5};

}  // namespace

WorkerPool::WorkerPool(size_t min_workers, size_t max_workers, std::function<void()> on_busy)
    : min_workers_(std::max<size_t>(1, min_workers)),
      max_workers_(std::max(min_workers_, max_workers)),
      on_busy_(std::move(on_busy)) {
  MutexLock lock(mutex_);
  Spawn(min_workers_);
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (const WorkerPtr& worker : idle_) {
      worker->called = true;
      worker->wake.NotifyOne();
    }
    idle_.clear();
    while (workers_ > 0) ended_cv_.Wait(mutex_);
  }
  JoinEnded();
}

void WorkerPool::Post(std::shared_ptr<Task> task, bool urgent) {
  WorkerPtr called;
  bool busy = false;
  {
    MutexLock lock(mutex_);
    Waiting waiting{std::move(task), std::chrono::steady_clock::now()};
    if (urgent) {
      queue_.push_front(std::move(waiting));
    } else {
      queue_.push_back(std::move(waiting));
    }
    if (!waking_) called = CallOne();
    busy = called == nullptr && !waking_ && idle_.empty();
  }
  if (called != nullptr) called->wake.NotifyOne();
  if (busy) on_busy_();
}

WorkerPool::WorkerPtr WorkerPool::CallOne() {
  if (idle_.empty()) return nullptr;
  WorkerPtr worker = std::move(idle_.back());
  idle_.pop_back();
  worker->called = true;
  waking_ = true;
  return worker;
}

bool WorkerPool::Grow() {
  JoinEnded();
  MutexLock lock(mutex_);
  if (queue_.empty() || !idle_.empty()) return false;
  const auto oldest = std::min(queue_.front().since, queue_.back().since);
  if (std::chrono::steady_clock::now() - oldest >= kGrowAfter && workers_ < max_workers_) {
    // By half at most, so that a hiccup does not start a thousand threads.
    Spawn(std::min({queue_.size(), std::max<size_t>(4, workers_ / 2), max_workers_ - workers_}));
  }
  return true;
}

size_t WorkerPool::workers() const {
  MutexLock lock(mutex_);
  return workers_;
}

void WorkerPool::Spawn(size_t count) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  for (size_t i = 0; i < count; ++i) {
    auto worker = std::make_unique<WorkerPtr>(std::make_shared<Worker>());
    (*worker)->pool = this;
    if (const int error = pthread_create(&(*worker)->thread, &attributes, &Main, worker.get())) {
      spdlog::warn("cannot start worker thread number {}: error {}", workers_ + 1, error);
      break;
    }
    (void)worker.release();  // Main() owns it
    ++workers_;
  }
  pthread_attr_destroy(&attributes);
}

void WorkerPool::JoinEnded() {
  std::vector<pthread_t> ended;
  {
    MutexLock lock(mutex_);
    ended.swap(ended_);
  }
  for (pthread_t thread : ended) pthread_join(thread, nullptr);
}

void* WorkerPool::Main(void* worker) {
  const std::unique_ptr<WorkerPtr> self(static_cast<WorkerPtr*>(worker));
  pthread_setname_np(pthread_self(), "http-worker");
  (*self)->pool->Work(*self);
  return nullptr;
}

void WorkerPool::Work(const WorkerPtr& self) {
  while (true) {
    std::shared_ptr<Task> task;
    WorkerPtr next;
    bool busy = false;
    {
      MutexLock lock(mutex_);
      while (queue_.empty()) {
        if (!Rest(self)) {
          --workers_;
          ended_.push_back(pthread_self());
          ended_cv_.NotifyAll();
          return;
        }
      }
      task = std::move(queue_.front().task);
      queue_.pop_front();
      if (!queue_.empty() && !waking_) {
        next = CallOne();
        busy = next == nullptr;
      }
    }
    if (next != nullptr) next->wake.NotifyOne();
    if (busy) on_busy_();
    task->RunTask();
  }
}

bool WorkerPool::Rest(const WorkerPtr& self) {
  if (stopping_) return false;
  self->called = false;
  idle_.push_back(self);
  const auto until = std::chrono::steady_clock::now() + kIdleEnd;
  while (!self->called) {
    if (self->wake.WaitUntil(mutex_, until) || self->called) continue;
    // Only the one that rests longest may end, so that the pool shrinks from its cold side.
    if (workers_ > min_workers_) {
      std::erase(idle_, self);
      return false;
    }
    self->wake.Wait(mutex_);
  }
  waking_ = false;
  return true;
}

}  // namespace chatchain::http
