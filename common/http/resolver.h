// SPDX-License-Identifier: MIT
// Names of hosts, without a caller that waits longer than it may. Thread-safe.
#pragma once

#include <sys/socket.h>

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
  explicit Resolver(const std::string& address);

  // Empty: no such host, or not by `deadline`.
  std::vector<Address> Resolve(SteadyTime deadline, const std::function<bool()>& cancelled)
      EXCLUDES(mutex_);
  // The same without waiting: nothing while it is being looked for. `again` false: a caller's first
  // question, which has it looked for where it is not known.
  std::optional<std::vector<Address>> TryResolve(bool again) EXCLUDES(mutex_);

 private:
  struct HostPort {
    std::string host;
    std::string port;
  };
  static std::optional<HostPort> Split(std::string_view address);
  static std::vector<Address> Lookup(const HostPort& where, bool numeric_only);
  void StartLookup() REQUIRES(mutex_);
  void Run() EXCLUDES(mutex_);

  const std::optional<HostPort> where_;
  std::vector<Address> numeric_;
  Mutex mutex_;
  CondVar done_;
  bool running_ GUARDED_BY(mutex_) = false;
  std::vector<Address> addresses_ GUARDED_BY(mutex_);
  SteadyTime fresh_until_ GUARDED_BY(mutex_){};
};

}  // namespace chatchain::http
