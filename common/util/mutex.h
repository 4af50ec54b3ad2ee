// SPDX-License-Identifier: MIT
// A mutex that clang's -Wthread-safety understands: members are marked GUARDED_BY(mutex_), and the
// clang preset refuses an access without the lock. The attribute set is documented at
// https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define CHATCHAIN_TSA(x) __attribute__((x))
#else
#define CHATCHAIN_TSA(x)
#endif

#define CAPABILITY(x) CHATCHAIN_TSA(capability(x))
#define SCOPED_CAPABILITY CHATCHAIN_TSA(scoped_lockable)
#define GUARDED_BY(x) CHATCHAIN_TSA(guarded_by(x))
#define REQUIRES(...) CHATCHAIN_TSA(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) CHATCHAIN_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) CHATCHAIN_TSA(release_capability(__VA_ARGS__))
#define EXCLUDES(...) CHATCHAIN_TSA(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS CHATCHAIN_TSA(no_thread_safety_analysis)

namespace chatchain {

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits return on any wake-up: callers loop over their condition.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False when `deadline` has passed.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool in_time = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace chatchain
