// SPDX-License-Identifier: MIT
#include "common/http/client.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "common/http/event_loop.h"
#include "common/http/server.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using testing::Clock;
using testing::kSanitized;
using testing::RawListener;
using testing::RawSocket;
using Kind = TransportError::Kind;

SteadyTime In(int ms) {
  return Clock::now() + milliseconds(ms);
}

int64_t MsSince(SteadyTime start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start).count();
}

std::string ReadHead(RawSocket& socket) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    if (socket.ReadSome(&head) != RawSocket::Read::kData) break;
  }
  return head;
}

// Both ways of calling behind one function: each test runs once for each.
class Asker {
 public:
  explicit Asker(std::string address, ClientOptions options = {})
      : on_loop_(GENERATE(false, true)), client_(std::move(address), options) {}

  Result<ClientResponse, TransportError> Send(const ClientRequest& request, SteadyTime deadline,
                                              Cancellation* cancellation = nullptr) {
    if (!on_loop_) return client_.Send(request, deadline, cancellation);
    std::promise<Result<ClientResponse, TransportError>> result;
    client_.Start(loop_, request, deadline, cancellation,
                  [&](auto answer) { result.set_value(std::move(answer)); });
    return result.get_future().get();
  }

 private:
  const bool on_loop_;
  EventLoop loop_{"test"};
  Client client_;
};

// Runs `script` for one accepted connection while the client sends one request.
Result<ClientResponse, TransportError> SendTo(const std::function<void(RawSocket&)>& script,
                                              ClientRequest request = {}, int timeout_ms = 5'000,
                                              ClientOptions options = {}) {
  RawListener listener;
  std::thread peer([&] {
    RawSocket socket = listener.Accept();
    script(socket);
  });
  Asker client(listener.address(), options);
  auto result = client.Send(request, In(timeout_ms));
  peer.join();
  return result;
}

Result<ClientResponse, TransportError> SendToAnswer(const std::string& answer,
                                                    ClientOptions options = {}) {
  return SendTo(
      [&](RawSocket& socket) {
        ReadHead(socket);
        socket.Send(answer);
        socket.FinishSending();
      },
      {}, 5'000, options);
}

}  // namespace

