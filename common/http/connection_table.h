// SPDX-License-Identifier: MIT
// Every open connection of a server: how many there may be, and who is over his time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain::http {

class Connection;

// Thread-safe.
class ConnectionTable {
 public:
  enum class Admission { kAdmitted, kTooMany, kTooManyOfAddress };

  ConnectionTable(size_t max_connections, size_t max_per_address)
      : max_connections_(max_connections), max_per_address_(max_per_address) {}

  // Whether one more connection of `address` would be within the limits.
  Admission Check(const std::string& address) const EXCLUDES(mutex_);
  void Add(Connection* connection) EXCLUDES(mutex_);
  // Before its descriptor is closed: from then on nobody else touches it.
  void Remove(Connection* connection) EXCLUDES(mutex_);
  // After its descriptor was closed.
  void Gone() EXCLUDES(mutex_);
  // Ends what is over its deadline.
  void CutExpired(int64_t now_ns) EXCLUDES(mutex_);
  // Ends, for reading, what is not within a request whose head is complete.
  void CutIdle() EXCLUDES(mutex_);
  // Ends everything; the number of connections that were left.
  size_t CutAll() EXCLUDES(mutex_);
  // False: `deadline` has passed before the table was empty.
  bool WaitEmpty(SteadyTime deadline) EXCLUDES(mutex_);
  size_t size() const EXCLUDES(mutex_);
  // Connections over the limits, which are being told so.
  size_t refused() const EXCLUDES(mutex_);

 private:
  static void Cut(Connection* connection, int64_t deadline_ns);

  const size_t max_connections_;
  const size_t max_per_address_;
  mutable Mutex mutex_;
  CondVar empty_;
  size_t open_ GUARDED_BY(mutex_) = 0;
  size_t refused_ GUARDED_BY(mutex_) = 0;
  std::vector<Connection*> connections_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, size_t> per_address_ GUARDED_BY(mutex_);
};

}  // namespace chatchain::http
