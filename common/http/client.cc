// SPDX-License-Identifier: MIT
#include "common/http/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "common/http/framing.h"
#include "common/util/mutex.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using Kind = TransportError::Kind;

constexpr size_t kReadBytes = 16 * 1024;   // on each thread that calls
constexpr milliseconds kResolveSlice{20};  // how often a wait for the resolver looks for a cancel
constexpr std::chrono::seconds kResolvedFor{10};

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

// For poll(): rounded up, so that it never spins through the last millisecond.
int RemainingMs(SteadyTime deadline) {
  const auto left = deadline - Now();
  if (left <= SteadyTime::duration::zero()) return 0;
  return static_cast<int>(
      std::min<int64_t>(std::chrono::ceil<milliseconds>(left).count(), 24 * 3600 * 1000));
}

std::string ErrorText(int error) {
  return std::generic_category().message(error);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

struct HostPort {
  std::string host;
  std::string port;
};

// "HOST:PORT" or "[V6]:PORT".
std::optional<HostPort> SplitAddress(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == address.size())
    return std::nullopt;
  std::string_view host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{std::string(host), std::string(address.substr(colon + 1))};
}

std::vector<Address> Lookup(const HostPort& where, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  std::vector<Address> addresses;
  if (getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &found) != 0) return addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Address address;
    memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.size = info->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

// The system's resolver can be neither cancelled nor given a deadline, so it runs on a thread of
// its own, one at a time, and callers wait no longer than they may. The thread holds only this
// state.
class Resolver : public std::enable_shared_from_this<Resolver> {
 public:
  explicit Resolver(std::optional<HostPort> where) : where_(std::move(where)) {
    if (where_) numeric_ = Lookup(*where_, /*numeric_only=*/true);
  }

  // Empty: no such host, or not by `deadline`.
  std::vector<Address> Resolve(SteadyTime deadline, const std::function<bool()>& cancelled)
      EXCLUDES(mutex_) {
    if (!numeric_.empty() || !where_) return numeric_;
    MutexLock lock(mutex_);
    if (Now() < fresh_until_) return addresses_;
    if (!running_) {
      running_ = true;
      try {
        std::thread([self = shared_from_this()] { self->Run(); }).detach();
      } catch (const std::system_error&) {
        running_ = false;  // no thread to be had: as if the name could not be found
      }
    }
    while (running_ && Now() < deadline && !cancelled()) {
      done_.WaitUntil(mutex_, std::min(deadline, Now() + kResolveSlice));
    }
    // A former answer is better than none while the resolver is slow.
    return addresses_;
  }

 private:
  void Run() EXCLUDES(mutex_) {
    std::vector<Address> found = Lookup(*where_, /*numeric_only=*/false);
    MutexLock lock(mutex_);
    running_ = false;
    if (!found.empty()) {
      addresses_ = std::move(found);
      fresh_until_ = Now() + kResolvedFor;
    }
    done_.NotifyAll();
  }

  const std::optional<HostPort> where_;
  std::vector<Address> numeric_;
  Mutex mutex_;
  CondVar done_;
  bool running_ GUARDED_BY(mutex_) = false;
  std::vector<Address> addresses_ GUARDED_BY(mutex_);
  SteadyTime fresh_until_ GUARDED_BY(mutex_);
};

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

char* ReadBuffer() {
  thread_local std::unique_ptr<char[]> buffer(new char[kReadBytes]);
  return buffer.get();
}

