// SPDX-License-Identifier: MIT
#include "client/proxy/helper_pool.h"

#include <utility>

namespace chatchain {

HelperPool::~HelperPool() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    jobs_.clear();
    threads.swap(threads_);
  }
  not_empty_.NotifyAll();
  for (std::thread& thread : threads) thread.join();
}

bool HelperPool::Submit(std::function<void()> job) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    if (idle_ > 0) {
      --idle_;
    } else {
      if (threads_.size() >= max_threads_) return false;
      threads_.emplace_back([this] { Run(); });
    }
    jobs_.push_back(std::move(job));
  }
  not_empty_.NotifyOne();
  return true;
}

void HelperPool::Run() {
  while (true) {
    std::function<void()> job;
    {
      MutexLock lock(mutex_);
      while (jobs_.empty() && !stopping_) not_empty_.Wait(mutex_);
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
    MutexLock lock(mutex_);
    ++idle_;
  }
}

}  // namespace chatchain
