// SPDX-License-Identifier: MIT
// An answer that can only be made when something has happened elsewhere, e.g. a commit. Until then
// its request costs no thread.
#pragma once

#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "common/http/message.h"

namespace chatchain::http {

class LaterAnswer {
 public:
  virtual ~LaterAnswer() = default;
  // Called once, on the handler's thread. `resume` must be called exactly once and in bounded time,
  // on any thread, also from within this call. Where it is dropped instead,
  // because something has thrown, GivenUp() is what the client gets.
  virtual void Begin(std::function<void()> resume) = 0;
  // Called once, after `resume`, on a worker or an event loop. Gives an answer that is neither
  // later nor live.
  virtual Response Finish() = 0;
  // In place of Finish(), on a worker.
  virtual Response GivenUp() { return FailedResponse(); }
  // Asked after `resume`. True: Finish() does not block and takes microseconds: it runs on an event
  // loop, within `resume` where that is called on one.
  virtual bool finishes_at_once() const { return false; }

  // False: it counts as in flight while it waits, and a client that goes away is noticed
  // afterwards. True: it does not, whoever made it bounds the number of such answers, and Cancel()
  // is called when the client goes away.
  virtual bool waits_long() const { return false; }
  // Nobody wants the answer any more: `resume` soon. On any thread, at any time, before Begin()
  // too; must not block.
  virtual void Cancel() {}
};

// For callers that may block: the answer itself, where `response` is later. Throws where that one
// is given up.
inline Response AwaitLater(Response response) {
  if (response.later == nullptr) return response;
  // Shared: who resumes may be at it still when we are woken.
  auto resumed = std::make_shared<std::promise<void>>();
  auto done = resumed->get_future();
  response.later->Begin([resumed = std::move(resumed)] { resumed->set_value(); });
  done.get();  // throws where nobody will resume
  return response.later->Finish();
}

}  // namespace chatchain::http
