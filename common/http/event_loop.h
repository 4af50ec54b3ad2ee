// SPDX-License-Identifier: MIT
// One thread that waits for many sockets and deadlines at once. What it calls must neither block
// nor take long. What throws there is logged, and ends with what its call alone kept alive; the
// loop goes on.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/util/clock.h"

namespace boost::asio {
class io_context;
}

namespace chatchain::http {

class EventLoop {
 public:
  // `name`: of the thread, at most 15 characters.
  explicit EventLoop(const std::string& name);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Ends the thread: nothing is called any more. Not from the loop itself.
  void Stop();
  // Destroys what still waits, uncalled; the destructor does it at the latest. REQUIRES: stopped,
  // and no other thread uses the loop any more.
  void Drop();

  // The one whose thread this is; null: none's.
  static EventLoop* Current();

  // Calls `work` on the loop, never within this call.
  void Post(std::function<void()> work);

  // Something that has a time. Coarse, so that setting one costs a store: it is seen up to
  // kTick late.
  static constexpr std::chrono::milliseconds kTick{5};
  class Timed {
   public:
    virtual ~Timed() = default;
    // On the loop, once for each time that was set and has come; perhaps once more after Unwatch().
    virtual void OnDue() = 0;
    void set_due(SteadyTime at) { due_ns_ = at.time_since_epoch().count(); }

   private:
    friend class EventLoop;
    static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
    std::atomic<int64_t> due_ns_{kNever};
    size_t slot_ = 0;  // in Impl::timed_ while watched
    bool watched_ = false;
  };
  // Looks at the time of `timed`, and keeps it alive, until Unwatch().
  void Watch(std::shared_ptr<Timed> timed);
  void Unwatch(Timed* timed);

  // For those who add sockets.
  boost::asio::io_context& io();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// A few loops that share the work of a program: what begins on one of them stays there.
class EventLoops {
 public:
  // REQUIRES: count > 0. All threads have the same name.
  EventLoops(size_t count, const std::string& name);
  ~EventLoops();

  EventLoop& first() { return *loops_.front(); }
  // For work that belongs to none: each in turn.
  EventLoop& Next() { return At(turn_.fetch_add(1, std::memory_order_relaxed)); }
  EventLoop& At(size_t index) { return *loops_[index % loops_.size()]; }
  // The one whose thread this is, or else the next.
  EventLoop& Here();
  void Stop();
  // What waits on one loop may hold sockets of another: all give up what waits before one ends.
  void Drop();

 private:
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::atomic<size_t> turn_{0};
};

}  // namespace chatchain::http
