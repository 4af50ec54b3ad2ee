// SPDX-License-Identifier: MIT
// What the server does with many clients, with slow ones, and at its limits.
#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/running_server.h"

namespace chatchain::http::testing {

namespace {

size_t OpenDescriptors() {
  return static_cast<size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

size_t FromProcStatus(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoul(line.substr(name.size() + 1));
  }
  return 0;
}

}  // namespace

TEST_CASE("slow clients are told 408, idle ones are closed silently", "[http][server]") {
  RunningServer fixture({.head_timeout_ms = 80, .body_timeout_ms = 80, .idle_timeout_ms = 150});
  const auto drip = [&](const std::string& begin) {
    RawSocket socket = fixture.Connect();
    socket.Send(begin);
    std::string answer;
    auto read = RawSocket::Read::kNothing;
    while (read == RawSocket::Read::kNothing || read == RawSocket::Read::kData) {
      read = socket.ReadSome(&answer, milliseconds(5));
      if (read == RawSocket::Read::kNothing && !socket.Send("x")) break;
    }
    return answer;
  };
  auto start = Clock::now();
  std::string answer = drip("GET /small HTTP/1.1\r\nHost: a\r\nX: ");
  CHECK(Status(answer) == 408);
  CHECK(Says(answer, "Connection: close"));
  CHECK_THAT(answer, Catch::Contains("head of the request"));
  CHECK(MsSince(start) >= 75);
  CHECK(MsSince(start) < 2'000);
  start = Clock::now();
  answer = drip("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  CHECK(Status(answer) == 408);
  CHECK_THAT(answer, Catch::Contains("body of the request"));
  CHECK(MsSince(start) < 2'000);
  CHECK(Status(
            drip("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n")) ==
        408);
  // Answered at its head already: no second answer for the body that does not come.
  answer = drip("POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
  CHECK(Status(answer) == 404);
  CHECK_THAT(answer, !Catch::Contains("408"));

  RawSocket fresh = fixture.Connect();
  RawSocket used = fixture.Connect();
  used.Send(Get("/small"));
  CHECK(Status(used.ReadAnswer()) == 200);
  RawSocket::Read how = RawSocket::Read::kNothing;
  CHECK(fresh.ReadToEnd(&how).empty());
  CHECK(how == RawSocket::Read::kEnd);
  CHECK(used.ReadToEnd(&how).empty());
  CHECK(how == RawSocket::Read::kEnd);
  CHECK(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
}

TEST_CASE("a peer that does not read its answer is closed", "[http][server]") {
  RunningServer fixture({.write_timeout_ms = 100});
  RawSocket body = fixture.Connect(4'096);
  body.Send(Get("/big/30000000"));
  RawSocket stream = fixture.Connect(4'096);
  stream.Send(Get("/stream/1000000"));
  CHECK(Eventually([&] { return fixture.server->stats().requests == 2; }));
  CHECK(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
  CHECK(fixture.source->destroyed);
  CHECK(fixture.source->reads < 20'000);  // read only as fast as the peer takes it
  RawSocket::Read how = RawSocket::Read::kNothing;
  body.ReadToEnd(&how);
  CHECK(how == RawSocket::Read::kReset);
  CHECK(fixture.server->stats().in_flight == 0);
}

TEST_CASE("slow readers that make progress get everything", "[http][server]") {
  RunningServer fixture({.write_timeout_ms = 300});
  RawSocket socket = fixture.Connect(4'096);
  socket.Send(Get("/big/600000", "Connection: close\r\n"));
  const std::string answer = socket.ReadToEnd();
  CHECK(Body(answer).size() == 600'000);
}

TEST_CASE("over the limit of requests in flight others are shed", "[http][server]") {
  RunningServer fixture({.max_in_flight = 3, .min_workers = 1});
  std::vector<RawSocket> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(fixture.Connect());
    waiting.back().Send(Get("/wait"));
  }
  REQUIRE(fixture.gate.WaitForWaiting(3));
  RawSocket socket = fixture.Connect();
  for (int i = 0; i < 3; ++i) {
    socket.Send(Get("/small"));
    const std::string answer = socket.ReadAnswer();
    CHECK(Status(answer) == 503);
    CHECK(Says(answer, "Retry-After: 1"));
    CHECK_FALSE(Says(answer, "Connection: close"));
    socket.Send(Get("/healthz"));
    CHECK(Status(socket.ReadAnswer()) == 200);
  }
  CHECK(fixture.server->stats().requests_shed == 3);
  CHECK(fixture.server->stats().in_flight == 3);
  fixture.gate.Open();
  for (RawSocket& each : waiting) CHECK(Status(each.ReadAnswer()) == 200);
  CHECK(Eventually([&] { return fixture.server->stats().in_flight == 0; }));
  socket.Send(Get("/small"));
  CHECK(Status(socket.ReadAnswer()) == 200);
}

TEST_CASE("the pool grows while handlers block", "[http][server]") {
  RunningServer fixture({.min_workers = 2});
  std::vector<RawSocket> waiting;
  for (int i = 0; i < 60; ++i) {
    waiting.push_back(fixture.Connect());
    waiting.back().Send(Get("/wait"));
  }
  REQUIRE(fixture.gate.WaitForWaiting(60));
  CHECK(fixture.server->stats().workers >= 60);
  const auto start = Clock::now();
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/small"));
  CHECK(Status(socket.ReadAnswer()) == 200);
  CHECK(MsSince(start) < (kSanitized ? 10'000 : 1'000));
  fixture.gate.Open();
  for (RawSocket& each : waiting) CHECK(Status(each.ReadAnswer()) == 200);
}

TEST_CASE("limits of connections are told with 503", "[http][server]") {
  RunningServer fixture({.max_connections = 3, .max_connections_per_address = 2});
  RawSocket one = fixture.Connect();
  RawSocket two = fixture.Connect();
  for (RawSocket* socket : {&one, &two}) {
    socket->Send(Get("/small"));
    CHECK(Status(socket->ReadAnswer()) == 200);
  }
  RawSocket three = fixture.Connect();
  three.Send(Get("/small"));
  RawSocket::Read how = RawSocket::Read::kNothing;
  const std::string answer = three.ReadToEnd(&how);
  CHECK(Status(answer) == 503);
  CHECK(Says(answer, "Retry-After: 1"));
  CHECK(Says(answer, "Connection: close"));
  CHECK_THAT(answer, Catch::Contains("from this address"));
  CHECK(how == RawSocket::Read::kEnd);
  CHECK(fixture.server->stats().connections_refused == 1);
  one.Close();
  CHECK(Eventually([&] {
    RawSocket again = fixture.Connect();
    again.Send(Get("/small"));
    return Status(again.ReadAnswer()) == 200;
  }));

  RunningServer small({.max_connections = 1});
  RawSocket only = small.Connect();
  only.Send(Get("/small"));
  only.ReadAnswer();
  CHECK_THAT(small.Ask(Get("/small")), Catch::Contains("as many connections"));
}

TEST_CASE("what all connections hold is bounded", "[http][server]") {
  RunningServer fixture({.max_buffered_bytes = 500'000});
  const std::string begin = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n";
  RawSocket first = fixture.Connect();
  first.Send(begin + std::string(399'999, 'x'));
  CHECK(Eventually([&] { return fixture.server->stats().buffered_bytes > 399'000; }));
  RawSocket second = fixture.Connect();
  second.Send(begin + std::string(399'999, 'x'));
  const std::string refused = second.ReadToEnd();
  CHECK(Status(refused) == 503);
  CHECK(Says(refused, "Retry-After: 1"));
  CHECK(Says(refused, "Connection: close"));
  // Small ones go on.
  RawSocket small = fixture.Connect();
  small.Send(Post("/echo", "hello"));
  CHECK(Body(small.ReadAnswer()) == "hello");
  // Answers that are not read count too.
  RawSocket reader = fixture.Connect(4'096);
  reader.Send(Get("/big/30000000"));
  RawSocket::Read how = RawSocket::Read::kNothing;
  CHECK(Eventually([&] { return fixture.server->stats().requests_shed == 2; }));
  reader.ReadToEnd(&how);
  CHECK(how == RawSocket::Read::kReset);
  first.Send("x");
  CHECK(Body(first.ReadAnswer()).size() == 400'000);
  second.Close();
  CHECK(Eventually([&] { return fixture.server->stats().buffered_bytes == 0; }));
}

TEST_CASE("several event loops share the work", "[http][server]") {
  EventLoops loops(3, "test");
  RunningServer fixture({}, &loops);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        RawSocket socket = fixture.Connect();
        for (int k = 0; k < 5; ++k) {
          socket.Send(Get("/small") + Get("/nope") + Post("/echo", "hello"));
          if (Status(socket.ReadAnswer()) == 200 && Status(socket.ReadAnswer()) == 404 &&
              Body(socket.ReadAnswer()) == "hello") {
            ++good;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 600);
  CHECK(fixture.server->Drain(5'000));
}

TEST_CASE("a burst of connects is served", "[http][server]") {
  RunningServer fixture;
  constexpr int kConnects = 1'000;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<RawSocket> sockets;
  std::vector<std::string> answers(kConnects);
  std::vector<bool> asked(kConnects);
  const auto start = Clock::now();
  for (int i = 0; i < kConnects; ++i) {
    sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_in to = Loopback(fixture.server->port());
    const int result =
        ::connect(sockets.back().fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    REQUIRE((result == 0 || errno == EINPROGRESS));
    epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u32 = static_cast<uint32_t>(i)}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, sockets.back().fd(), &event);
  }
  int good = 0;
  while (good < kConnects && Clock::now() - start < kPatience) {
    epoll_event events[64];
    const int n = ::epoll_wait(epoll, events, 64, 1'000);
    for (int e = 0; e < n; ++e) {
      const size_t i = events[e].data.u32;
      if (!asked[i]) {
        int error = 0;
        socklen_t size = sizeof(error);
        ::getsockopt(sockets[i].fd(), SOL_SOCKET, SO_ERROR, &error, &size);
        REQUIRE(error == 0);
        REQUIRE(sockets[i].Send(Get("/small")));
        asked[i] = true;
        epoll_event event{.events = EPOLLIN, .data = {.u32 = static_cast<uint32_t>(i)}};
        ::epoll_ctl(epoll, EPOLL_CTL_MOD, sockets[i].fd(), &event);
      } else {
        REQUIRE(sockets[i].ReadSome(&answers[i], milliseconds(0)) == RawSocket::Read::kData);
        if (answers[i].ends_with("}")) ++good;
      }
    }
  }
  ::close(epoll);
  CHECK(good == kConnects);
  CHECK(MsSince(start) < (kSanitized ? 5'000 : 1'000));
}

TEST_CASE("slow clients do not slow down others", "[http][server]") {
  RunningServer fixture({.head_timeout_ms = 60'000, .body_timeout_ms = 60'000});
  std::vector<RawSocket> slow;
  const size_t count = kSanitized ? 100 : 500;
  for (size_t i = 0; i < count; ++i) {
    slow.push_back(fixture.Connect(i % 3 == 2 ? 4'096 : 0));
    if (i % 3 == 0) slow.back().Send("GET /sm");
    if (i % 3 == 1)
      slow.back().Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx");
    if (i % 3 == 2) slow.back().Send(Get("/big/3000000"));
  }
  std::vector<int64_t> taken_us;
  RawSocket socket = fixture.Connect();
  for (int i = 0; i < 300; ++i) {
    slow[static_cast<size_t>(i) % count].Send("x");
    const auto start = Clock::now();
    socket.Send(Get("/small"));
    REQUIRE(Status(socket.ReadAnswer()) == 200);
    taken_us.push_back(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
  }
  std::sort(taken_us.begin(), taken_us.end());
  CHECK(taken_us[taken_us.size() * 99 / 100] < (kSanitized ? 1'000'000 : 100'000));
}

TEST_CASE("idle connections cost no thread and little memory", "[http][server]") {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  // Both ends are in this process.
  const size_t room = (limit.rlim_cur - std::min<size_t>(limit.rlim_cur / 2, 500)) / 2;
  const size_t count = std::min<size_t>(kSanitized ? 1'000 : 9'500, room);
  ::malloc_trim(0);
  const auto before_kb = static_cast<int64_t>(FromProcStatus("VmRSS"));
  RunningServer fixture;
  std::vector<RawSocket> idle;
  for (size_t i = 0; i < count; ++i) {
    idle.push_back(fixture.Connect());
    REQUIRE(idle.back().open());
    idle.back().Send(Get("/small"));
    REQUIRE(Status(idle.back().ReadAnswer()) == 200);
  }
  CHECK(fixture.server->stats().connections_open == count);
  const auto after_kb = static_cast<int64_t>(FromProcStatus("VmRSS"));
  const int64_t bytes_each = (after_kb - before_kb) * 1024 / static_cast<int64_t>(count);
  if (!kSanitized) CHECK(bytes_each < 10'000);
  CHECK(FromProcStatus("Threads") <= 64);
  const auto start = Clock::now();
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/small"));
  CHECK(Status(socket.ReadAnswer()) == 200);
  CHECK(MsSince(start) < (kSanitized ? 500 : 50));
  idle.clear();
  socket.Close();
  CHECK(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
}

TEST_CASE("without descriptors it serves whom it has, rests, and goes on afterwards",
          "[http][server]") {
  RunningServer fixture;
  RawSocket known = fixture.Connect();
  known.Send(Get("/small"));
  REQUIRE(Status(known.ReadAnswer()) == 200);
  // Sockets of clients first: both ends are in this process.
  std::vector<RawSocket> waiting;
  for (int i = 0; i < 20; ++i) {
    waiting.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(waiting.back().open());
  }
  std::vector<RawSocket> fillers;  // until the limit is met
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit scarce = before;
  scarce.rlim_cur = static_cast<rlim_t>(waiting.back().fd()) + 10;
  setrlimit(RLIMIT_NOFILE, &scarce);
  while (true) {
    RawSocket filler(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!filler.open()) break;
    fillers.push_back(std::move(filler));
  }
  const auto cpu_ms = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
  };
  const sockaddr_in to = Loopback(fixture.server->port());
  for (RawSocket& socket : waiting) {
    // The kernel takes the connection; the server cannot.
    CHECK(::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
    CHECK(socket.Send(Get("/small")));
  }
  const auto start = Clock::now();
  const int64_t cpu_before_ms = cpu_ms();
  int answered = 0;
  while (MsSince(start) < 1'000) {
    known.Send(Get("/small"));
    answered += Status(known.ReadAnswer()) == 200 ? 1 : 0;
    std::this_thread::sleep_for(milliseconds(20));
  }
  const int64_t cpu_spent_ms = cpu_ms() - cpu_before_ms;
  const uint64_t accepted = fixture.server->stats().connections_accepted;
  setrlimit(RLIMIT_NOFILE, &before);
  fillers.clear();
  CHECK(accepted == 1);
  CHECK(answered >= 10);
  // A loop that tries again at once takes all of a processor.
  if (!kSanitized) CHECK(cpu_spent_ms < 300);
  for (RawSocket& socket : waiting) CHECK(Status(socket.ReadAnswer()) == 200);
}

TEST_CASE("connects come and go without leaving descriptors", "[http][server]") {
  RunningServer fixture;
  const int connects = kSanitized ? 1'000 : 10'000;
  const auto some = [&](int n) {
    for (int i = 0; i < n; ++i) {
      RawSocket socket = fixture.Connect();
      REQUIRE(socket.open());
      switch (i % 5) {
        case 0: socket.Send(Get("/small", "Connection: close\r\n")); break;
        case 1: socket.Send(Get("/small")); break;
        case 2: socket.Send("GET /sm"); break;
        case 3: socket.Send("nonsense\r\n"); break;
        default: break;
      }
      if (i % 5 == 0) socket.ReadToEnd();
      if (i % 5 == 1) socket.ReadAnswer();
      if (i % 2 == 0) socket.Reset();  // also keeps ports from TIME_WAIT
    }
    REQUIRE(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
  };
  some(100);
  const size_t before = OpenDescriptors();
  some(connects);
  // A connection is off the list a moment before its socket is closed.
  CHECK(Eventually([&] { return OpenDescriptors() <= before; }));
}

}  // namespace chatchain::http::testing
