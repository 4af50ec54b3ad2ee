// SPDX-License-Identifier: MIT
// An answer that can only be made when something has happened elsewhere, e.g. a commit. Until then
// its request costs no thread; it counts as in flight, and a client that goes away is noticed
// afterwards.
#pragma once

#include <functional>

#include "common/http/message.h"

namespace chatchain::http {

class LaterAnswer {
 public:
  virtual ~LaterAnswer() = default;
  // Called once, on a worker. `resume` must be called exactly once and in bounded time, on any
  // thread, also from within this call.
  virtual void Begin(std::function<void()> resume) = 0;
  // Called once, on a worker, after `resume`. Gives an answer that is neither later nor live.
  virtual Response Finish() = 0;
};

}  // namespace chatchain::http
