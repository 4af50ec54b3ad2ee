// SPDX-License-Identifier: MIT
#include "common/http/event_loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "common/util/contain.h"
#include "common/util/mutex.h"

namespace chatchain::http {

namespace {
// Ticks with nothing to watch before it sleeps: a lone client must not pay a wake-up for each of
// its requests.
constexpr int kIdleTicks = 200;

thread_local EventLoop* current_loop = nullptr;

// Gives up what waits before it is destroyed.
class Context : public boost::asio::io_context {
 public:
  using execution_context::shutdown;
  using io_context::io_context;
};
}  // namespace

class EventLoop::Impl {
 public:
  Impl(EventLoop* self, const std::string& name)
      : work_(boost::asio::make_work_guard(io_)), tick_(io_), thread_([this, self, name] {
          pthread_setname_np(pthread_self(), name.c_str());
          current_loop = self;
          while (!Contained("a call on an event loop", [this] { io_.run(); })) {
          }
        }) {}

  void Stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  void Drop() EXCLUDES(mutex_) {
    std::vector<std::shared_ptr<Timed>> dropped;  // destroyed after the lock
    {
      MutexLock lock(mutex_);
      for (const std::shared_ptr<Timed>& timed : timed_) timed->watched_ = false;
      dropped.swap(timed_);
    }
    io_.shutdown();
  }

  void Watch(std::shared_ptr<Timed> timed) EXCLUDES(mutex_) {
    bool wake = false;
    {
      MutexLock lock(mutex_);
      Timed& watched = *timed;
      timed_.push_back(std::move(timed));
      watched.slot_ = timed_.size() - 1;
      watched.watched_ = true;
      wake = std::exchange(asleep_, false);
    }
    if (wake) boost::asio::post(io_, [this] { Tick(); });
  }

  void Unwatch(Timed* timed) EXCLUDES(mutex_) {
    std::shared_ptr<Timed> ended;  // destroyed after the lock
    MutexLock lock(mutex_);
    if (!timed->watched_) return;
    timed->watched_ = false;
    ended = std::move(timed_[timed->slot_]);
    if (ended != timed_.back() && timed_.back() != nullptr) {
      timed_.back()->slot_ = timed->slot_;
      timed_[timed->slot_] = std::move(timed_.back());
    }
    timed_.pop_back();
  }

  boost::asio::io_context& io() { return io_; }

 private:
  void Tick() EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      idle_ticks_ = timed_.empty() ? idle_ticks_ + 1 : 0;
      if (idle_ticks_ > kIdleTicks) {
        idle_ticks_ = 0;
        asleep_ = true;
        return;
      }
      const int64_t now_ns = std::chrono::steady_clock::now().time_since_epoch().count();
      for (const std::shared_ptr<Timed>& timed : timed_) {
        int64_t due_ns = timed->due_ns_;
        if (due_ns <= now_ns && timed->due_ns_.compare_exchange_strong(due_ns, Timed::kNever)) {
          due_.push_back(timed);
        }
      }
    }
    for (const std::shared_ptr<Timed>& timed : due_) {
      Contained("a timer on an event loop", [&] { timed->OnDue(); });
    }
    due_.clear();
    tick_.expires_after(kTick);
    tick_.async_wait([this](const boost::system::error_code& error) {
      if (!error) Tick();
    });
  }

  Context io_{1};
  const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer tick_;           // of the loop alone
  std::vector<std::shared_ptr<Timed>> due_;  // of the loop alone
  Mutex mutex_;
  std::vector<std::shared_ptr<Timed>> timed_ GUARDED_BY(mutex_);
  bool asleep_ GUARDED_BY(mutex_) = true;
  int idle_ticks_ GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

EventLoop::EventLoop(const std::string& name) : impl_(std::make_unique<Impl>(this, name)) {}

EventLoop::~EventLoop() {
  Stop();
  Drop();
}

void EventLoop::Stop() {
  impl_->Stop();
}

void EventLoop::Drop() {
  impl_->Drop();
}

EventLoop* EventLoop::Current() {
  return current_loop;
}

void EventLoop::Post(std::function<void()> work) {
  boost::asio::post(impl_->io(), std::move(work));
}

void EventLoop::Watch(std::shared_ptr<Timed> timed) {
  impl_->Watch(std::move(timed));
}

void EventLoop::Unwatch(Timed* timed) {
  impl_->Unwatch(timed);
}

boost::asio::io_context& EventLoop::io() {
  return impl_->io();
}

EventLoops::EventLoops(size_t count, const std::string& name) {
  for (size_t i = 0; i < count; ++i) loops_.push_back(std::make_unique<EventLoop>(name));
}

EventLoops::~EventLoops() {
  Stop();
  Drop();
}

EventLoop& EventLoops::Here() {
  for (const auto& loop : loops_) {
    if (loop.get() == EventLoop::Current()) return *loop;
  }
  return Next();
}

void EventLoops::Stop() {
  for (const auto& loop : loops_) loop->Stop();
}

void EventLoops::Drop() {
  for (const auto& loop : loops_) loop->Drop();
}

}  // namespace chatchain::http
