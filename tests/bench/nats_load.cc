// SPDX-License-Identifier: MIT
// Load for a NATS JetStream stream, to compare with: publishes with an acknowledgement, one message
// in flight on each connection, as clients of POST /messages do. One thread and epoll, so that it
// takes no more of the machine than wrk does.
//
// Arguments: HOST PORT SUBJECT CONNECTIONS SECONDS. Prints
// {"requests","seconds","p50_ms","p99_ms"}; an answer that is no acknowledgement ends it with an
// error.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kText =
    "message of a bench run, about as long as what people write: some ten words, some more";
constexpr int kAnswerTimeout_ms = 10'000;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "nats load: %s\n", what.c_str());
  std::exit(1);
}

struct Connection {
  int fd = -1;
  std::string inbox;
  std::string input;
  Clock::time_point sent_at;
};

void SendAll(const Connection& connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) Fail("the connection broke");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

Connection Connect(const char* host, int port, int index) {
  Connection connection;
  connection.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, host, &address.sin_addr) != 1) Fail("HOST must be an IPv4 address");
  if (::connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    Fail("cannot connect");
  }
  connection.inbox = "_INBOX.bench." + std::to_string(::getpid()) + "." + std::to_string(index);
  SendAll(connection,
          "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB " + connection.inbox + " 1\r\n");
  return connection;
}

void Publish(Connection* connection, const std::string& subject, uint64_t count) {
  char body[512];
  const int size =
      std::snprintf(body, sizeof(body),
                    "{\"sender\":\"user%03d\",\"recipient\":\"user%03d\",\"timestamp\":"
                    "1763712000,\"text\":\"%s %012llu\"}",
                    static_cast<int>(count * 7919 % 1000), static_cast<int>(count * 31 % 1000),
                    kText.data(), static_cast<unsigned long long>(count));
  std::string line =
      "PUB " + subject + " " + connection->inbox + " " + std::to_string(size) + "\r\n";
  line.append(body, static_cast<size_t>(size)).append("\r\n");
  connection->sent_at = Clock::now();
  SendAll(*connection, line);
}

// Takes one operation from the input. True: it was an acknowledgement.
bool TakeOne(Connection* connection, bool* progress) {
  std::string& input = connection->input;
  *progress = false;
  const size_t end = input.find("\r\n");
  if (end == std::string::npos) return false;
  const std::string line = input.substr(0, end);
  size_t used = end + 2;
  bool acknowledged = false;
  if (line.rfind("MSG ", 0) == 0 || line.rfind("HMSG ", 0) == 0) {
    const size_t size = std::strtoul(line.c_str() + line.rfind(' ') + 1, nullptr, 10);
    if (input.size() < used + size + 2) return false;
    const std::string body = input.substr(used, size);
    used += size + 2;
    if (body.find("\"seq\"") == std::string::npos || body.find("\"error\"") != std::string::npos) {
      Fail("not acknowledged: " + body);
    }
    acknowledged = true;
  } else if (line.rfind("PING", 0) == 0) {
    SendAll(*connection, "PONG\r\n");
  } else if (line.rfind("-ERR", 0) == 0) {
    Fail(line);
  }
  input.erase(0, used);
  *progress = true;
  return acknowledged;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) Fail("arguments: HOST PORT SUBJECT CONNECTIONS SECONDS");
  const std::string subject = argv[3];
  const int count = std::atoi(argv[4]);
  const auto length = std::chrono::duration<double>(std::atof(argv[5]));

  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<Connection> connections;
  for (int i = 0; i < count; ++i) {
    connections.push_back(Connect(argv[1], std::atoi(argv[2]), i));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = static_cast<uint32_t>(i);
    ::epoll_ctl(poller, EPOLL_CTL_ADD, connections.back().fd, &event);
  }
  uint64_t published = 0;
  const auto begin = Clock::now();
  for (Connection& connection : connections) Publish(&connection, subject, published++);
  std::vector<double> latencies_ms;
  std::vector<epoll_event> events(static_cast<size_t>(count));
  char buffer[16 * 1024];
  while (Clock::now() - begin < length) {
    const int ready = ::epoll_wait(poller, events.data(), count, kAnswerTimeout_ms);
    if (ready <= 0) Fail("no answer in time");
    for (int i = 0; i < ready; ++i) {
      Connection& connection = connections[events[static_cast<size_t>(i)].data.u32];
      const ssize_t n = ::recv(connection.fd, buffer, sizeof(buffer), 0);
      if (n <= 0) Fail("the connection broke");
      connection.input.append(buffer, static_cast<size_t>(n));
      bool progress = true;
      while (progress) {
        if (!TakeOne(&connection, &progress)) continue;
        latencies_ms.push_back(
            std::chrono::duration<double, std::milli>(Clock::now() - connection.sent_at).count());
        Publish(&connection, subject, published++);
      }
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (latencies_ms.empty()) Fail("nothing was acknowledged");
  std::sort(latencies_ms.begin(), latencies_ms.end());
  const auto share = [&](double part) {
    return latencies_ms[static_cast<size_t>(part * static_cast<double>(latencies_ms.size() - 1))];
  };
  std::printf("{\"requests\":%zu,\"seconds\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
              latencies_ms.size(), seconds, share(0.5), share(0.99));
}