bool IsTarget(std::string_view target) {
  return !target.empty() &&
         std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

// ---- cancelling

struct Cancellation::State {
  Mutex mutex;
  bool cancelled GUARDED_BY(mutex) = false;
  int fd GUARDED_BY(mutex) = -1;  // of the call under way; shut down, never closed, from here
};

Cancellation::Cancellation() : state_(std::make_shared<State>()) {}
Cancellation::~Cancellation() = default;

void Cancellation::Cancel() {
  MutexLock lock(state_->mutex);
  state_->cancelled = true;
  if (state_->fd >= 0) ::shutdown(state_->fd, SHUT_RDWR);
}

bool Cancellation::cancelled() const {
  MutexLock lock(state_->mutex);
  return state_->cancelled;
}

// ---- the client

class Client::Impl {
 public:
  Impl(std::string address, ClientOptions options)
      : address_(std::move(address)),
        options_(options),
        resolver_(std::make_shared<Resolver>(SplitAddress(address_))) {}

  Result<ClientResponse, TransportError> Send(const ClientRequest& request, SteadyTime deadline,
                                              Cancellation* cancellation);
  const std::string& address() const { return address_; }

 private:
  struct Idle {
    Socket socket;
    SteadyTime since;
  };

  // One call: what it waits on, until when, and what has happened.
  struct Call {
    SteadyTime deadline;
    std::shared_ptr<Cancellation::State> cancellation;
    bool sent = false;

    bool Cancelled() const {
      if (cancellation == nullptr) return false;
      MutexLock lock(cancellation->mutex);
      return cancellation->cancelled;
    }
    // False: cancelled already.
    bool Watch(int fd) const {
      if (cancellation == nullptr) return true;
      MutexLock lock(cancellation->mutex);
      cancellation->fd = fd;
      return !cancellation->cancelled;
    }
    void Unwatch() const {
      if (cancellation == nullptr) return;
      MutexLock lock(cancellation->mutex);
      cancellation->fd = -1;
    }
  };

  TransportError Fail(const Call& call, Kind kind, std::string_view what) const;
  std::string MakeHead(const ClientRequest& request) const;
  std::optional<Socket> TakeIdle();
  void Keep(Socket socket);
  Result<Socket, TransportError> Connect(const Call& call);
  Result<void, TransportError> ConnectTo(const Call& call, const Address& address,
                                         SteadyTime deadline, Socket* socket);
  Result<ClientResponse, TransportError> Exchange(Call* call, const ClientRequest& request,
                                                  std::string_view head, int fd, bool* reusable);

  const std::string address_;
  const ClientOptions options_;
  const std::shared_ptr<Resolver> resolver_;
  Mutex mutex_;
  std::vector<Idle> idle_ GUARDED_BY(mutex_);  // the last one was used last
};

TransportError Client::Impl::Fail(const Call& call, Kind kind, std::string_view what) const {
  // Whatever went wrong after a cancel went wrong because of it.
  if (call.Cancelled()) return {Kind::kCancelled, address_ + ": cancelled", call.sent};
  return {kind, address_ + ": " + std::string(what), call.sent};
}

std::string Client::Impl::MakeHead(const ClientRequest& request) const {
  std::string head;
  head.reserve(256);
  const auto field = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
  field("Host", address_);
  for (const auto& [name, value] : request.headers.all()) {
    // A value that came from a peer must not become a second field or request.
    if (IsToken(name) && IsFieldValue(value) && !EqualNoCase(name, "host") &&
        !EqualNoCase(name, "content-length") && !EqualNoCase(name, "transfer-encoding")) {
      field(name, value);
    }
  }
  if (!request.content_type.empty() && IsFieldValue(request.content_type)) {
    field("Content-Type", request.content_type);
  }
  const bool bodiless =
      request.body.empty() && (request.method == "GET" || request.method == "HEAD");
  if (!bodiless) field("Content-Length", std::to_string(request.body.size()));
  head.append("\r\n");
  return head;
}

std::optional<Socket> Client::Impl::TakeIdle() {
  while (true) {
    Idle idle;
    {
      MutexLock lock(mutex_);
      if (idle_.empty()) return std::nullopt;
      idle = std::move(idle_.back());
      idle_.pop_back();
    }
    if (Now() - idle.since > milliseconds(options_.idle_timeout_ms)) continue;
    // An idle connection with something to read was closed, or the peer says what nobody asked for.
    pollfd state{idle.socket.fd(), POLLIN, 0};
    if (::poll(&state, 1, 0) == 0) return std::move(idle.socket);
  }
}

void Client::Impl::Keep(Socket socket) {
  Idle oldest;  // closed after the lock
  MutexLock lock(mutex_);
  if (options_.max_idle_connections == 0) {
    oldest.socket = std::move(socket);
    return;
  }
  if (idle_.size() >= options_.max_idle_connections) {
    oldest = std::move(idle_.front());
    idle_.erase(idle_.begin());
  }
  idle_.push_back({std::move(socket), Now()});
}

Result<void, TransportError> Client::Impl::ConnectTo(const Call& call, const Address& address,
                                                     SteadyTime deadline, Socket* socket) {
  *socket =
      Socket(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = socket->fd();
  if (fd < 0) return Err(Fail(call, Kind::kConnect, "no socket: " + ErrorText(errno)));
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0)
    return {};
  if (errno != EINPROGRESS)
    return Err(Fail(call, Kind::kConnect, "cannot connect: " + ErrorText(errno)));
  if (!call.Watch(fd)) {
    call.Unwatch();
    return Err(Fail(call, Kind::kCancelled, ""));
  }
  pollfd state{fd, POLLOUT, 0};
  int ready = 0;
  do {
    ready = ::poll(&state, 1, RemainingMs(deadline));
  } while (ready < 0 && errno == EINTR);
  call.Unwatch();
  if (ready <= 0) {
    const bool all_over = Now() >= call.deadline;
    return Err(Fail(call, all_over ? Kind::kTimeout : Kind::kConnect, "no connection in time"));
  }
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error == 0 && (state.revents & POLLHUP) != 0) error = ECONNABORTED;
  if (error != 0) return Err(Fail(call, Kind::kConnect, "cannot connect: " + ErrorText(error)));
  return {};
}

