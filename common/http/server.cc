// SPDX-License-Identifier: MIT
#include "common/http/server.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <cstring>
#include <future>
#include <optional>
#include <utility>

#include "common/http/connection.h"
#include "common/http/connection_table.h"
#include "common/http/event_loop.h"
#include "common/util/contain.h"
#include "common/util/error_text.h"
#include "common/util/log.h"

namespace chatchain::http {

namespace {

namespace asio = boost::asio;

constexpr int kBacklog = 4096;
constexpr int kAcceptsInARow = 128;
constexpr std::chrono::milliseconds kAcceptPause{50};  // when descriptors have run out
// Beside those of clients: files, the log, nodes and peers, and clients that are being refused.
constexpr size_t kSpareDescriptors = 4096;
constexpr size_t kLeastSpareDescriptors = 512;
constexpr int64_t kLiveTickNs = 1'000'000'000;
constexpr size_t kExtraWorkers = 8;      // for routes that are never shed
constexpr size_t kRefusalsAtOnce = 256;  // refused connections that still get to read their 503

std::string HostPort(const std::string& host, uint16_t port) {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// What the limit of open files leaves for clients.
struct Room {
  size_t connections = 0;
  size_t refusals = 0;  // those that are still being told why
};

// Raises the limit to what `connections` need, with plenty to spare, or to the hard limit.
Room RaiseDescriptorLimit(size_t connections) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {connections, kRefusalsAtOnce};
  const rlim_t wanted = connections + kSpareDescriptors;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = std::min(limit.rlim_max, wanted);
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= connections + kLeastSpareDescriptors) return {connections, kRefusalsAtOnce};
  const size_t have = static_cast<size_t>(limit.rlim_cur);
  const size_t room = have - std::min(kLeastSpareDescriptors, have / 2);
  spdlog::warn(
      "the limit of open files is {}, which is enough for {} connections instead of the configured "
      "{}; "
      "raise it (ulimit -n, LimitNOFILE=)",
      have, room, connections);
  return {room, std::min(kRefusalsAtOnce, have / 16)};
}

struct AddrInfoFree {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};

std::string AddressText(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {  // an IPv4 peer of a socket for both
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
  } else {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  }
  return text.data();
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, std::vector<Route> routes, EventLoops* loops)
      : options_(std::move(options)), router_(std::move(routes), options_.cors_origins) {
    if (loops == nullptr) own_loops_.emplace(1, "http-io");
    loops_ = loops != nullptr ? loops : &*own_loops_;
  }

  ~Impl() {
    Stop();
    if (core_ != nullptr) core_->live_strand.reset();
  }

  Result<void, std::string> Start();
  bool Drain(int timeout_ms);
  void Stop();

  uint16_t port() const { return port_; }
  std::string address() const { return HostPort(options_.host, port_); }
  ServerStats stats() const;
  void PostToLive(std::function<void()> work) { asio::post(*core_->live_strand, std::move(work)); }
  void PostToLiveAt(SteadyTime at, std::function<void()> work);

 private:
  void TickLive();
  Result<int, std::string> Listen();
  void StopListening();
  void Accept();
  void AcceptAll();
  void AcceptLater();
  void Admit(int fd, const sockaddr_storage& address);
  void Tick();
  void GrowPoolSoon();

  ServerOptions options_;
  const Router router_;
  uint16_t port_ = 0;

  // Destroyed in reverse: the loop first. What waited on it was dropped when the server stopped.
  std::optional<ConnectionTable> table_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<ServerCore> core_;
  std::optional<EventLoops> own_loops_;
  EventLoops* loops_ = nullptr;  // the listener, timers and live answers are on the first
  // The listener and the timers share a strand: they are one activity, on whichever thread.
  std::optional<asio::strand<asio::io_context::executor_type>> strand_;
  std::unique_ptr<asio::posix::stream_descriptor> listener_;
  std::unique_ptr<asio::steady_timer> tick_;
  std::unique_ptr<asio::steady_timer> accept_pause_;
  int64_t live_tick_ns_ = 0;
  int tick_ms_ = 100;
  size_t refusals_at_once_ = 0;
  bool ipv6_ = false;
  bool accept_trouble_ = false;  // logged once a time of trouble

  std::atomic<bool> growing_{false};
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> refused_{0};
  bool started_ = false;
};

