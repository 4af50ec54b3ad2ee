// SPDX-License-Identifier: MIT
#include "common/http/client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "common/http/client_call.h"
#include "common/http/client_core.h"
#include "common/http/exchange.h"
#include "common/http/read_buffer.h"
#include "common/util/error_text.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using Kind = TransportError::Kind;
using SocketPtr = std::unique_ptr<Socket>;

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

Result<void, TransportError> ConnectTo(const CallState& call, const Address& address,
                                       SteadyTime deadline, SocketPtr* socket) {
  int error = 0;
  const int fd = BeginConnect(address, &error);
  if (fd < 0) return Err(call.Fail(Kind::kConnect, "no socket: " + ErrorText(error)));
  *socket = std::make_unique<Socket>(fd);
  if (error == 0) return {};
  if (error != EINPROGRESS) {
    return Err(call.Fail(Kind::kConnect, "cannot connect: " + ErrorText(error)));
  }
  if (!call.Watch(fd)) {
    call.Unwatch();
    return Err(call.Fail(Kind::kCancelled, ""));
  }
  pollfd state{fd, POLLOUT, 0};
  int ready = 0;
  do {
    ready = ::poll(&state, 1, RemainingMs(deadline));
  } while (ready < 0 && errno == EINTR);
  call.Unwatch();
  if (ready <= 0) {
    const bool all_over = Now() >= call.deadline;
    return Err(call.Fail(all_over ? Kind::kTimeout : Kind::kConnect, "no connection in time"));
  }
  error = EndConnect(fd, (state.revents & POLLHUP) != 0);
  if (error != 0) return Err(call.Fail(Kind::kConnect, "cannot connect: " + ErrorText(error)));
  return {};
}

Result<SocketPtr, TransportError> Connect(const ClientCore& core, const CallState& call) {
  const milliseconds timeout(core.options.connect_timeout_ms);
  const std::vector<Address> addresses = core.resolver->Resolve(
      std::min(call.deadline, Now() + timeout), [&] { return call.Cancelled(); });
  if (addresses.empty()) {
    const bool all_over = Now() >= call.deadline;
    return Err(
        call.Fail(all_over ? Kind::kTimeout : Kind::kConnect, "the host name has no address"));
  }
  std::optional<TransportError> error;
  for (const Address& address : addresses) {
    SocketPtr socket;
    auto connected = ConnectTo(call, address, std::min(call.deadline, Now() + timeout), &socket);
    if (connected) return socket;
    error = std::move(connected.error());
    if (error->kind == Kind::kCancelled || error->kind == Kind::kTimeout) break;
  }
  return Err(std::move(*error));
}

Result<void, TransportError> Complete(const CallState& call, Exchange* exchange, int fd) {
  while (true) {
    if (auto sent = exchange->Send(fd); !sent) return sent;
    pollfd state{fd, static_cast<short>(POLLIN | (exchange->more_to_send() ? POLLOUT : 0)), 0};
    const int ready = ::poll(&state, 1, RemainingMs(call.deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return Err(call.Fail(Kind::kBroken, "poll: " + ErrorText(errno)));
    // Looked at also when something came: a peer that drips bytes does not extend the call.
    if (ready == 0 || Now() >= call.deadline) {
      if (ready == 0 && Now() < call.deadline) continue;
      return Err(call.Fail(Kind::kTimeout, "no complete answer in time"));
    }
    if ((state.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    char* buffer = ReadBuffer<Client>();
    const ssize_t n = ::recv(fd, buffer, kReadBufferBytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) continue;
    if (n <= 0) return Err(exchange->End(n < 0 ? errno : 0));
    const auto done = exchange->Take({buffer, static_cast<size_t>(n)});
    if (!done) return Err(done.error());
    if (*done) return {};
  }
}

}  // namespace

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

Client::Client(std::string address, ClientOptions options)
    : core_(std::make_shared<ClientCore>(std::move(address), options)) {}
Client::~Client() = default;

Result<ClientResponse, TransportError> Client::Send(const ClientRequest& request,
                                                    SteadyTime deadline,
                                                    Cancellation* cancellation) {
  CallState call{core_->address, deadline,
                 cancellation != nullptr ? cancellation->state_ : nullptr};
  if (call.Cancelled()) return Err(call.Fail(Kind::kCancelled, ""));
  if (Now() >= deadline) return Err(call.Fail(Kind::kTimeout, "no time was left"));
  const auto head = MakeRequestHead(request, core_->address);
  if (!head) return Err(call.Fail(Kind::kBroken, kNotARequest));
  SocketPtr socket = core_->idle.Take([](const Socket&) { return true; });
  for (bool fresh = socket == nullptr;; fresh = true) {
    if (fresh) {
      auto connected = Connect(*core_, call);
      if (!connected) return Err(std::move(connected.error()));
      socket = std::move(*connected);
    }
    Exchange exchange(call, *head, request, core_->options.max_response_bytes);
    const auto completed = call.Watch(socket->fd()) ? Complete(call, &exchange, socket->fd())
                                                    : Err(call.Fail(Kind::kCancelled, ""));
    call.Unwatch();
    if (completed) {
      bool reusable = false;
      ClientResponse response = exchange.TakeResponse(&reusable);
      // A cancel that came after the answer has shut the socket down.
      if (reusable && !call.Cancelled()) core_->idle.Keep(std::move(socket));
      return response;
    }
    const bool once_more = !fresh && !call.sent && completed.error().kind == Kind::kBroken;
    if (!once_more) return Err(completed.error());
  }
}

void Client::Start(EventLoop& loop, ClientRequest request, SteadyTime deadline,
                   const Cancellation* cancellation, Done done) {
  StartCall(loop, core_, std::move(request), deadline,
            cancellation != nullptr ? cancellation->state_ : nullptr, std::move(done));
}

const std::string& Client::address() const {
  return core_->address;
}

}  // namespace chatchain::http
