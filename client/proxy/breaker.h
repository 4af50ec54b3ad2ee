// SPDX-License-Identifier: MIT
// The circuit breaker of one node. It only ranks: a node whose breaker is open is asked after all
// others, so the last node is never ejected and a request can always reach a node that lives.
//
// Closed until `failures_to_open` failures in a row; then open for a time that doubles with each
// trip in a row, with jitter; then half open, and the next outcome decides. The trial is normally a
// probe, so no client pays for it. Pure: time and randomness are passed in. Not thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/util/clock.h"

namespace chatchain {

struct BreakerOptions {
  int failures_to_open = 5;
  int open_ms = 1'000;  // the first time; doubled at each trip in a row
  int max_open_ms = 30'000;

  bool operator==(const BreakerOptions&) const = default;
};

class Breaker {
 public:
  enum class State { kClosed, kHalfOpen, kOpen };

  explicit Breaker(BreakerOptions options) : options_(options) {}

  // The outcome of a client's request. A success closes in every state: it is proof.
  void OnRequest(bool ok, SteadyTime now, uint64_t random);
  // The outcome of a probe. A good one does not make up for failed requests (a node may answer
  // probes and nothing else), and counts for nothing while open.
  void OnProbe(bool ok, SteadyTime now, uint64_t random);

  State state(SteadyTime now) const;

 private:
  void Fail(int* counter, SteadyTime now, uint64_t random);
  void Open(SteadyTime now, uint64_t random);
  void Close(SteadyTime now);

  BreakerOptions options_;
  bool open_ = false;
  SteadyTime open_until_{};  // meaningful while open_
  SteadyTime closed_since_{};
  int64_t last_open_ms_ = 0;
  int trips_ = 0;  // in a row; forgotten after staying closed as long as the last opening
  int request_failures_ = 0;  // in a row
  int probe_failures_ = 0;    // in a row
};

// "closed", "half_open", "open": as /network and the metrics say it.
std::string_view BreakerName(Breaker::State state);

}  // namespace chatchain
