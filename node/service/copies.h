// SPDX-License-Identifier: MIT
// How many nodes hold a message: this one, and every other id whose latest `have` covers a record
// of it, or in whose own log a record of it stands. A peer's next pull is its acknowledgement.
// Thread-safe.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/protocol/record.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain {

class CopyTracker {
 public:
  explicit CopyTracker(std::string node_id) : node_id_(std::move(node_id)) {}

  // A pull of `node` showed what it has: Served::holds, i.e. of known epochs only, forked ones left
  // out.
  void Seen(const std::string& node, HeadVector have);
  // Records have arrived: positions may have been added.
  void Poke();

  int Count(const std::vector<std::pair<EpochKey, Seq>>& positions) const;
  // What `node` has shown last; empty when it never pulled.
  HeadVector LastSeen(const std::string& node) const;

  // The same of every node that pulls and is none of `ids`.
  std::vector<HeadVector> LastSeenExcept(const std::vector<std::string>& ids) const;

  // Grows with every Poke().
  uint64_t arrivals() const;
  // Grows with every change.
  uint64_t version() const;
  // Waits for a change after `version`; false when the deadline passed or Interrupt() was called.
  bool WaitForChange(uint64_t version, SteadyTime deadline) const;
  void Interrupt();

 private:
  const std::string node_id_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::map<std::string, HeadVector> have_ GUARDED_BY(mutex_);
  uint64_t version_ GUARDED_BY(mutex_) = 0;
  uint64_t arrivals_ GUARDED_BY(mutex_) = 0;
  bool interrupted_ GUARDED_BY(mutex_) = false;
};

}  // namespace chatchain
