// SPDX-License-Identifier: MIT
// What the server makes of requests, over sockets.
#include "common/http/server.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/refused_requests.h"
#include "tests/support/running_server.h"

namespace chatchain::http::testing {

TEST_CASE("requests on one connection are answered in order", "[http][server]") {
  RunningServer fixture;
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
  RunningServer fixture;
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
  RunningServer fixture;
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
  RunningServer fixture;
  RawSocket socket = fixture.Connect();
  for (char c : Post("/echo", "hello")) socket.Send({&c, 1});
  CHECK(Body(socket.ReadAnswer()) == "hello");
}

TEST_CASE("bodies of every size and coding arrive whole", "[http][server]") {
  RunningServer fixture;
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

TEST_CASE("a body over the limit is refused by the head alone", "[http][server]") {
  RunningServer fixture;
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
  RunningServer fixture;
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
  RunningServer fixture;
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
  RunningServer fixture;
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

TEST_CASE("each kind of bad framing is refused once, and nothing behind it is read",
          "[http][server]") {
  std::atomic<int> read_behind{0};
  const auto route = [&](const char* method, const char* pattern, std::atomic<int>* count) {
    return Route{.method = method,
                 .pattern = pattern,
                 .handler =
                     [count](Request&) {
                       if (count != nullptr) ++*count;
                       return JsonResponse(200, "{}");
                     },
                 .max_body_bytes = kRefusedBodyBytes};
  };
  Server server({}, {route("GET", "/", nullptr), route("POST", "/", nullptr),
                     route("GET", "/smuggled", &read_behind)});
  REQUIRE(server.Start());
  for (const RefusedRequest& each : RefusedRequests()) {
    CAPTURE(each.bytes.substr(0, 200));
    RawSocket socket = RawSocket::Connect(server.port());
    socket.Send(each.bytes + Get("/smuggled"));
    socket.FinishSending();
    RawSocket::Read how = RawSocket::Read::kNothing;
    const std::string answer = socket.ReadToEnd(&how);
    CHECK(Status(answer) == each.status);
    CHECK_THAT(answer, Catch::Contains(each.detail));
    CHECK(answer.find("}HTTP/1.1 ") == std::string::npos);  // a second one
    CHECK(how == RawSocket::Read::kEnd);
  }
  CHECK(read_behind == 0);
}

TEST_CASE("each form of a request is one request, and what follows it is the next one",
          "[http][server]") {
  RunningServer fixture;
  struct Case {
    std::string bytes;
    int status;
    const char* body;  // nullptr: whatever it says
  };
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ";
  const std::vector<Case> cases = {
      {"\r\nGET /small HTTP/1.1\r\nHost:a\r\n\r\n", 200, R"({"target":"/small"})"},
      {"GET /small?b=%20c HTTP/1.1\r\nHost: \r\n\r\n", 200, R"({"target":"/small?b=%20c"})"},
      {"GET /small? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, nullptr},
      {"GET http://A:80/small?y HTTP/1.1\r\nHost: a\r\n\r\n", 200, R"({"target":"/small?y"})"},
      {"GET HTTP://a/small HTTP/1.1\r\nHost: a\r\n\r\n", 200, R"({"target":"/small"})"},
      {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", 404, nullptr},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204, ""},
      {"GET // HTTP/1.1\r\nHost: a\r\n\r\n", 404, nullptr},
      {"GET /small/../small HTTP/1.1\r\nHost: a\r\n\r\n", 404, nullptr},
      {"M-SEARCH /small HTTP/1.1\r\nHost: a\r\n\r\n", 405, nullptr},
      {Get("/small", "Connection: closed\r\n"), 200, R"({"target":"/small"})"},
      {Get("/small", "Empty:\r\nBlank: \t \r\nA:\t b \t c \t\r\nU: \xc3\xa4\r\n"), 200,
       R"({"target":"/small"})"},
      {Get("/small", "Content-Length: 0\r\n"), 200, R"({"target":"/small"})"},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", 200, "hello"},
      {chunked +
           "Chunked\r\n\r\n5;a;b=c;d=\"e;\\\"f\"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\n\r\n",
       200, "hello0123456789"},
      {chunked + "chunked\r\n\r\n1\r\n\r\r\n1\r\n\n\r\n0\r\nT: 1\r\n\r\n", 200, "\r\n"},
  };
  for (const Case& each : cases) {
    for (const bool at_once : {true, false}) {
      CAPTURE(each.bytes, at_once);
      RawSocket socket = fixture.Connect();
      const std::string bytes = each.bytes + Get("/small?next");
      if (at_once) socket.Send(bytes);
      for (size_t i = 0; i < bytes.size() && !at_once; ++i) socket.Send({&bytes[i], 1});
      socket.FinishSending();
      const std::string answer = socket.ReadAnswer();
      CHECK(Status(answer) == each.status);
      if (each.body != nullptr) CHECK(Body(answer) == each.body);
      CHECK(Body(socket.ReadAnswer()) == R"({"target":"/small?next"})");
      CHECK(socket.ReadToEnd().empty());
    }
  }
}

TEST_CASE("methods, HEAD and HTTP/1.0", "[http][server]") {
  RunningServer fixture;
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
  RunningServer fixture;
  RawSocket socket = fixture.Connect();
  socket.Send(Get("/throw") + Get("/small"));
  const std::string answer = socket.ReadAnswer();
  CHECK(Status(answer) == 500);
  CHECK(Says(answer, "Content-Type: application/problem+json"));
  CHECK_THAT(answer, !Catch::Contains("a bug"));
  CHECK(Status(socket.ReadAnswer()) == 200);
}

TEST_CASE("CORS and gzip on the wire", "[http][server]") {
  RunningServer fixture({.gzip_min_bytes = 1'000, .cors_origins = {"https://a.example"}});
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
  RunningServer fixture;
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
  RunningServer fixture;
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

}  // namespace chatchain::http::testing