TEST_CASE("client and server speak, and the connection is kept", "[http][client]") {
  std::vector<Route> routes;
  routes.push_back({.method = "POST",
                    .pattern = "/echo/{name}",
                    .handler =
                        [](Request& request) {
                          Response response = JsonResponse(201, request.body);
                          response.headers.Add("X-Name", request.path_params["name"]);
                          response.headers.Add("X-Header",
                                               std::string(*request.headers.Get("x-give")));
                          return response;
                        },
                    .max_body_bytes = 32 * 1024 * 1024,
                    .json_body = true});
  Server server({}, std::move(routes));
  REQUIRE(server.Start());
  Asker client(server.address());
  for (size_t size : {0, 10, 3'000, 70'000, 9'000'000}) {
    ClientRequest request{
        .method = "POST", .target = "/echo/a%20b", .body = std::string(size, 'x')};
    request.content_type = "application/json";
    request.headers.Add("X-Give", "50%25 off");
    auto response = client.Send(request, In(20'000));
    REQUIRE(response);
    CHECK(response->status == 201);
    CHECK(response->body == request.body);
    CHECK(response->headers.Get("x-name") == "a b");
    CHECK(response->headers.Get("x-header") == "50%25 off");
  }
  CHECK(server.stats().connections_accepted == 1);
  CHECK(server.stats().requests == 5);
}

TEST_CASE("a refused connection is told at once, and nothing was sent", "[http][client]") {
  std::string address;
  {
    RawListener listener;
    address = listener.address();
  }
  Asker client(address);
  const auto start = Clock::now();
  auto result = client.Send({}, In(5'000));
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kConnect);
  CHECK_FALSE(result.error().sent);
  CHECK(result.error().detail.find(address) != std::string::npos);
  CHECK(MsSince(start) < 1'000);
}

TEST_CASE("an address that is none, or names no host, is a connect error", "[http][client]") {
  for (const char* address :
       {"", "nohost", ":80", "127.0.0.1:", "[::1", "no-such-host.invalid:80"}) {
    Asker client(address);
    auto result = client.Send({}, In(2'000));
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == Kind::kConnect);
    CHECK_FALSE(result.error().sent);
  }
}

TEST_CASE("a connect that gets no answer ends after the connect timeout", "[http][client]") {
  // A full backlog: the kernel drops further SYNs.
  RawListener listener(0);
  std::vector<RawSocket> fillers;
  for (int i = 0; i < 4; ++i) {
    RawSocket filler(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_in to = testing::Loopback(listener.port());
    (void)::connect(filler.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof(to));
    fillers.push_back(std::move(filler));
  }
  Asker client(listener.address(), {.connect_timeout_ms = 100});
  auto start = Clock::now();
  auto result = client.Send({}, In(5'000));
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kConnect);
  CHECK(MsSince(start) >= 90);
  CHECK(MsSince(start) < 2'000);
  // The total deadline is nearer.
  start = Clock::now();
  result = client.Send({}, In(30));
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTimeout);
  CHECK(MsSince(start) < 1'000);
  // And a cancel is nearer still.
  Cancellation cancellation;
  Asker patient(listener.address(), {.connect_timeout_ms = 8'000});
  auto pending =
      std::async(std::launch::async, [&] { return patient.Send({}, In(9'000), &cancellation); });
  start = Clock::now();
  cancellation.Cancel();
  result = pending.get();
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kCancelled);
  CHECK(MsSince(start) < 2'000);
}

TEST_CASE("host names and IPv6 literals are addresses", "[http][client]") {
  Server server({}, {Route{.method = "GET", .pattern = "/", .handler = [](Request&) {
                             return JsonResponse(200, "{}");
                           }}});
  REQUIRE(server.Start());
  Asker client("localhost:" + std::to_string(server.port()));
  for (int i = 0; i < 2; ++i) {
    auto result = client.Send({}, In(5'000));
    REQUIRE(result);
    CHECK(result->status == 200);
  }
  Server six({.host = "::1"},
             {Route{.method = "GET", .pattern = "/", .handler = [](Request& request) {
                      return JsonResponse(200, "\"" + request.remote_address + "\"");
                    }}});
  if (!six.Start()) {
    WARN("no IPv6 here");
    return;
  }
  CHECK(six.address() == "[::1]:" + std::to_string(six.port()));
  auto result = Asker(six.address()).Send({}, In(5'000));
  REQUIRE(result);
  CHECK(result->body == "\"::1\"");
}

TEST_CASE("a server that accepts and says nothing ends at the deadline", "[http][client]") {
  const auto start = Clock::now();
  auto result = SendTo([](RawSocket& socket) { socket.ReadToEnd(); }, {}, 150);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTimeout);
  CHECK(result.error().sent);
  CHECK(MsSince(start) >= 140);
  CHECK(MsSince(start) < 2'000);
}

TEST_CASE("a server that drips bytes ends at the deadline", "[http][client]") {
  const auto start = Clock::now();
  auto result = SendTo(
      [](RawSocket& socket) {
        std::string ignored;
        socket.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        // Every wait of 10 ms is for the client to give up.
        while (true) {
          const auto read = socket.ReadSome(&ignored, milliseconds(10));
          if (read == RawSocket::Read::kEnd || read == RawSocket::Read::kReset) break;
          if (!socket.Send("x")) break;
        }
      },
      {}, 200);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTimeout);
  CHECK(MsSince(start) < 2'000);
}

TEST_CASE("a server that does not read ends at the deadline", "[http][client]") {
  ClientRequest request{.method = "POST", .body = std::string(32 * 1024 * 1024, 'x')};
  std::promise<void> done;
  RawListener listener;
  std::thread peer([&] {
    RawSocket socket = listener.Accept();
    done.get_future().wait();
  });
  Asker client(listener.address());
  // Long enough that something was sent by then, on any machine.
  auto result = client.Send(request, In(kSanitized ? 10'000 : 1'000));
  done.set_value();
  peer.join();
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTimeout);
  CHECK(result.error().sent);
}

TEST_CASE("answers that are not whole or not HTTP are broken", "[http][client]") {
  const std::string big_head = "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n";
  const char* const kNo = "";
  struct Case {
    std::string answer;
    const char* detail;
  };
  const std::vector<Case> cases = {
      {kNo, "closed before"},
      {"HTTP/1.1 200 OK\r\n", "closed before"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", "closed before"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed before"},
      {"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"},
      {"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not HTTP"},
      {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "not HTTP"},
      {"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "status line"},
      {"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "status line"},
      {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "LF"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", "twice"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n", "Content-Length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "Content-Length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "both"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "chunked"},
      {"HTTP/1.1 200 OK\r\n\r\nhello", "how long"},
      {"HTTP/1.1 200 OK\r\n Folded: 1\r\n\r\n", "fold"},
      {"HTTP/1.1 200 OK\r\nName : 1\r\n\r\n", "colon"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", "chunk"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk"},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "1xx"},
      {big_head, "too long"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.answer.substr(0, 80));
    auto result = SendToAnswer(each.answer);
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == Kind::kBroken);
    CHECK(result.error().sent);
    CHECK_THAT(result.error().detail, Catch::Contains(each.detail));
  }
}

TEST_CASE("answers in every legal form are read", "[http][client]") {
  auto result = SendToAnswer("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello");
  REQUIRE(result);
  CHECK(result->body == "hello");
  result = SendToAnswer(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
      "Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n");
  REQUIRE(result);
  CHECK(result->body == "hello!");
  result = SendToAnswer(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nX: %41\r\nx: 2\r\n\r\n");
  REQUIRE(result);
  CHECK(result->status == 204);
  CHECK(result->headers.Get("X") == "%41");
  CHECK(result->headers.Count("X") == 2);
  std::string head;
  result = SendTo(
      [&](RawSocket& socket) {
        head = ReadHead(socket);
        socket.Send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
      },
      {.method = "HEAD"});
  REQUIRE(result);
  CHECK(result->body.empty());
  CHECK_THAT(head, Catch::StartsWith("HEAD / HTTP/1.1\r\nHost: 127.0.0.1:"));
}

TEST_CASE("an answer over the limit is refused before it is read", "[http][client]") {
  const ClientOptions options{.max_response_bytes = 1'000};
  auto result = SendToAnswer("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", options);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTooLarge);
  result = SendToAnswer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n", options);
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kTooLarge);
  result = SendToAnswer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(1'000, 'x'),
                        options);
  CHECK(result);
}

TEST_CASE("an answer that comes before all was sent is heard", "[http][client]") {
  ClientRequest request{.method = "POST", .body = std::string(32 * 1024 * 1024, 'x')};
  const std::string answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}";
  std::promise<void> done;
  RawListener listener;
  std::thread peer([&] {
    RawSocket socket = listener.Accept();
    ReadHead(socket);
    socket.Send(answer);
    done.get_future().wait();
  });
  Asker client(listener.address());
  auto result = client.Send(request, In(5'000));
  done.set_value();
  peer.join();
  REQUIRE(result);
  CHECK(result->status == 413);
}

TEST_CASE("a kept connection that died is replaced, and nothing is sent twice", "[http][client]") {
  RawListener listener;
  Asker client(listener.address());
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
  std::promise<void> closed;
  std::thread peer([&] {
    {
      RawSocket socket = listener.Accept();
      ReadHead(socket);
      socket.Send(answer);
    }
    closed.set_value();
    {
      RawSocket socket = listener.Accept();
      ReadHead(socket);
      socket.Send(answer);
      // The second request on this connection is read, and then the connection ends.
      ReadHead(socket);
    }
  });
  CHECK(client.Send({}, In(5'000)));
  closed.get_future().wait();
  CHECK(client.Send({}, In(5'000)));
  auto result = client.Send({}, In(5'000));
  peer.join();
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kBroken);
  CHECK(result.error().sent);
}

TEST_CASE("an answer that says more than it should ends its connection", "[http][client]") {
  RawListener listener;
  Asker client(listener.address());
  std::thread peer([&] {
    for (int i = 0; i < 2; ++i) {
      RawSocket socket = listener.Accept();
      ReadHead(socket);
      socket.Send(
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: "
          "4\r\n\r\nEVIL");
      socket.ReadToEnd();
    }
  });
  for (int i = 0; i < 2; ++i) {
    auto result = client.Send({}, In(5'000));
    REQUIRE(result);
    CHECK(result->body == "{}");
  }
  peer.join();
}

TEST_CASE("a call is cancelled before, while and after it runs", "[http][client]") {
  RawListener listener;
  Asker client(listener.address());
  {
    Cancellation cancellation;
    cancellation.Cancel();
    auto result = client.Send({}, In(5'000), &cancellation);
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == Kind::kCancelled);
    CHECK_FALSE(result.error().sent);
  }
  {
    Cancellation cancellation;
    auto pending =
        std::async(std::launch::async, [&] { return client.Send({}, In(9'000), &cancellation); });
    RawSocket socket = listener.Accept();
    ReadHead(socket);
    const auto start = Clock::now();
    cancellation.Cancel();
    auto result = pending.get();
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == Kind::kCancelled);
    CHECK(result.error().sent);
    CHECK(MsSince(start) < 2'000);
  }
  {
    Cancellation cancellation;
    std::thread peer([&] {
      RawSocket socket = listener.Accept();
      for (int i = 0; i < 2; ++i) {
        ReadHead(socket);
        socket.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
      }
    });
    CHECK(client.Send({}, In(5'000), &cancellation));
    cancellation.Cancel();  // too late: the connection it was about now serves others
    CHECK(cancellation.cancelled());
    CHECK(client.Send({}, In(5'000)));
    peer.join();
  }
}

TEST_CASE("cancelling races with sending and nothing breaks", "[http][client]") {
  Server server({}, {Route{.method = "GET", .pattern = "/", .handler = [](Request&) {
                             return JsonResponse(200, "{}");
                           }}});
  REQUIRE(server.Start());
  Asker client(server.address());
  int cancelled = 0;
  for (int i = 0; i < 300; ++i) {
    Cancellation cancellation;
    std::atomic<bool> go{false};
    std::thread other([&] {
      while (!go) std::this_thread::yield();
      const auto until = Clock::now() + std::chrono::microseconds(i);
      while (Clock::now() < until) {
      }
      cancellation.Cancel();
    });
    go = true;
    auto result = client.Send({}, In(5'000), &cancellation);
    other.join();
    if (result) {
      CHECK(result->status == 200);
    } else {
      ++cancelled;
      CHECK(result.error().kind == Kind::kCancelled);
    }
    auto other_call = client.Send({}, In(5'000));
    CHECK(other_call);
  }
  INFO(cancelled);
}

TEST_CASE("calls from many threads each use a connection of their own", "[http][client]") {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  Server server({}, {Route{.method = "GET", .pattern = "/{n}", .handler = [&](Request& request) {
                             const int now = ++inside;
                             int seen = most;
                             while (now > seen && !most.compare_exchange_weak(seen, now)) {
                             }
                             --inside;
                             return JsonResponse(200, request.path_params["n"]);
                           }}});
  REQUIRE(server.Start());
  Asker client(server.address(), {.max_idle_connections = 4});
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string n = std::to_string(t * 1'000 + i);
        auto result = client.Send({.target = "/" + n}, In(10'000));
        if (result && result->body == n) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 800);
}

TEST_CASE("a request that would split into two is not sent", "[http][client]") {
  RawListener listener;
  Asker client(listener.address());
  for (const char* target : {"", "/a b", "/a\r\nX: y", "/\x01"}) {
    auto result = client.Send({.target = target}, In(5'000));
    REQUIRE_FALSE(result);
    CHECK_FALSE(result.error().sent);
  }
  std::string head;
  std::thread peer([&] {
    RawSocket socket = listener.Accept();
    head = ReadHead(socket);
    socket.Send("HTTP/1.1 204 No Content\r\n\r\n");
  });
  ClientRequest request;
  request.headers.Add("X", "a\r\nEvil: 1");
  request.headers.Add("Evil: 1\r\nX", "a");
  request.headers.Add("Good", "yes");
  CHECK(client.Send(request, In(5'000)));
  peer.join();
  CHECK(head.find("Evil") == std::string::npos);
  CHECK_THAT(head, Catch::Contains("Good: yes\r\n"));
}

}  // namespace chatchain::http
