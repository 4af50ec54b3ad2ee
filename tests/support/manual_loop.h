// SPDX-License-Identifier: MIT
// What a server's event loop is to a hub: runs what is posted, when the test says so. post() and
// posted() on any thread.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "common/feed/hub.h"
#include "common/util/mutex.h"

namespace chatchain::testing {

class ManualLoop {
 public:
  feed::Hub::Post post() {
    return [this](std::function<void()> work) {
      MutexLock lock(mutex_);
      work_.push_back(std::move(work));
      ++posted_;
    };
  }
  // How much has ever been posted.
  size_t posted() const {
    MutexLock lock(mutex_);
    return posted_;
  }
  void RunAll() {
    while (true) {
      std::function<void()> work;
      {
        MutexLock lock(mutex_);
        if (work_.empty()) return;
        work = std::move(work_.front());
        work_.pop_front();
      }
      work();
    }
  }

 private:
  mutable Mutex mutex_;
  std::deque<std::function<void()>> work_ GUARDED_BY(mutex_);
  size_t posted_ GUARDED_BY(mutex_) = 0;
};

}  // namespace chatchain::testing
