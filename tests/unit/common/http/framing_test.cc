// SPDX-License-Identifier: MIT
#include "common/http/framing.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/support/refused_requests.h"

namespace chatchain::http {

namespace {

using testing::Chunked;
using testing::GetWith;

// Everything a framer says about a stream of bytes, as text to compare.
struct Outcome {
  std::string said;  // "GET /a [body]|POST ..." and how it ended
  int status = 0;    // of the error, if it ended in one
  std::string detail;
};

class Reader {
 public:
  explicit Reader(FramingLimits limits = {}) : framer_(limits) {}

  void Give(std::string_view bytes) {
    while (outcome_.status == 0) {
      switch (framer_.Consume(&bytes)) {
        case RequestFramer::Event::kNeedMore:
          if (!bytes.empty()) outcome_.said += "LEFT OVER";
          return;
        case RequestFramer::Event::kHead: {
          const RequestHead& head = framer_.head();
          outcome_.said += std::string(head.method) + " " + std::string(head.path);
          if (!head.query.empty()) outcome_.said += "?" + std::string(head.query);
          for (const FieldView& field : head.fields) {
            outcome_.said += " {" + std::string(field.name) + "=" + std::string(field.value) + "}";
          }
          if (!head.keep_alive) outcome_.said += " close";
          if (head.expect_continue) outcome_.said += " expect";
          if (!framer_.AcceptBody(testing::kRefusedBodyBytes)) Fail();
          break;
        }
        case RequestFramer::Event::kRequest:
          outcome_.said += " [" + framer_.TakeBody() + "]|";
          framer_.Reset();
          break;
        case RequestFramer::Event::kError: Fail(); break;
      }
    }
  }
  const Outcome& outcome() const { return outcome_; }