Result<Socket, TransportError> Client::Impl::Connect(const Call& call) {
  const SteadyTime until =
      std::min(call.deadline, Now() + milliseconds(options_.connect_timeout_ms));
  const std::vector<Address> addresses =
      resolver_->Resolve(until, [&] { return call.Cancelled(); });
  if (addresses.empty()) {
    const bool all_over = Now() >= call.deadline;
    return Err(
        Fail(call, all_over ? Kind::kTimeout : Kind::kConnect, "the host name has no address"));
  }
  std::optional<TransportError> error;
  for (const Address& address : addresses) {
    Socket socket;
    const SteadyTime each =
        std::min(call.deadline, Now() + milliseconds(options_.connect_timeout_ms));
    auto connected = ConnectTo(call, address, each, &socket);
    if (connected) return socket;
    error = std::move(connected.error());
    if (error->kind == Kind::kCancelled || error->kind == Kind::kTimeout) break;
  }
  return Err(std::move(*error));
}

// Sends and receives on one socket at the same time: a server may answer (413) before it has read
// all, and would be waited for in vain by one who only writes.
Result<ClientResponse, TransportError> Client::Impl::Exchange(Call* call,
                                                              const ClientRequest& request,
                                                              std::string_view head, int fd,
                                                              bool* reusable) {
  const size_t total = head.size() + request.body.size();
  size_t sent = 0;
  int write_error = 0;
  ResponseFramer framer(request.method == "HEAD", options_.max_response_bytes);
  while (true) {
    if (sent < total && write_error == 0) {
      std::array<iovec, 2> parts{};
      size_t count = 0;
      if (sent < head.size()) {
        parts[count++] = {const_cast<char*>(head.data() + sent), head.size() - sent};
      }
      const size_t of_body = sent < head.size() ? 0 : sent - head.size();
      if (of_body < request.body.size()) {
        parts[count++] = {const_cast<char*>(request.body.data() + of_body),
                          request.body.size() - of_body};
      }
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = count;
      const ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        sent += static_cast<size_t>(n);
        call->sent = true;
      } else if (n < 0 && errno == EINTR) {
        continue;
      } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        write_error = errno;
        if (sent == 0)
          return Err(Fail(*call, Kind::kBroken, "cannot send: " + ErrorText(write_error)));
        // The peer takes no more, but it may have answered before it closed.
      }
    }
    const bool more_to_send = sent < total && write_error == 0;
    pollfd state{fd, static_cast<short>(POLLIN | (more_to_send ? POLLOUT : 0)), 0};
    const int ready = ::poll(&state, 1, RemainingMs(call->deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return Err(Fail(*call, Kind::kBroken, "poll: " + ErrorText(errno)));
    // Looked at also when something came: a peer that drips bytes does not extend the call.
    if (ready == 0 || Now() >= call->deadline) {
      if (ready == 0 && Now() < call->deadline) continue;
      return Err(Fail(*call, Kind::kTimeout, "no complete answer in time"));
    }
    if ((state.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    char* buffer = ReadBuffer();
    const ssize_t n = ::recv(fd, buffer, kReadBytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) continue;
    if (n < 0) {
      const std::string text = ErrorText(write_error != 0 ? write_error : errno);
      return Err(Fail(*call, Kind::kBroken, "the connection broke: " + text));
    }
    if (n == 0) return Err(Fail(*call, Kind::kBroken, "closed before the answer was complete"));
    std::string_view input(buffer, static_cast<size_t>(n));
    switch (framer.Consume(&input)) {
      case ResponseFramer::Event::kNeedMore: break;
      case ResponseFramer::Event::kError:
        return Err(Fail(*call, Kind::kBroken, "bad answer: " + framer.error()));
      case ResponseFramer::Event::kTooLarge:
        return Err(Fail(
            *call, Kind::kTooLarge,
            "the answer is larger than " + std::to_string(options_.max_response_bytes) + " bytes"));
      case ResponseFramer::Event::kDone: {
        // More than was asked for means that the peer and we disagree about where answers end.
        *reusable = framer.head().keep_alive && sent == total && input.empty();
        ClientResponse response;
        response.status = framer.head().status;
        response.headers.Reserve(framer.head().fields.size());
        for (auto& [name, value] : framer.head().fields) {
          response.headers.Add(std::move(name), std::move(value));
        }
        response.body = std::move(framer.body());
        return response;
      }
    }
  }
}

Result<ClientResponse, TransportError> Client::Impl::Send(const ClientRequest& request,
                                                          SteadyTime deadline,
                                                          Cancellation* cancellation) {
  Call call{deadline, cancellation != nullptr ? cancellation->state_ : nullptr};
  if (call.Cancelled()) return Err(Fail(call, Kind::kCancelled, ""));
  if (Now() >= deadline) return Err(Fail(call, Kind::kTimeout, "no time was left"));
  if (!IsToken(request.method) || !IsTarget(request.target)) {
    return Err(Fail(call, Kind::kBroken, "the method or the target is not valid"));
  }
  const std::string head = MakeHead(request);
  std::optional<Socket> kept = TakeIdle();
  for (bool fresh = false;; fresh = true) {
    Socket socket;
    if (kept && !fresh) {
      socket = std::move(*kept);
    } else {
      fresh = true;
      auto connected = Connect(call);
      if (!connected) return Err(std::move(connected.error()));
      socket = std::move(*connected);
    }
    bool reusable = false;
    Result<ClientResponse, TransportError> result =
        call.Watch(socket.fd()) ? Exchange(&call, request, head, socket.fd(), &reusable)
                                : Err(Fail(call, Kind::kCancelled, ""));
    call.Unwatch();
    // A cancel that came after the answer has shut the socket down.
    if (result && reusable && !call.Cancelled()) Keep(std::move(socket));
    const bool once_more = !result && !fresh && !call.sent && result.error().kind == Kind::kBroken;
    if (!once_more) return result;
  }
}

Client::Client(std::string address, ClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(address), options)) {}
Client::~Client() = default;

Result<ClientResponse, TransportError> Client::Send(const ClientRequest& request,
                                                    SteadyTime deadline,
                                                    Cancellation* cancellation) {
  return impl_->Send(request, deadline, cancellation);
}

const std::string& Client::address() const {
  return impl_->address();
}

}  // namespace chatchain::http
