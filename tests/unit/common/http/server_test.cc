// SPDX-License-Identifier: MIT
#include "common/http/server.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "common/http/client.h"
#include "common/http/event_loop.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using testing::Clock;
using testing::kPatience;
using testing::RawSocket;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Looks again until it holds; false after kPatience.
bool Eventually(const std::function<bool()>& holds) {
  const auto until = Clock::now() + kPatience;
  while (!holds()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

int64_t MsSince(SteadyTime start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start).count();
}

// A gate that handlers wait at.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  bool WaitForWaiting(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return waiting_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

// Gives `parts` parts of `part_bytes`, then ends as told; says when it is destroyed.
class TestSource final : public BodySource {
 public:
  struct Log {
    std::atomic<int> reads{0};
    std::atomic<bool> destroyed{false};
  };
  TestSource(std::shared_ptr<Log> log, int parts, size_t part_bytes, Step last)
      : log_(std::move(log)), parts_(parts), part_bytes_(part_bytes), last_(last) {}
  ~TestSource() override { log_->destroyed = true; }
  Step Read(std::string* out) override {
    ++log_->reads;
    if (given_++ == parts_) return last_;
    out->assign(part_bytes_, 'p');
    return Step::kMore;
  }

 private:
  std::shared_ptr<Log> log_;
  const int parts_;
  int given_ = 0;
  const size_t part_bytes_;
  const Step last_;
};

// A server with one route of each kind.
struct Fixture {
  explicit Fixture(ServerOptions options = {}, EventLoops* loops = nullptr) {
    std::vector<Route> routes;
    const auto add = [&](Route route) { routes.push_back(std::move(route)); };
    add({.method = "GET", .pattern = "/small", .handler = [](Request& request) {
           return JsonResponse(200, "{\"target\":\"" + request.target + "\"}");
         }});
    add({.method = "POST",
         .pattern = "/echo",
         .handler =
             [](Request& request) {
               Response response = JsonResponse(200, request.body);
               response.content_type = "application/octet-stream";
               return response;
             },
         .max_body_bytes = 1024 * 1024});
    add({.method = "POST",
         .pattern = "/json",
         .handler = [](Request& request) { return JsonResponse(201, request.body); },
         .max_body_bytes = 1000,
         .json_body = true});
    add({.method = "GET", .pattern = "/wait", .handler = [this](Request&) {
           gate.Wait();
           return JsonResponse(200, "\"waited\"");
         }});
    add({.method = "GET",
         .pattern = "/healthz",
         .handler = [](Request&) { return JsonResponse(200, "\"well\""); },
         .never_shed = true});
    add({.method = "GET", .pattern = "/throw", .handler = [](Request&) -> Response {
           throw std::runtime_error("a bug");
         }});
    add({.method = "GET", .pattern = "/big/{bytes}", .handler = [](Request& request) {
           return JsonResponse(200, std::string(std::stoul(request.path_params["bytes"]), 'b'));
         }});
    const auto stream = [this](BodySource::Step last) {
      return [this, last](Request& request) {
        Response response;
        response.content_type = "application/x-ndjson";
        const int parts = std::stoi(request.path_params["parts"]);
        response.source = std::make_unique<TestSource>(source, parts, 1'000, last);
        return response;
      };
    };
    add({.method = "GET", .pattern = "/stream/{parts}", .handler = stream(BodySource::Step::kEnd)});
    add({.method = "GET",
         .pattern = "/abort/{parts}",
         .handler = stream(BodySource::Step::kAbort)});
    server = std::make_unique<Server>(std::move(options), std::move(routes), loops);
    const auto started = server->Start();
    if (!started) FAIL(started.error());
  }
  ~Fixture() { gate.Open(); }

  RawSocket Connect(int receive_buffer = 0) {
    return RawSocket::Connect(server->port(), receive_buffer);
  }
  // One request on a connection of its own; the answer until the close.
  std::string Ask(const std::string& bytes) {
    RawSocket socket = Connect();
    socket.Send(bytes);
    return socket.ReadToEnd();
  }

  Gate gate;
  std::shared_ptr<TestSource::Log> source = std::make_shared<TestSource::Log>();
  std::unique_ptr<Server> server;
};

std::string Get(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

std::string Post(const std::string& target, const std::string& body,
                 const std::string& fields = "") {
  return "POST " + target +
         " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         fields + "\r\n" + body;
}

int Status(const std::string& answer) {
  return answer.size() > 12 && answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
}

std::string Body(const std::string& answer) {
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

bool Says(const std::string& answer, const std::string& line) {
  const size_t at = answer.find(line + "\r\n");
  return at != std::string::npos && at < answer.find("\r\n\r\n") + 2;
}

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

TEST_CASE("requests on one connection are answered in order", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  for (int i = 0; i < 3; ++i) {
    socket.Send(Get("/small?" + std::to_string(i)));
    const std::string answer = socket.ReadAnswer();
    CHECK(Status(answer) == 200);
    CHECK(Body(answer) == "{\"target\":\"/small?" + std::to_string(i) + "\"}");
    CHECK(Says(answer, "Content-Type: application/json"));
    CHECK(answer.find("\r\nDate: ") != std::string::npos);
    CHECK_FALSE(Says(answer, "Connection: close"));
  }
  // Pipelined: some run on a worker, some are answered by the loop, one has a body.
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += Get("/small?" + std::to_string(i)) + Get("/nope") + Post("/echo", std::to_string(i)) +
           Post("/nope", "skipped");
  }
  socket.Send(all);
  for (int i = 0; i < 50; ++i) {
    REQUIRE(Body(socket.ReadAnswer()) == "{\"target\":\"/small?" + std::to_string(i) + "\"}");
    REQUIRE(Status(socket.ReadAnswer()) == 404);
    REQUIRE(Body(socket.ReadAnswer()) == std::to_string(i));
    REQUIRE(Status(socket.ReadAnswer()) == 404);
  }
  CHECK(fixture.server->stats().connections_accepted == 1);
  CHECK(fixture.server->stats().requests == 203);
}

TEST_CASE("a pipeline longer than every buffer is answered in order", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  constexpr int kRequests = 4'000;
  std::thread sender([&] {
    std::string all;
    for (int i = 0; i < kRequests; ++i) {
      all += Get("/small?" + std::to_string(i));
      if (i % 7 == 0) all += Get("/big/5000");
      if (i % 11 == 0) all += Get("/stream/2");
    }
    socket.Send(all);
    socket.FinishSending();
  });
  sender.join();  // the peer reads nothing before it has sent all
  const std::string all = socket.ReadToEnd();
  size_t at = 0;
  for (int i = 0; i < kRequests; ++i) {
    at = all.find("{\"target\":\"/small?" + std::to_string(i) + "\"}", at);
    REQUIRE(at != std::string::npos);
  }
  CHECK(all.ends_with("}"));
}

TEST_CASE("an answer is not held back for a slow request behind it", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/big/100") + Get("/nope"));
  socket.ReadAnswer();
  socket.ReadAnswer();
  // The two come together; the first one took long, so it is sent before the second runs.
  socket.Send(Get("/wait") + Get("/wait"));
  REQUIRE(fixture.gate.WaitForWaiting(1));
  fixture.gate.Open();
  CHECK(Body(socket.ReadAnswer()) == "\"waited\"");
  CHECK(Body(socket.ReadAnswer()) == "\"waited\"");
}

TEST_CASE("a request may come byte by byte", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  for (char c : Post("/echo", "hello")) socket.Send({&c, 1});
  CHECK(Body(socket.ReadAnswer()) == "hello");
}

TEST_CASE("bodies of every size and coding arrive whole", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  for (size_t size : {0, 1, 1'900, 2'048, 5'000, 65'536, 200'000, 1'048'576}) {
    std::string body(size, 'x');
    for (size_t i = 0; i < size; i += 97) body[i] = static_cast<char>('a' + i % 26);
    std::thread sender([&] { socket.Send(Post("/echo", body)); });
    const std::string answer = socket.ReadAnswer();
    sender.join();
    CHECK(Status(answer) == 200);
    CHECK((Body(answer) == body));
  }
  socket.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n" +
      Get("/small"));
  CHECK(Body(socket.ReadAnswer()) == "hello!");
  CHECK(Status(socket.ReadAnswer()) == 200);
}

TEST_CASE("slow clients are told 408, idle ones are closed silently", "[http][server]") {
  Fixture fixture({.head_timeout_ms = 80, .body_timeout_ms = 80, .idle_timeout_ms = 150});
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
  Fixture fixture({.write_timeout_ms = 100});
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
  Fixture fixture({.write_timeout_ms = 300});
  RawSocket socket = fixture.Connect(4'096);
  socket.Send(Get("/big/600000", "Connection: close\r\n"));
  const std::string answer = socket.ReadToEnd();
  CHECK(Body(answer).size() == 600'000);
}

TEST_CASE("a body over the limit is refused by the head alone", "[http][server]") {
  Fixture fixture;
  RawSocket::Read how = RawSocket::Read::kNothing;
  {
    RawSocket socket = fixture.Connect();
    socket.Send(
        "POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: "
        "1001\r\n\r\n");
    const std::string answer = socket.ReadAnswer();
    CHECK(Status(answer) == 413);
    CHECK(Says(answer, "Connection: close"));
    CHECK_THAT(answer, Catch::Contains("1000 bytes"));
    socket.ReadToEnd(&how);
    CHECK(how == RawSocket::Read::kEnd);
  }
  {
    // Sent nevertheless: the answer must not be lost to a reset.
    RawSocket socket = fixture.Connect();
    CHECK(socket.Send(Post("/echo", std::string(8 * 1024 * 1024, 'x'))));
    const std::string answer = socket.ReadToEnd(&how);
    CHECK(Status(answer) == 413);
    CHECK(how == RawSocket::Read::kEnd);
  }
  {
    RawSocket socket = fixture.Connect();
    socket.Send(
        "POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"
        "1F4\r\n" +
        std::string(500, 'x') + "\r\n1F5\r\n");
    CHECK(Status(socket.ReadToEnd(&how)) == 413);
    CHECK(how == RawSocket::Read::kEnd);
  }
  // A route without a body takes an empty chunked one, and no other.
  const std::string chunked = Get("/small", "Transfer-Encoding: chunked\r\n");
  CHECK(Status(fixture.Ask(chunked + "0\r\n\r\n" + Get("/small", "Connection: close\r\n"))) == 200);
  CHECK(Status(fixture.Ask(chunked + "1\r\n")) == 413);
  CHECK(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
}

TEST_CASE("Expect: 100-continue", "[http][server]") {
  Fixture fixture;
  const auto begin = [](const std::string& target, const std::string& fields) {
    return "POST " + target + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + fields + "\r\n";
  };
  RawSocket socket = fixture.Connect();
  for (const char* length : {"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
    socket.Send(begin("/echo", length));
    CHECK(socket.ReadAnswer() == "HTTP/1.1 100 Continue\r\n\r\n");
    socket.Send(length[0] == 'C' ? "hello" : "5\r\nhello\r\n0\r\n\r\n");
    CHECK(Body(socket.ReadAnswer()) == "hello");
  }
  // No need to say it when the body is here, or when there is none.
  socket.Send(begin("/echo", "Content-Length: 5\r\n") + "hello");
  CHECK(Body(socket.ReadAnswer()) == "hello");
  socket.Send(begin("/echo", "Content-Length: 0\r\n"));
  CHECK(Status(socket.ReadAnswer()) == 200);
  // A final answer straight away where it would be refused.
  CHECK(Status(fixture.Ask(begin("/echo", "Content-Length: 9999999\r\n"))) == 413);
  CHECK(Status(fixture.Ask(begin("/nope", "Content-Length: 5\r\n"))) == 404);
  CHECK(Status(fixture.Ask(begin("/json", "Content-Length: 5\r\n"))) == 415);
  CHECK(Status(fixture.Ask(Get("/small", "Expect: miracles\r\n"))) == 417);
}

TEST_CASE("a refusal by the head does not wait for the body, nor lose the connection",
          "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  socket.Send(
      "POST /json HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\n");
  const std::string answer = socket.ReadAnswer();
  CHECK(Status(answer) == 415);
  CHECK_FALSE(Says(answer, "Connection: close"));
  socket.Send(std::string(500, 'G') + Get("/small"));
  CHECK(Status(socket.ReadAnswer()) == 200);
  // One that is too long to be skipped costs the connection.
  CHECK(Says(fixture.Ask("POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n"),
             "Connection: close"));
}

TEST_CASE("what is not a request is answered and closed", "[http][server]") {
  Fixture fixture;
  const std::vector<std::pair<std::string, int>> cases = {
      {"GET /small HTTP/1.1\r\n\r\n", 400},
      {"GET /small HTTP/1.1\nHost: a\n\n", 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /small\r\n", 400},
      {"\x16\x03\x01\x02\x00\x01", 400},
      {Get("/" + std::string(40'000, 'x')), 414},
      {Get("/small", "X: " + std::string(70'000, 'x') + "\r\n"), 431},
      {Post("/echo", "x", "Transfer-Encoding: chunked\r\n"), 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400},
  };
  for (const auto& [bytes, status] : cases) {
    CAPTURE(bytes.substr(0, 100));
    RawSocket socket = fixture.Connect();
    // What follows must not be read as a request.
    socket.Send(bytes + Get("/small"));
    RawSocket::Read how = RawSocket::Read::kNothing;
    const std::string answer = socket.ReadToEnd(&how);
    CHECK(Status(answer) == status);
    CHECK(Says(answer, "Connection: close"));
    CHECK(Says(answer, "Content-Type: application/problem+json"));
    CHECK_THAT(answer, Catch::Contains("\"detail\":\""));
    CHECK(answer.find("{\"target") == std::string::npos);
    CHECK(how == RawSocket::Read::kEnd);
  }
}

TEST_CASE("methods, HEAD and HTTP/1.0", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/small"));
  std::string get = socket.ReadAnswer();
  socket.Send("HEAD /small HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string head = socket.ReadAnswer(/*head_request=*/true);
  const auto without_date = [](std::string text) {
    const size_t date = text.find("Date: ");
    return text.erase(date, text.find("\r\n", date) - date);
  };
  get = get.substr(0, get.find("\r\n\r\n") + 4);
  CHECK(without_date(head) == without_date(get));
  // Nothing else came: the next answer begins where HEAD's ended.
  socket.Send("HEAD /nope HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream/3 HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(Status(socket.ReadAnswer(true)) == 404);
  const std::string stream_head = socket.ReadAnswer(true);
  CHECK(Says(stream_head, "Transfer-Encoding: chunked"));
  CHECK(fixture.source->reads == 0);
  socket.Send("PUT /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  std::string answer = socket.ReadAnswer();
  CHECK(Status(answer) == 405);
  CHECK(Says(answer, "Allow: OPTIONS, POST"));
  socket.Send("OPTIONS /small HTTP/1.1\r\nHost: a\r\n\r\n");
  answer = socket.ReadAnswer();
  CHECK(Status(answer) == 204);
  CHECK(Says(answer, "Allow: GET, HEAD, OPTIONS"));
  CHECK(answer.find("Content-Length") == std::string::npos);
  socket.Send(Get("//"));
  CHECK(Status(socket.ReadAnswer()) == 404);
  socket.Send(Get("/small/%zz"));
  CHECK(Status(socket.ReadAnswer()) == 400);

  answer = fixture.Ask("GET /small HTTP/1.0\r\n\r\n");
  CHECK(Status(answer) == 200);
  CHECK(Says(answer, "Connection: close"));
  RawSocket old = fixture.Connect();
  old.Send("GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(Says(old.ReadAnswer(), "Connection: keep-alive"));
  old.Send("GET /small HTTP/1.0\r\n\r\n");
  CHECK(Says(old.ReadToEnd(), "Connection: close"));
  CHECK(Says(fixture.Ask(Get("/small", "Connection: close\r\n")), "Connection: close"));
}

TEST_CASE("a bug in a handler is a 500 and no more", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/throw") + Get("/small"));
  const std::string answer = socket.ReadAnswer();
  CHECK(Status(answer) == 500);
  CHECK(Says(answer, "Content-Type: application/problem+json"));
  CHECK_THAT(answer, !Catch::Contains("a bug"));
  CHECK(Status(socket.ReadAnswer()) == 200);
}

TEST_CASE("CORS and gzip on the wire", "[http][server]") {
  Fixture fixture({.gzip_min_bytes = 1'000, .cors_origins = {"https://a.example"}});
  RawSocket socket = fixture.Connect();
  const std::string origin = "Origin: https://a.example\r\n";
  socket.Send("OPTIONS /echo HTTP/1.1\r\nHost: a\r\n" + origin +
              "Access-Control-Request-Method: POST\r\n\r\n");
  std::string answer = socket.ReadAnswer();
  CHECK(Status(answer) == 204);
  CHECK(Says(answer, "Access-Control-Allow-Origin: https://a.example"));
  CHECK(Says(answer, "Access-Control-Allow-Methods: OPTIONS, POST"));
  CHECK(Says(answer, "Vary: Origin"));
  for (const char* target : {"/small", "/nope", "/throw"}) {
    socket.Send(Get(target, origin));
    answer = socket.ReadAnswer();
    CHECK(Says(answer, "Access-Control-Allow-Origin: https://a.example"));
    CHECK_THAT(answer, Catch::Contains("Access-Control-Expose-Headers: ChatChain-Node"));
  }
  socket.Send(Get("/small", "Origin: https://b.example\r\n"));
  answer = socket.ReadAnswer();
  CHECK(Says(answer, "Vary: Origin"));
  CHECK_THAT(answer, !Catch::Contains("Access-Control"));
  socket.Send(Get("/big/5000", "Accept-Encoding: gzip\r\n"));
  answer = socket.ReadAnswer();
  CHECK(Says(answer, "Content-Encoding: gzip"));
  CHECK(Body(answer).size() < 1'000);
  socket.Send(Get("/stream/20", "Accept-Encoding: gzip\r\nConnection: close\r\n"));
  CHECK_THAT(socket.ReadToEnd(), !Catch::Contains("gzip"));
}

TEST_CASE("streams", "[http][server]") {
  Fixture fixture;
  std::string chunked;
  for (int i = 0; i < 3; ++i) chunked += "3e8\r\n" + std::string(1'000, 'p') + "\r\n";
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/stream/3") + Get("/small"));
  socket.FinishSending();
  const std::string answer = socket.ReadToEnd();
  CHECK(Says(answer, "Transfer-Encoding: chunked"));
  CHECK(Says(answer, "Content-Type: application/x-ndjson"));
  CHECK_THAT(answer, !Catch::Contains("Connection: close"));
  CHECK_THAT(Body(answer), Catch::StartsWith(chunked + "0\r\n\r\nHTTP/1.1 200 OK\r\n"));
  CHECK(fixture.source->destroyed);
  // Midway: the connection ends without the last chunk, and the reader of HTTP/1.0 sees a reset.
  RawSocket::Read how = RawSocket::Read::kNothing;
  RawSocket abort = fixture.Connect();
  abort.Send(Get("/abort/3") + Get("/small"));
  CHECK(Body(abort.ReadToEnd(&how)) == chunked);
  const std::string old = fixture.Ask("GET /stream/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(Says(old, "Connection: close"));
  CHECK_THAT(old, !Catch::Contains("chunked"));
  CHECK(Body(old) == std::string(3'000, 'p'));
  RawSocket old_abort = fixture.Connect();
  old_abort.Send("GET /abort/3 HTTP/1.0\r\n\r\n");
  old_abort.ReadToEnd(&how);
  CHECK(how == RawSocket::Read::kReset);
}

TEST_CASE("the source of a stream goes with its reader", "[http][server]") {
  Fixture fixture;
  RawSocket socket = fixture.Connect(4'096);
  socket.Send(Get("/stream/1000000"));
  std::string some;
  socket.ReadSome(&some);
  CHECK_FALSE(fixture.source->destroyed);
  // It waits for the reader, without a worker.
  CHECK(Eventually([&] { return fixture.server->stats().in_flight == 0; }));
  CHECK(fixture.source->reads < 20'000);
  socket.Reset();
  CHECK(Eventually([&] { return fixture.source->destroyed.load(); }));
  CHECK(Eventually([&] { return fixture.server->stats().connections_open == 0; }));
}

TEST_CASE("over the limit of requests in flight others are shed", "[http][server]") {
  Fixture fixture({.max_in_flight = 3, .min_workers = 1});
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
  Fixture fixture({.min_workers = 2});
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
  CHECK(MsSince(start) < 1'000);
  fixture.gate.Open();
  for (RawSocket& each : waiting) CHECK(Status(each.ReadAnswer()) == 200);
}

TEST_CASE("limits of connections are told with 503", "[http][server]") {
  Fixture fixture({.max_connections = 3, .max_connections_per_address = 2});
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

  Fixture small({.max_connections = 1});
  RawSocket only = small.Connect();
  only.Send(Get("/small"));
  only.ReadAnswer();
  CHECK_THAT(small.Ask(Get("/small")), Catch::Contains("as many connections"));
}

TEST_CASE("what all connections hold is bounded", "[http][server]") {
  Fixture fixture({.max_buffered_bytes = 500'000});
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
  Fixture fixture({}, &loops);
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

TEST_CASE("a port is not shared, and free again at once", "[http][server]") {
  auto first = std::make_unique<Fixture>();
  const uint16_t port = first->server->port();
  RawSocket socket = first->Connect();
  socket.Send(
      Get("/small", "Connection: close\r\n"));  // the server closes: TIME_WAIT stays with it
  socket.ReadToEnd();
  Server second({.port = port}, {});
  const auto started = second.Start();
  REQUIRE_FALSE(started);
  CHECK(started.error() ==
        "cannot listen on 127.0.0.1:" + std::to_string(port) + ": address already in use");
  first.reset();
  Server third({.port = port}, {});
  CHECK(third.Start());
  CHECK(third.port() == port);
  Server nowhere({.host = "no-such-host.invalid"}, {});
  CHECK_FALSE(nowhere.Start());
}

TEST_CASE("draining answers what is in flight and ends the rest", "[http][server]") {
  Fixture fixture;
  RawSocket idle = fixture.Connect();
  idle.Send(Get("/small"));
  idle.ReadAnswer();
  RawSocket partial = fixture.Connect();
  partial.Send("GET /small HTTP/1.1\r\nHo");
  RawSocket busy = fixture.Connect();
  busy.Send(Get("/wait"));
  REQUIRE(fixture.gate.WaitForWaiting(1));
  RawSocket uploading = fixture.Connect();
  uploading.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  uploading.ReadAnswer();

  auto drained = std::async(std::launch::async, [&] { return fixture.server->Drain(9'000); });
  CHECK(idle.ReadToEnd().empty());
  const std::string refused = partial.ReadToEnd();
  CHECK(Status(refused) == 503);
  CHECK(Says(refused, "Connection: close"));
  CHECK_FALSE(fixture.Connect().open());
  uploading.Send("hello");
  std::string answer = uploading.ReadToEnd();
  CHECK(Body(answer) == "hello");
  CHECK(Says(answer, "Connection: close"));
  // Behind the one in flight: no more than a refusal.
  busy.Send(Get("/small"));
  fixture.gate.Open();
  answer = busy.ReadToEnd();
  CHECK(Body(answer).starts_with("\"waited\""));
  CHECK(Says(answer, "Connection: close"));
  partial.Close();
  CHECK(drained.get());
  CHECK(fixture.server->stats().connections_open == 0);
}

TEST_CASE("draining cuts what does not end in time", "[http][server]") {
  Fixture fixture;
  RawSocket busy = fixture.Connect();
  busy.Send(Get("/wait"));
  REQUIRE(fixture.gate.WaitForWaiting(1));
  const auto start = Clock::now();
  CHECK_FALSE(fixture.server->Drain(50));
  CHECK(MsSince(start) < 1'000);
  CHECK(busy.ReadToEnd().empty());
}

TEST_CASE("draining under load loses no answer", "[http][server]") {
  for (int round = 0; round < (kSanitized ? 3 : 10); ++round) {
    std::atomic<int> handled{0};
    Server server({}, {Route{.method = "GET", .pattern = "/", .handler = [&](Request&) {
                               ++handled;
                               return JsonResponse(200, "{}");
                             }}});
    REQUIRE(server.Start());
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        RawSocket socket = RawSocket::Connect(server.port());
        while (socket.Send(Get("/"))) {
          const std::string answer = socket.ReadAnswer();
          if (Status(answer) == 200) ++answered;
          if (answer.empty() || Says(answer, "Connection: close")) break;
        }
      });
    }
    CHECK(Eventually([&] { return handled > 100; }));
    CHECK(server.Drain(9'000));
    for (std::thread& thread : threads) thread.join();
    CHECK(answered == handled);
  }
}

TEST_CASE("a burst of connects is served", "[http][server]") {
  Fixture fixture;
  constexpr int kConnects = 1'000;
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<RawSocket> sockets;
  std::vector<std::string> answers(kConnects);
  std::vector<bool> asked(kConnects);
  const auto start = Clock::now();
  for (int i = 0; i < kConnects; ++i) {
    sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const sockaddr_in to = testing::Loopback(fixture.server->port());
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
  Fixture fixture({.head_timeout_ms = 60'000, .body_timeout_ms = 60'000});
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
  Fixture fixture;
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
  Fixture fixture;
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
  const sockaddr_in to = testing::Loopback(fixture.server->port());
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
  Fixture fixture;
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

}  // namespace chatchain::http
