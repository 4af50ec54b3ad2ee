// SPDX-License-Identifier: MIT
// Names of hosts, without a caller that waits longer than it may. Thread-safe.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain::http {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

// Of one address, "HOST:PORT" or "[V6]:PORT". The system's resolver can be neither cancelled nor
// given a deadline, so it runs on a thread of its own, one at a time. The thread holds only this
// state.
class Resolver : public std::enable_shared_from_this<Resolver> {
 public:
  struct HostPort {
    std::string host;
    std::string port;
  };
  // Blocks, unless `numeric_only`: then a name has no address.
  using Lookup = std::function<std::vector<Address>(const HostPort&, bool numeric_only)>;
  static std::vector<Address> SystemLookup(const HostPort& where, bool numeric_only);

  // `fresh_for`: how long an answer is used before it is looked for again.
  explicit Resolver(const std::string& address, Lookup lookup = SystemLookup,
                    SteadyTime::duration fresh_for = std::chrono::seconds(10));

  // Empty: no such host, or not by `deadline`.
  std::vector<Address> Resolve(SteadyTime deadline, const std::function<bool()>& cancelled)
      EXCLUDES(mutex_);
  // The same without waiting: nothing while it is being looked for. `*lookup`: what this caller
  // waits for; 0 with its first question, which has it looked for where it is not known.
  std::optional<std::vector<Address>> TryResolve(uint64_t* lookup) EXCLUDES(mutex_);
  // The last answer, however old: better than none while the system's resolver is slow.
  std::vector<Address> Former() const EXCLUDES(mutex_);

 private:
  static std::optional<HostPort> Split(std::string_view address);
  void StartLookup() REQUIRES(mutex_);
  void Run() EXCLUDES(mutex_);

  const Lookup lookup_;
  const SteadyTime::duration fresh_for_;
  const std::optional<HostPort> where_;
  std::vector<Address> numeric_;
  mutable Mutex mutex_;
  CondVar done_;
  bool running_ GUARDED_BY(mutex_) = false;
  uint64_t ended_ GUARDED_BY(mutex_) = 0;  // lookups
  std::vector<Address> addresses_ GUARDED_BY(mutex_);
  SteadyTime fresh_until_ GUARDED_BY(mutex_){};
};

}  // namespace chatchain::http
