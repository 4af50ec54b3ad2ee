// SPDX-License-Identifier: MIT
// Many who follow one event stream, and one who writes: how long until a message is everywhere.
// usage: chatchain-feed-load HOST_PORT SUBSCRIBERS MESSAGES_PER_S SECONDS [PATH]
// Prints one line of JSON: latencies from before the send to the read, in ms, of all deliveries and
// of the last delivery of each message.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

int Connect(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  return fd;
}

void SendAll(int fd, const std::string& bytes) {
  if (::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) {
    std::perror("send");
    std::exit(1);
  }
}

double Quantile(std::vector<double>* values, double q) {
  if (values->empty()) return 0;
  const size_t at = std::min(values->size() - 1, static_cast<size_t>(q * values->size()));
  std::nth_element(values->begin(), values->begin() + static_cast<std::ptrdiff_t>(at),
                   values->end());
  return (*values)[at];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s HOST_PORT SUBSCRIBERS MESSAGES_PER_S SECONDS [PATH]\n",
                 argv[0]);
    return 2;
  }
  const std::string address = argv[1];
  const auto port =
      static_cast<uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str()));
  const int subscribers = std::atoi(argv[2]);
  const double rate = std::atof(argv[3]);
  const double seconds = std::atof(argv[4]);
  const std::string path = argc > 5 ? argv[5] : "/messages/stream";
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  const int poll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> fds;
  for (int i = 0; i < subscribers; ++i) {
    const int fd = Connect(port);
    SendAll(fd, "GET " + path + " HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n");
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    fds.push_back(fd);
    if (i % 200 == 199) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

  const int total = static_cast<int>(rate * seconds);
  std::atomic<bool> ready{false};
  std::thread writer([&] {
    while (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const int fd = Connect(port);
    char answer[8192];
    const int64_t begin = NowNs();
    for (int i = 0; i < total; ++i) {
      const int64_t at = begin + static_cast<int64_t>(i * 1e9 / rate);
      const int64_t wait = at - NowNs();
      if (wait > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(wait));
      const std::string body =
          "{\"sender\":\"bench\",\"room\":\"bench\",\"text\":\"t" + std::to_string(NowNs()) + "\"}";
      SendAll(fd,
              "POST /messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
              "Content-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
      if (::recv(fd, answer, sizeof(answer), 0) <= 0) std::exit(1);
    }
    ::close(fd);
  });

  // Everybody has the head and the first block before anything is sent.
  std::map<int, bool> begun;
  std::map<int64_t, double> last;
  std::vector<double> all;
  all.reserve(static_cast<size_t>(total) * static_cast<size_t>(subscribers));
  const size_t wanted = static_cast<size_t>(total) * static_cast<size_t>(subscribers);
  std::vector<epoll_event> events(1024);
  std::vector<char> buffer(256 * 1024);
  size_t begun_count = 0;
  int64_t quiet_since = NowNs();
  while (all.size() < wanted && NowNs() - quiet_since < 10'000'000'000) {
    const int n = epoll_wait(poll, events.data(), static_cast<int>(events.size()), 500);
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) {
        if (got < 0 && errno == EAGAIN) continue;
        std::fprintf(stderr, "a stream ended\n");
        return 1;
      }
      const int64_t now = NowNs();
      quiet_since = now;
      std::string_view text(buffer.data(), static_cast<size_t>(got));
      if (!ready) {
        bool& one = begun[fd];
        if (!one && text.find("id: ") != std::string_view::npos) {
          one = true;
          ++begun_count;
        }
      }
      constexpr std::string_view kMark = "\"text\":\"t";
      for (size_t at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at)) {
        at += kMark.size();
        const int64_t sent = std::atoll(text.data() + at);
        const double ms = static_cast<double>(now - sent) / 1e6;
        all.push_back(ms);
        double& latest = last[sent];
        latest = std::max(latest, ms);
      }
    }
    if (!ready && begun_count == fds.size()) ready = true;
  }
  writer.join();
  std::vector<double> everywhere;
  for (const auto& [sent, ms] : last) everywhere.push_back(ms);
  std::printf(
      "{\"subscribers\":%d,\"rate\":%g,\"messages\":%d,\"delivered\":%zu,\"missing\":%zu,"
      "\"delivery_ms\":{\"p50\":%.2f,\"p99\":%.2f},\"everywhere_ms\":{\"p50\":%.2f,\"p99\":%.2f,"
      "\"max\":%.2f}}\n",
      subscribers, rate, total, all.size(), wanted - all.size(), Quantile(&all, 0.5),
      Quantile(&all, 0.99), Quantile(&everywhere, 0.5), Quantile(&everywhere, 0.99),
      Quantile(&everywhere, 1.0));
  for (const int fd : fds) ::close(fd);
  return all.size() == wanted ? 0 : 1;
}
