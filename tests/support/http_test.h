// SPDX-License-Identifier: MIT
// Sockets for HTTP tests: a raw client that says exactly what it is told, and a raw server whose
// every step is scripted. All waits end after kPatience with a failed check.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/sanitized.h"

namespace chatchain::http::testing {

using Clock = std::chrono::steady_clock;
using chatchain::testing::kSanitized;
inline constexpr std::chrono::milliseconds kPatience{kSanitized ? 60'000 : 10'000};

inline sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

class RawSocket {
 public:
  RawSocket() = default;
  explicit RawSocket(int fd) : fd_(fd) {}
  RawSocket(RawSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RawSocket& operator=(RawSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~RawSocket() { Close(); }

  static RawSocket Connect(uint16_t port, int receive_buffer = 0) {
    RawSocket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer > 0) {
      ::setsockopt(socket.fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    const int on = 1;
    ::setsockopt(socket.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const sockaddr_in address = Loopback(port);
    if (::connect(socket.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      socket.Close();
    }
    return socket;
  }

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  // Close() with RST.
  void Reset() {
    const linger abort = {1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    Close();
  }
  void FinishSending() { ::shutdown(fd_, SHUT_WR); }

  // False: the peer has closed.
  bool Send(std::string_view bytes) {
    if (fd_ < 0) return false;
    while (!bytes.empty()) {
      pollfd state{fd_, POLLOUT, 0};
      if (::poll(&state, 1, static_cast<int>(kPatience.count())) <= 0) return false;
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  enum class Read { kData, kEnd, kReset, kNothing };
  // Appends what there is to `*out`; waits for something for `wait` at most.
  Read ReadSome(std::string* out, std::chrono::milliseconds wait = kPatience) {
    if (fd_ < 0) return Read::kEnd;
    pollfd state{fd_, POLLIN, 0};
    if (::poll(&state, 1, static_cast<int>(wait.count())) <= 0) return Read::kNothing;
    char buffer[16 * 1024];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n < 0) return Read::kReset;
    if (n == 0) return Read::kEnd;
    out->append(buffer, static_cast<size_t>(n));
    return Read::kData;
  }

  // All until the peer closes; `*how` says how it did.
  std::string ReadToEnd(Read* how = nullptr) {
    std::string all;
    Read read = Read::kData;
    while (read == Read::kData) read = ReadSome(&all);
    if (how != nullptr) *how = read;
    return all;
  }

  // One answer with a Content-Length (or without a body); what follows stays for the next call.
  std::string ReadAnswer(bool head_request = false) {
    while (true) {
      const size_t head_end = rest_.find("\r\n\r\n");
      if (head_end != std::string::npos) {
        size_t length = head_end + 4;
        const size_t field = rest_.find("Content-Length: ");
        if (!head_request && field < head_end) length += std::stoul(rest_.substr(field + 16));
        if (rest_.size() >= length) {
          std::string answer = rest_.substr(0, length);
          rest_.erase(0, length);
          return answer;
        }
      }
      if (ReadSome(&rest_) != Read::kData) return std::exchange(rest_, std::string());
    }
  }

 private:
  int fd_ = -1;
  std::string rest_;
};

// A listening socket on a free port of 127.0.0.1.
class RawListener {
 public:
  explicit RawListener(int backlog = 64) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    ::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size);
    ::listen(fd_, backlog);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~RawListener() { Close(); }
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;

  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  RawSocket Accept() {
    pollfd state{fd_, POLLIN, 0};
    if (::poll(&state, 1, static_cast<int>(kPatience.count())) <= 0) return RawSocket();
    return RawSocket(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  }

 private:
  int fd_;
  uint16_t port_ = 0;
};

}  // namespace chatchain::http::testing
