// SPDX-License-Identifier: MIT
// What the calls to one address share: how it is found, and connections that are kept between
// calls. Thread-safe.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/http/client.h"
#include "common/http/resolver.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain::http {

// A connected (or connecting) non-blocking socket.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// Idle connections; the one that was used last is taken first. `Connection` points to what has an
// fd().
template <typename Connection>
class IdlePool {
 public:
  IdlePool(size_t max_idle, std::chrono::milliseconds max_age)
      : max_idle_(max_idle), max_age_(max_age) {}

  // One that seems to live, and that is `fitting`; null: there is none.
  template <typename Fitting>
  Connection Take(Fitting fitting) EXCLUDES(mutex_) {
    while (true) {
      Idle idle;
      {
        MutexLock lock(mutex_);
        const auto found = std::find_if(idle_.rbegin(), idle_.rend(), [&](const Idle& each) {
          return fitting(*each.connection);
        });
        if (found == idle_.rend()) return nullptr;
        idle = std::move(*found);
        idle_.erase(found.base() - 1);
      }
      if (std::chrono::steady_clock::now() - idle.since > max_age_) continue;
      // An idle connection with something to read was closed, or the peer says what nobody asked
      // for.
      pollfd state{idle.connection->fd(), POLLIN, 0};
      if (::poll(&state, 1, 0) == 0) return std::move(idle.connection);
    }
  }

  void Keep(Connection connection) EXCLUDES(mutex_) {
    Idle dropped;  // closed after the lock
    MutexLock lock(mutex_);
    if (max_idle_ == 0) {
      dropped.connection = std::move(connection);
      return;
    }
    if (idle_.size() >= max_idle_) {
      dropped = std::move(idle_.front());
      idle_.erase(idle_.begin());
    }
    idle_.push_back({std::move(connection), std::chrono::steady_clock::now()});
  }

 private:
  struct Idle {
    Connection connection;
    SteadyTime since;
  };
  const size_t max_idle_;
  const std::chrono::milliseconds max_age_;
  Mutex mutex_;
  std::vector<Idle> idle_ GUARDED_BY(mutex_);  // the last one was used last
};

class LoopConnection;  // client_call.cc

struct ClientCore {
  // `names`: null: the system's.
  ClientCore(std::string to, ClientOptions with, std::shared_ptr<Resolver> names = nullptr)
      : address(std::move(to)),
        options(with),
        resolver(names != nullptr ? std::move(names) : std::make_shared<Resolver>(address)),
        idle(options.max_idle_connections, std::chrono::milliseconds(options.idle_timeout_ms)),
        idle_on_loop(options.max_idle_connections,
                     std::chrono::milliseconds(options.idle_timeout_ms)) {}

  const std::string address;
  const ClientOptions options;
  const std::shared_ptr<Resolver> resolver;
  IdlePool<std::unique_ptr<Socket>> idle;
  IdlePool<std::shared_ptr<LoopConnection>> idle_on_loop;
};

}  // namespace chatchain::http
