// SPDX-License-Identifier: MIT
#include "common/http/exchange.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "common/http/resolver.h"
#include "common/util/error_text.h"

namespace chatchain::http {

namespace {

using Kind = TransportError::Kind;

bool IsTarget(std::string_view target) {
  return !target.empty() &&
         std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

bool CallState::Cancelled() const {
  if (cancellation == nullptr) return false;
  MutexLock lock(cancellation->mutex);
  return cancellation->cancelled;
}

bool CallState::Watch(int fd) const {
  if (cancellation == nullptr) return true;
  MutexLock lock(cancellation->mutex);
  cancellation->fd = fd;
  return !cancellation->cancelled;
}

void CallState::Unwatch() const {
  if (cancellation == nullptr) return;
  MutexLock lock(cancellation->mutex);
  cancellation->fd = -1;
}

TransportError CallState::Fail(Kind kind, std::string_view what) const {
  // Whatever went wrong after a cancel went wrong because of it.
  if (Cancelled()) return {Kind::kCancelled, address + ": cancelled", sent};
  return {kind, address + ": " + std::string(what), sent};
}

int BeginConnect(const Address& address, int* error) {
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  *error = errno;
  if (fd < 0) return -1;
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const auto* where = reinterpret_cast<const sockaddr*>(&address.storage);
  *error = ::connect(fd, where, address.size) == 0 ? 0 : errno;
  return fd;
}

int EndConnect(int fd, bool hung_up) {
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 && hung_up ? ECONNABORTED : error;
}

std::optional<std::string> MakeRequestHead(const ClientRequest& request,
                                           const std::string& address) {
  if (!IsToken(request.method) || !IsTarget(request.target)) return std::nullopt;
  std::string head;
  head.reserve(256);
  const auto field = [&](std::string_view name, std::string_view value) {
    head.append(name).append(": ").append(value).append("\r\n");
  };
  head.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
  field("Host", address);
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

Exchange::Exchange(CallState& call, std::string_view head, const ClientRequest& request,
                   size_t max_response_bytes)
    : call_(call),
      head_(head),
      body_(request.body),
      max_response_bytes_(max_response_bytes),
      framer_(request.method == "HEAD", max_response_bytes) {}

Result<void, TransportError> Exchange::Send(int fd) {
  while (more_to_send()) {
    std::array<iovec, 2> parts{};
    size_t count = 0;
    if (sent_ < head_.size()) {
      parts[count++] = {const_cast<char*>(head_.data() + sent_), head_.size() - sent_};
    }
    const size_t of_body = sent_ < head_.size() ? 0 : sent_ - head_.size();
    if (of_body < body_.size()) {
      parts[count++] = {const_cast<char*>(body_.data() + of_body), body_.size() - of_body};
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent_ += static_cast<size_t>(n);
      call_.sent = true;
    } else if (n == 0 || (errno != EINTR && (errno == EAGAIN || errno == EWOULDBLOCK))) {
      break;
    } else if (errno != EINTR) {
      write_error_ = errno;
      if (sent_ == 0)
        return Err(call_.Fail(Kind::kBroken, "cannot send: " + ErrorText(write_error_)));
      // The peer takes no more, but it may have answered before it closed.
    }
  }
  return {};
}

Result<bool, TransportError> Exchange::Take(std::string_view input) {
  switch (framer_.Consume(&input)) {
    case ResponseFramer::Event::kNeedMore: return false;
    case ResponseFramer::Event::kError:
      return Err(call_.Fail(Kind::kBroken, "bad answer: " + framer_.error()));
    case ResponseFramer::Event::kTooLarge:
      return Err(call_.Fail(Kind::kTooLarge, "the answer is larger than " +
                                                 std::to_string(max_response_bytes_) + " bytes"));
    case ResponseFramer::Event::kDone: surplus_ = !input.empty(); return true;
  }
  return false;
}

TransportError Exchange::End(int error) const {
  if (error == 0) return call_.Fail(Kind::kBroken, "closed before the answer was complete");
  return call_.Fail(Kind::kBroken,
                    "the connection broke: " + ErrorText(write_error_ != 0 ? write_error_ : error));
}

ClientResponse Exchange::TakeResponse(bool* reusable) {
  // More than was asked for means that the peer and we disagree about where answers end.
  *reusable = framer_.head().keep_alive && sent_ == head_.size() + body_.size() && !surplus_;
  ClientResponse response;
  response.status = framer_.head().status;
  response.headers.Reserve(framer_.head().fields.size());
  for (auto& [name, value] : framer_.head().fields) {
    response.headers.Add(std::move(name), std::move(value));
  }
  response.body = std::move(framer_.body());
  return response;
}

}  // namespace chatchain::http
