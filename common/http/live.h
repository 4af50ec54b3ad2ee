// SPDX-License-Identifier: MIT
// A body that goes on for as long as its reader stays, e.g. an event stream. Its connection is
// parked on the event loop and costs no thread; whoever has something new calls the poke that
// Begin() gave.
//
// Threads: all calls are made on the event loop, one at a time, and must not block. Slow readers
// are held by pulling: Fill() is called only when all it gave before is with the kernel.
#pragma once

#include <functional>
#include <string>

namespace chatchain::http {

class LiveBody {
 public:
  // What Fill() gives at a time, roughly; more waits where it is.
  static constexpr size_t kFillBytes = 64 * 1024;

  enum class Step {
    kWait,  // nothing more for now: poke when there is
    kMore,  // `*out` is full
    kEnd,   // the body is complete (`*out` may hold its last part)
  };

  virtual ~LiveBody() = default;
  // The head of the answer is on its way. `poke` may be called on the event loop until End().
  virtual void Begin(std::function<void()> poke) = 0;
  // Appends what there is to be sent, until about kFillBytes. The server is `draining`: the body
  // should come to its end.
  virtual Step Fill(std::string* out, bool draining) = 0;
  // The connection is closed; nothing is called any more.
  virtual void End() = 0;
};

}  // namespace chatchain::http