 private:
  void Fail() {
    outcome_.status = framer_.error().status;
    outcome_.detail = framer_.error().detail;
  }
  RequestFramer framer_;
  Outcome outcome_;
};

Outcome Read(std::string_view bytes, FramingLimits limits = {}) {
  Reader reader(limits);
  reader.Give(bytes);
  return reader.outcome();
}

}  // namespace

TEST_CASE("requests that are refused, and why", "[http][framing]") {
  for (const testing::RefusedRequest& each : testing::RefusedRequests()) {
    CAPTURE(each.bytes.substr(0, 200));
    const Outcome whole = Read(each.bytes);
    CHECK(whole.status == each.status);
    CHECK_THAT(whole.detail, Catch::Contains(each.detail));
    // The same, byte by byte; and nothing is read on after an error.
    Reader reader;
    for (char c : each.bytes) reader.Give({&c, 1});
    reader.Give("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(reader.outcome().status == each.status);
    CHECK(reader.outcome().said.find("smuggled") == std::string::npos);
  }
}

TEST_CASE("requests that are accepted", "[http][framing]") {
  struct Case {
    std::string bytes;
    const char* said;
  };
  const std::vector<Case> cases = {
      {"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b=c {Host=a} []|"},
      {"\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET / {Host=a} []|"},
      {"GET // HTTP/1.1\r\nHost: \r\n\r\n", "GET // {Host=} []|"},
      {"GET /? HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / {Host=[::1]:80} []|"},
      {"GET / HTTP/1.0\r\n\r\n", "GET / close []|"},
      {"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n",
       "GET / {Connection=x, Keep-Alive} []|"},
      {GetWith("Connection: close\r\n"), "GET / {Host=a} {Connection=close} close []|"},
      {GetWith("Connection: keep-alive\r\nConnection: x, CLOSE\r\n"),
       "GET / {Host=a} {Connection=keep-alive} {Connection=x, CLOSE} close []|"},
      {GetWith("Connection: closed\r\n"), "GET / {Host=a} {Connection=closed} []|"},
      {GetWith("Empty:\r\nBlank: \t \r\nA:\t b \t c \t\r\nU: \xc3\xa4\r\n"),
       "GET / {Host=a} {Empty=} {Blank=} {A=b \t c} {U=\xc3\xa4} []|"},
      {"GET http://A:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y {Host=a} []|"},
      {"GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / {Host=a} []|"},
      {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q {Host=a} []|"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * {Host=a} []|"},
      {"M-SEARCH /{x}|\"<> HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH /{x}|\"<> {Host=a} []|"},
      {GetWith("Content-Length: 0\r\n") + GetWith(""),
       "GET / {Host=a} {Content-Length=0} []|GET / {Host=a} []|"},
      {GetWith("Content-Length: 005\r\n") + "hello" + GetWith(""),
       "GET / {Host=a} {Content-Length=005} [hello]|GET / {Host=a} []|"},
      {GetWith("Expect: 100-Continue\r\nContent-Length: 1\r\n") + "x",
       "GET / {Host=a} {Expect=100-Continue} {Content-Length=1} expect [x]|"},
      {"GET / HTTP/1.0\r\nExpect: x\r\n\r\n", "GET / {Expect=x} close []|"},
      {GetWith("Transfer-Encoding: Chunked\r\n") +
           "5;a;b=c;d=\"e;\\\"f\"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\nT: 1\r\n\r\n" +
           GetWith(""),
       "GET / {Host=a} {Transfer-Encoding=Chunked} [hello0123456789]|GET / {Host=a} []|"},
      {Chunked("1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n"),
       "POST / {Host=a} {Transfer-Encoding=chunked} [\r\n]|"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.bytes);
    const Outcome whole = Read(each.bytes);
    CHECK(whole.status == 0);
    CHECK(whole.said == each.said);
    for (size_t cut = 0; cut <= each.bytes.size(); ++cut) {
      Reader reader;
      reader.Give(std::string_view(each.bytes).substr(0, cut));
      reader.Give(std::string_view(each.bytes).substr(cut));
      REQUIRE(reader.outcome().said == each.said);
    }
    Reader reader;
    for (char c : each.bytes) reader.Give({&c, 1});
    CHECK(reader.outcome().said == each.said);
  }
}

TEST_CASE("limits of the head", "[http][framing]") {
  const FramingLimits limits{.max_head_bytes = 300, .max_target_bytes = 100, .max_fields = 5};
  const auto target = [](size_t n) {
    return "GET /" + std::string(n - 1, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  CHECK(Read(target(100), limits).status == 0);
  CHECK(Read(target(101), limits).status == 414);
  CHECK(Read(target(5'000), limits).status == 414);
  CHECK(Read("GET /" + std::string(5'000, 'x'), limits).status == 414);  // no end in sight
  CHECK(Read(std::string(5'000, 'x'), limits).status == 414);
  const auto fields = [](size_t n) {
    return "GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(n - 32, 'x') + "\r\n\r\n";
  };
  REQUIRE(fields(300).size() == 300);
  CHECK(Read(fields(300), limits).status == 0);
  CHECK(Read(fields(301), limits).status == 431);
  CHECK(Read(fields(5'000).substr(0, 400), limits).status == 431);
  // What is too long before it is wrong is too long, at once or byte by byte.
  CHECK(Read("GET /" + std::string(160, 'x') + "\r ", limits).status == 414);
  CHECK(Read("GET /" + std::string(100, 'x') + "\r ", limits).status == 400);
  CHECK(Read(fields(5'000).substr(0, 400) + '\0', limits).status == 431);
  CHECK(Read(fields(5'000).substr(0, 300) + '\0', limits).status == 400);
  CHECK(Read("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", limits).status == 0);
  CHECK(Read("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", limits).status ==
        431);
}

TEST_CASE("the verdict about noise does not depend on how it is cut", "[http][framing]") {
  std::mt19937 random(42);  // NOLINT: the same noise each time
  const std::string seed = Chunked("5;a=b\r\nhello\r\n0\r\nT: 1\r\n\r\n") +
                           GetWith("Content-Length: 3\r\n") + "abc" +
                           GetWith("Connection: close\r\n");
  const std::string_view alphabet("\r\n\0 \t:;=,GHa05x\"\x80\x7f", 19);
  int refused = 0;
  for (int round = 0; round < 3'000; ++round) {
    std::string bytes = seed;
    for (uint32_t edits = random() % 4; edits > 0; --edits) {
      const size_t at = random() % bytes.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0: bytes[at] = c; break;
        case 1: bytes.insert(at, 1, c); break;
        default: bytes.erase(at, 1); break;
      }
    }
    const Outcome whole = Read(bytes);
    if (whole.status != 0) ++refused;
    Reader reader;
    for (std::string_view rest = bytes; !rest.empty();) {
      const size_t n = 1 + random() % std::min<size_t>(rest.size(), 20);
      reader.Give(rest.substr(0, n));
      rest.remove_prefix(n);
    }
    CAPTURE(bytes);
    REQUIRE(reader.outcome().said == whole.said);
    REQUIRE(reader.outcome().status == whole.status);
    REQUIRE(reader.outcome().detail == whole.detail);
  }
  CHECK(refused > 500);
  CHECK(refused < 2'500);
}

TEST_CASE("answers are framed the same however they are cut", "[http][framing]") {
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 200 "
      "OK\r\nConnection: "
      "keep-alive\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
  };
  for (const std::string& answer : answers) {
    for (size_t cut = 0; cut < answer.size(); ++cut) {
      ResponseFramer framer(false, 100);
      std::string_view first = std::string_view(answer).substr(0, cut);
      std::string_view second = std::string_view(answer).substr(cut);
      REQUIRE(framer.Consume(&first) == ResponseFramer::Event::kNeedMore);
      REQUIRE(framer.Consume(&second) == ResponseFramer::Event::kDone);
      CHECK(framer.head().status == 200);
      CHECK(framer.head().keep_alive);
      CHECK(framer.body() == "hello");
    }
  }
}

}  // namespace chatchain::http
