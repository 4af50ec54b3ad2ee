// SPDX-License-Identifier: MIT
// A request on its way, driven by what happens to it: an answer of a node, or a time. It waits
// without a thread. A step that throws ends it, and nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "common/http/event_loop.h"
#include "common/util/contain.h"

namespace chatchain {

class Driven : public http::EventLoop::Timed, public std::enable_shared_from_this<Driven> {
 public:
  // Something has happened. Thread-safe; the caller holds a reference and no lock. Steps run on the
  // threads of those who call, one at a time: who comes while another is at it leaves it to him.
  void Kick() {
    if (kicks_.fetch_add(1) > 0) return;
    for (uint32_t seen = 1; seen > 0;) {
      if (!Contained("a request that waits for nodes", [this] { Step(); })) GiveUp();
      seen = kicks_.fetch_sub(seen) - seen;
    }
  }
  void OnDue() final { Kick(); }

 protected:
  // Goes on as far as it can. Called after the end too: it does nothing then.
  virtual void Step() = 0;
  // A step has thrown: forgets whom to tell, at once. The server tells the client.
  virtual void GiveUp() = 0;

 private:
  std::atomic<uint32_t> kicks_{0};
};

}  // namespace chatchain
