// SPDX-License-Identifier: MIT
// Threads for tries beside the one on the handler's own thread: hedges, and reads by fan-out. They
// are started when needed and kept; both their number and their queue are bounded. Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "common/util/mutex.h"

namespace chatchain {

class HelperPool {
 public:
  explicit HelperPool(size_t max_threads) : max_threads_(max_threads) {}
  // Waits for the jobs that run; drops those that have not begun.
  ~HelperPool();
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;

  // False, and the job is dropped, when every thread is busy and no more are allowed.
  bool Submit(std::function<void()> job);

 private:
  void Run();

  const size_t max_threads_;
  Mutex mutex_;
  CondVar not_empty_;
  std::deque<std::function<void()>> jobs_ GUARDED_BY(mutex_);
  size_t idle_ GUARDED_BY(mutex_) = 0;  // threads that wait and have no job on its way to them
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