Result<int, std::string> Server::Impl::Listen() {
  const std::string where = HostPort(options_.host, options_.port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(options_.host.empty() ? nullptr : options_.host.c_str(),
                                 std::to_string(options_.port).c_str(), &hints, &found);
  if (failed != 0) return Err("cannot listen on " + where + ": " + gai_strerror(failed));
  const std::unique_ptr<addrinfo, AddrInfoFree> addresses(found);
  int error = 0;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    const int fd = ::socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      error = errno;
      continue;
    }
    // A port that was freed a moment ago can be bound; SO_REUSEPORT would let two servers share
    // one.
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // accepted sockets inherit it
    if (::bind(fd, info->ai_addr, info->ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0) {
      sockaddr_storage bound{};
      socklen_t size = sizeof(bound);
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
      ipv6_ = bound.ss_family == AF_INET6;
      port_ = ntohs(ipv6_ ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                          : reinterpret_cast<sockaddr_in&>(bound).sin_port);
      return fd;
    }
    error = errno;
    ::close(fd);
  }
  return Err("cannot listen on " + where + ": " + ErrorText(error));
}

Result<void, std::string> Server::Impl::Start() {
  auto fd = Listen();
  if (!fd) return Err(std::move(fd.error()));
  const Room room = RaiseDescriptorLimit(options_.max_connections);
  refusals_at_once_ = room.refusals;
  table_.emplace(room.connections, options_.max_connections_per_address);
  pool_ = std::make_unique<WorkerPool>(std::min(options_.min_workers, options_.max_in_flight),
                                       options_.max_in_flight + kExtraWorkers,
                                       [this] { GrowPoolSoon(); });
  asio::io_context& io = loops_->first().io();
  core_.reset(new ServerCore{options_, router_, *table_, *pool_, asio::make_strand(io)});
  strand_.emplace(asio::make_strand(io));
  listener_ = std::make_unique<asio::posix::stream_descriptor>(*strand_, *fd);
  tick_ = std::make_unique<asio::steady_timer>(*strand_);
  accept_pause_ = std::make_unique<asio::steady_timer>(*strand_);
  const int shortest_ms = std::min({options_.head_timeout_ms, options_.body_timeout_ms,
                                    options_.write_timeout_ms, options_.idle_timeout_ms});
  tick_ms_ = std::clamp(shortest_ms / 8, 5, 250);
  Accept();
  Tick();
  started_ = true;
  return {};
}

// ---- accepting

void Server::Impl::Accept() {
  listener_->async_wait(asio::posix::stream_descriptor::wait_read,
                        [this](const boost::system::error_code& error) {
                          if (!error && listener_->is_open()) AcceptAll();
                        });
}

void Server::Impl::AcceptAll() {
  for (int i = 0; i < kAcceptsInARow; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    const int fd = ::accept4(listener_->native_handle(), reinterpret_cast<sockaddr*>(&address),
                             &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accept_trouble_ = false;
      accepted_.fetch_add(1, std::memory_order_relaxed);
      Contained("a new connection", [&] { Admit(fd, address); });
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) break;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
      if (!accept_trouble_) spdlog::warn("cannot accept connections: {}", ErrorText(error));
      accept_trouble_ = true;
      return AcceptLater();
    }
    // Anything else concerns only the connection that is gone already.
  }
  Accept();
}

void Server::Impl::AcceptLater() {
  accept_pause_->expires_after(kAcceptPause);
  accept_pause_->async_wait([this](const boost::system::error_code& error) {
    if (!error && listener_->is_open()) AcceptAll();
  });
}

void Server::Impl::Admit(int fd, const sockaddr_storage& address) {
  std::string remote = AddressText(address);
  const ConnectionTable::Admission admission = table_->Check(remote);
  if (admission == ConnectionTable::Admission::kAdmitted) {
    std::make_shared<Connection>(*core_, loops_->Next().io(), fd, ipv6_, std::move(remote))
        ->Start();
    return;
  }
  refused_.fetch_add(1, std::memory_order_relaxed);
  if (table_->refused() >= refusals_at_once_) {
    ::close(fd);
    return;
  }
  std::make_shared<Connection>(*core_, loops_->Next().io(), fd, ipv6_, std::move(remote),
                               /*refused=*/true)
      ->Refuse(admission == ConnectionTable::Admission::kTooMany
                   ? "the server has as many connections as it may have"
                   : "there are too many connections from this address");
}

