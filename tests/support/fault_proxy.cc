// SPDX-License-Identifier: MIT
#include "tests/support/fault_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace chatchain::testing {

namespace {

constexpr size_t kBufferMaxBytes = 256 * 1024;

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// With RST, as a network that has lost its memory of the connection.
void CloseHard(int fd) {
  const linger abort = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
  close(fd);
}

void MakeReady(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// One direction of a connection.
struct Pipe {
  int from = -1;
  int to = -1;
  std::string waiting;
  bool ended = false;   // `from` has sent its last byte
  bool passed = false;  // and `to` was told

  // False: the connection is broken.
  bool Read() {
    std::array<char, 65536> buffer;
    const ssize_t n = recv(from, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) ended = true;
    if (n > 0) waiting.append(buffer.data(), static_cast<size_t>(n));
    return true;
  }
  bool Write() {
    if (!waiting.empty()) {
      const ssize_t n = send(to, waiting.data(), waiting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      waiting.erase(0, static_cast<size_t>(n));
    }
    if (ended && waiting.empty() && !passed) {
      shutdown(to, SHUT_WR);
      passed = true;
    }
    return true;
  }
};

bool Held(FaultProxy::Fault fault, bool answers) {
  return fault == FaultProxy::Fault::kStall || (answers && fault == FaultProxy::Fault::kNoAnswers);
}

}  // namespace

struct FaultProxy::Link {
  Link(int client, int target) : up{client, target, {}}, down{target, client, {}} {}
  ~Link() {
    CloseHard(up.from);
    CloseHard(up.to);
  }
  bool done() const { return up.passed && down.passed; }

  Pipe up;    // client to target
  Pipe down;  // target to client
};

FaultProxy::FaultProxy(uint16_t target_port)
    : target_port_(target_port),
      listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  bind(listener_, reinterpret_cast<const sockaddr*>(&address), size);
  listen(listener_, 128);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  if (pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) wake_[0] = wake_[1] = -1;
  thread_ = std::thread([this] { Run(); });
}

FaultProxy::~FaultProxy() {
  stopping_ = true;
  Set(Fault::kCut);
  thread_.join();
  for (const int fd : {listener_, wake_[0], wake_[1]}) close(fd);
}

void FaultProxy::Set(Fault fault) {
  fault_ = fault;
  const uint64_t change = ++changes_;
  [[maybe_unused]] const ssize_t written = write(wake_[1], "x", 1);
  uint64_t applied = applied_;
  while (!stopping_ && applied < change) {
    applied_.wait(applied);
    applied = applied_;
  }
}

void FaultProxy::Accept() {
  while (true) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    const int target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(target_port_);
    if (fault_ == Fault::kCut ||
        connect(target, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      CloseHard(client);
      close(target);
      continue;
    }
    MakeReady(client);
    MakeReady(target);
    links_.push_back(std::make_unique<Link>(client, target));
  }
}

void FaultProxy::Run() {
  while (true) {
    const uint64_t change = changes_;
    const Fault fault = fault_;
    if (fault == Fault::kCut) links_.clear();
    applied_ = change;
    applied_.notify_all();
    if (stopping_) return;

    std::vector<pollfd> polled = {{wake_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const auto& link : links_) {
      for (const Pipe* pipe : {&link->up, &link->down}) {
        const bool held = Held(fault, pipe == &link->down);
        const bool read = !held && !pipe->ended && pipe->waiting.size() < kBufferMaxBytes;
        const bool write = !held && !pipe->waiting.empty();
        polled.push_back({read ? pipe->from : -1, POLLIN, 0});
        polled.push_back({write ? pipe->to : -1, POLLOUT, 0});
      }
    }
    poll(polled.data(), polled.size(), 1000);
    std::array<char, 64> ignored;
    while (read(wake_[0], ignored.data(), ignored.size()) > 0) {
    }
    if (changes_ != change) continue;  // the new fault first

    for (size_t i = 0; i < links_.size(); ++i) {
      Link& link = *links_[i];
      bool alive = true;
      for (size_t side = 0; side < 2; ++side) {
        Pipe& pipe = side == 0 ? link.up : link.down;
        const pollfd* states = &polled[2 + 4 * i + 2 * side];
        if (states[0].fd >= 0 && states[0].revents != 0) alive = alive && pipe.Read();
        if (!Held(fault, side == 1)) alive = alive && pipe.Write();
      }
      if (!alive || link.done()) links_[i].reset();
    }
    std::erase(links_, nullptr);
    Accept();
  }
}

}  // namespace chatchain::testing