// ---- time

void Server::Impl::Tick() {
  tick_->expires_after(std::chrono::milliseconds(tick_ms_));
  tick_->async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    Contained("the clock of the server", [this] {
      const int64_t now_ns = NowNs();
      table_->CutExpired(now_ns);
      if (now_ns >= live_tick_ns_) {
        live_tick_ns_ = now_ns + kLiveTickNs;
        TickLive();
      }
    });
    Tick();
  });
}

// Heartbeats, and what else a live answer does by the clock; and its end when draining begins.
void Server::Impl::TickLive() {
  asio::post(*core_->live_strand, [core = core_.get()] {
    // Whoever is closed meanwhile takes itself out of the set.
    std::vector<std::shared_ptr<Connection>> all;
    all.reserve(core->live.size());
    for (Connection* connection : core->live) all.push_back(connection->shared_from_this());
    for (const auto& connection : all) {
      Contained("a live answer", [&] { connection->TickLive(); });
    }
  });
}

void Server::Impl::PostToLiveAt(SteadyTime at, std::function<void()> work) {
  auto timer = std::make_shared<asio::steady_timer>(loops_->first().io(), at);
  timer->async_wait(asio::bind_executor(
      *core_->live_strand, [timer, work = std::move(work)](const boost::system::error_code& error) {
        if (!error) work();
      }));
}

void Server::Impl::GrowPoolSoon() {
  if (growing_.exchange(true)) return;
  auto timer = std::make_shared<asio::steady_timer>(loops_->first().io(), WorkerPool::kGrowAfter);
  timer->async_wait([this, timer](const boost::system::error_code& /*error*/) {
    growing_ = false;
    if (pool_->Grow()) GrowPoolSoon();
  });
}

// ---- ending

void Server::Impl::StopListening() {
  std::promise<void> closed;
  asio::post(*strand_, [&] {
    boost::system::error_code ignored;
    if (listener_->is_open()) listener_->close(ignored);
    closed.set_value();
  });
  closed.get_future().wait();
}

bool Server::Impl::Drain(int timeout_ms) {
  if (!started_) return true;
  const SteadyTime deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  core_->draining = true;
  StopListening();
  table_->CutIdle();
  TickLive();
  if (table_->WaitEmpty(deadline)) return true;
  const size_t cut = table_->CutAll();
  if (cut > 0) spdlog::warn("{} connections were cut at the end of {} ms", cut, timeout_ms);
  return cut == 0;
}

void Server::Impl::Stop() {
  if (!started_) return;
  started_ = false;
  core_->draining = true;
  StopListening();
  table_->CutAll();
  // Handlers under way end by themselves; their connections then find their sockets cut.
  table_->WaitEmpty(SteadyTime::max());
  core_->resumes.AwaitNone();
  loops_->Stop();
  pool_.reset();
  // While those still live whom it refers to.
  loops_->Drop();
}

ServerStats Server::Impl::stats() const {
  ServerStats stats;
  stats.connections_accepted = accepted_;
  stats.connections_refused = refused_;
  if (core_ == nullptr) return stats;
  stats.connections_open = table_->size();
  stats.requests = core_->requests;
  stats.requests_shed = core_->requests_shed;
  stats.in_flight = core_->in_flight;
  stats.buffered_bytes = core_->buffered_bytes;
  stats.live = core_->live_count;
  stats.workers = pool_ ? pool_->workers() : 0;
  return stats;
}

Server::Server(ServerOptions options, std::vector<Route> routes, EventLoops* loops)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(routes), loops)) {}

Server::~Server() = default;

Result<void, std::string> Server::Start() {
  return impl_->Start();
}
uint16_t Server::port() const {
  return impl_->port();
}
std::string Server::address() const {
  return impl_->address();
}
bool Server::Drain(int timeout_ms) {
  return impl_->Drain(timeout_ms);
}
void Server::PostToLive(std::function<void()> work) {
  impl_->PostToLive(std::move(work));
}
void Server::PostToLiveAt(SteadyTime at, std::function<void()> work) {
  impl_->PostToLiveAt(at, std::move(work));
}
ServerStats Server::stats() const {
  return impl_->stats();
}

}  // namespace chatchain::http
