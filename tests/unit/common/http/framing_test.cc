// SPDX-License-Identifier: MIT
#include "common/http/framing.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace chatchain::http {

namespace {

constexpr size_t kMaxBody = 100;

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
          if (!framer_.AcceptBody(kMaxBody)) Fail();
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

std::string Get(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

std::string Chunked(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

}  // namespace

TEST_CASE("requests that are refused, and why", "[http][framing]") {
  struct Case {
    std::string bytes;
    int status;
    const char* detail;
  };
  const std::string nul("\0", 1);
  const std::vector<Case> cases = {
      // request line
      {"GET /\r\n", 400, "0.9"},
      {"GET\r\n", 400, "not a request"},
      {"GET / HTTP/1.1 \r\n", 400, "version"},
      {"GET  / HTTP/1.1\r\n", 400, "target"},
      {"GET /  HTTP/1.1\r\n", 400, "target"},
      {"GET / x HTTP/1.1\r\n", 400, "target"},
      {" GET / HTTP/1.1\r\n", 400, "method"},
      {"\tGET / HTTP/1.1\r\n", 400, "method"},
      {"GET\t/ HTTP/1.1\r\n", 400, "method"},
      {"GET /\tHTTP/1.1\r\n", 400, "0.9"},
      {"G(T / HTTP/1.1\r\n", 400, "method"},
      {"GET / HTTP/1.1\n", 400, "LF"},
      {"GET / HTTP/1.1\rX", 400, "CR"},
      {"GET / HTTP/1.1\r\r\n", 400, "CR"},
      {"\n", 400, "method"},
      {"\r\n\r\nGET / HTTP/1.1\r\n", 400, "empty lines"},
      {"\rGET", 400, "CR"},
      {"GET /" + nul + " HTTP/1.1\r\n", 400, "control"},
      {nul, 400, "method"},
      {"\x16\x03\x01", 400, "method"},  // TLS
      {"GET / HTTP/1.2\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/2.0\r\n", 505, "HTTP/1.1"},
      {"PRI * HTTP/2.0\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/0.9\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/11\r\n", 400, "version"},
      {"GET / HTTP/1.\r\n", 400, "version"},
      {"GET / HTTP/1.11\r\n", 400, "version"},
      {"GET / HTTP/01.1\r\n", 400, "version"},
      {"GET / http/1.1\r\n", 400, "version"},
      {"GET / HTTPS/1.1\r\n", 400, "version"},
      {"GET / HTTP/1.x\r\n", 400, "version"},
      {"GET / ICE/1.1\r\n", 400, "version"},
      {"GET / HTTP/1.1 GET /smuggled HTTP/1.1\r\n", 400, "target"},
      {"GET / HTTP/3.0\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/-1.1\r\n", 400, "version"},
      {"GET / HTTP/1,1\r\n", 400, "version"},
      {"GET /\vHTTP/1.1\r\n", 400, "control"},
      {"GET\v/ HTTP/1.1\r\n", 400, "control"},
      {"HTTP/1.1 200 OK\r\n", 400, "method"},  // an answer
      {"\xef\xbb\xbfGET / HTTP/1.1\r\n", 400, "method"},
      // target
      {"GET foo HTTP/1.1\r\n", 400, "neither"},
      {"GET * HTTP/1.1\r\n", 400, "OPTIONS"},
      {"CONNECT a:443 HTTP/1.1\r\n", 400, "neither"},
      {"GET https://a/ HTTP/1.1\r\n", 400, "neither"},
      {"GET http:// HTTP/1.1\r\n", 400, "neither"},
      {"GET http:/// HTTP/1.1\r\n", 400, "authority"},
      {"GET http://u@a/ HTTP/1.1\r\n", 400, "authority"},
      {"GET /a#b HTTP/1.1\r\n", 400, "percent-encoded"},
      {"GET /\xc3\xa4 HTTP/1.1\r\n", 400, "percent-encoded"},
      {"GET /\x7f HTTP/1.1\r\n", 400, "control"},
      {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "differ"},
      // Host
      {"GET / HTTP/1.1\r\n\r\n", 400, "Host is missing"},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host is given twice"},
      {"GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400, "Host is given twice"},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "Host is given twice"},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "not a host"},
      {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, "not a host"},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "not a host"},
      {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "not a host"},
      // fields
      {"GET / HTTP/1.1\r\n Host: a\r\n", 400, "obs-fold"},
      {Get("A: b\r\n c\r\n"), 400, "obs-fold"},
      {Get("A: b\r\n\tc\r\n"), 400, "obs-fold"},
      {Get("A : b\r\n"), 400, "colon"},
      {Get("A\t: b\r\n"), 400, "colon"},
      {Get("A b: c\r\n"), 400, "field name"},
      {Get(": b\r\n"), 400, "field name"},
      {Get("novalue\r\n"), 400, "colon"},
      {Get("A(: b\r\n"), 400, "field name"},
      {Get("A@: b\r\n"), 400, "field name"},
      {Get("\"A\": b\r\n"), 400, "field name"},
      {Get("A" + nul + "B: c\r\n"), 400, "control"},
      {Get("A\x7f: c\r\n"), 400, "control"},
      {Get("Content-Length\x0b: 1\r\n"), 400, "control"},
      {Get("\vContent-Length: 1\r\n"), 400, "control"},
      {Get("Transfer-Encoding\t: chunked\r\n"), 400, "colon"},
      {Get("A: b\x0b\r\n"), 400, "control"},
      {Get("A: b\x0c\r\n"), 400, "control"},
      {Get("A: b\r\r\nContent-Length: 5\r\n"), 400, "CR"},
      {Get("\xc3\xa4: b\r\n"), 400, "field name"},
      {Get("A: b\n"), 400, "LF"},
      {Get("A: b\rC: d\r\n"), 400, "CR"},
      {Get("A: b\r\r\n"), 400, "CR"},
      {Get("A: b" + nul + "\r\n"), 400, "control"},
      {Get("A: b\x01\r\n"), 400, "control"},
      {Get("A: b\x7f\r\n"), 400, "control"},
      {"GET / HTTP/1.1\r\nHost: a\n\n", 400, "LF"},
      {"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400, "CR"},
      {Get("Expect: a-miracle\r\n"), 417, "Expect"},
      {Get("Expect: 100-continue, x\r\n"), 417, "Expect"},
      // lengths
      {Get("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "twice"},
      {Get("Content-Length: 1\r\nContent-Length: 2\r\n"), 400, "twice"},
      {Get("Content-Length: 1, 1\r\n"), 400, "plain number"},
      {Get("Content-Length: 1,2\r\n"), 400, "plain number"},
      {Get("Content-Length: +1\r\n"), 400, "plain number"},
      {Get("Content-Length: -1\r\n"), 400, "plain number"},
      {Get("Content-Length: 0x1\r\n"), 400, "plain number"},
      {Get("Content-Length: 1 1\r\n"), 400, "plain number"},
      {Get("Content-Length: \r\n"), 400, "plain number"},
      {Get("Content-Length: 1.0\r\n"), 400, "plain number"},
      {Get("Content-Length: 1;\r\n"), 400, "plain number"},
      {Get("Content-Length: \"1\"\r\n"), 400, "plain number"},
      {Get("Content-Length: 1_0\r\n"), 400, "plain number"},
      {Get("Content-Length: 1e1\r\n"), 400, "plain number"},
      {Get("Content-Length: \xd9\xa1\r\n"), 400, "plain number"},  // another alphabet's 1
      {Get("Content-Length: 18446744073709551617\r\n"), 400, "plain number"},
      {Get("Content-Length: 101\r\n"), 413, "100 bytes"},
      {Get("Content-Length: 999999999999999999\r\n"), 413, "100 bytes"},
      {Get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "both"},
      {Get("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400, "both"},
      {Get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "twice"},
      {Get("Transfer-Encoding: chunked, chunked\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: gzip, chunked\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: identity\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: xchunked\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: \r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: chunked;q=1\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: \"chunked\"\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: chunked, identity\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: ,chunked\r\n"), 400, "exactly chunked"},
      {Get("Transfer-Encoding: chunked\x0b\r\n"), 400, "control"},
      {Get("Transfer-Encoding: chun ked\r\n"), 400, "exactly chunked"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0"},
      // chunks
      {Chunked("\r\n"), 400, "hexadecimal"},
      {Chunked("g\r\n"), 400, "hexadecimal"},
      {Chunked("-1\r\n"), 400, "hexadecimal"},
      {Chunked("+1\r\n"), 400, "hexadecimal"},
      {Chunked(" 1\r\n"), 400, "hexadecimal"},
      {Chunked("0x1\r\n"), 400, "extension"},
      {Chunked("1 \r\n"), 400, "extension"},
      {Chunked("1\t;a\r\n"), 400, "extension"},
      {Chunked("1;\r\n"), 400, "extension"},
      {Chunked("1;a=\r\n"), 400, "extension"},
      {Chunked("1;a=\"b\r\n"), 400, "extension"},
      {Chunked("1;a=\"b\\\r\n"), 400, "extension"},
      {Chunked("1;a b\r\n"), 400, "extension"},
      {Chunked("1;a\n"), 400, "LF"},
      {Chunked("1;a;\r\n"), 400, "extension"},
      {Chunked("1;=b\r\n"), 400, "extension"},
      {Chunked("1;a=\"b\"c\r\n"), 400, "extension"},
      {Chunked("1;a" + nul + "\r\n"), 400, "control"},
      {Chunked("1;a=\"b\x01\"\r\n"), 400, "control"},
      {Chunked("1,1\r\n"), 400, "extension"},
      {Chunked("1_0\r\n"), 400, "extension"},
      {Chunked("1" + nul + "\r\n"), 400, "control"},
      {Chunked("\n1\r\n"), 400, "LF"},
      {Chunked("0\r\n\rX"), 400, "CR"},
      {Chunked("0\r\n\n"), 400, "LF"},
      {Chunked("0\n\r\n"), 400, "LF"},
      {Chunked("0\r\nContent-Length : 5\r\n"), 400, "colon"},
      {Chunked("1;a\rb\r\n"), 400, "CR"},
      {Chunked("1;" + std::string(300, 'a') + "\r\n"), 400, "too long"},
      {Chunked("1\n"), 400, "LF"},
      {Chunked("1\rx"), 400, "CR"},
      {Chunked("0000000000000001\r\n"), 400, "digits"},
      {Chunked("ffffffffffffffff\r\n"), 400, "digits"},
      {Chunked("fffffffffffffff\r\n"), 413, "100 bytes"},
      {Chunked("65\r\n"), 413, "100 bytes"},
      {Chunked("32\r\n" + std::string(50, 'x') + "\r\n33\r\n"), 413, "100 bytes"},
      {Chunked("1\r\nab\r\n"), 400, "CRLF"},
      {Chunked("1\r\na\n"), 400, "CRLF"},
      {Chunked("1\r\na\rx"), 400, "CRLF"},
      {Chunked("2\r\na\r\n0\r\n\r\n"), 400, "CRLF"},
      {Chunked("0\r\nA : b\r\n"), 400, "colon"},
      {Chunked("0\r\nA: b\r\n c\r\n"), 400, "obs-fold"},
      {Chunked("0\r\nx\r\n"), 400, "colon"},
      {Chunked("0\r\nA: b\n"), 400, "LF"},
      {Chunked("0\r\nA: b" + nul + "\r\n"), 400, "control"},
      {Chunked("0\r\nA: " + std::string(9'000, 'x') + "\r\n"), 400, "too long"},
  };
  for (const Case& each : cases) {
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
      {Get("Connection: close\r\n"), "GET / {Host=a} {Connection=close} close []|"},
      {Get("Connection: keep-alive\r\nConnection: x, CLOSE\r\n"),
       "GET / {Host=a} {Connection=keep-alive} {Connection=x, CLOSE} close []|"},
      {Get("Connection: closed\r\n"), "GET / {Host=a} {Connection=closed} []|"},
      {Get("Empty:\r\nBlank: \t \r\nA:\t b \t c \t\r\nU: \xc3\xa4\r\n"),
       "GET / {Host=a} {Empty=} {Blank=} {A=b \t c} {U=\xc3\xa4} []|"},
      {"GET http://A:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y {Host=a} []|"},
      {"GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / {Host=a} []|"},
      {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q {Host=a} []|"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * {Host=a} []|"},
      {"M-SEARCH /{x}|\"<> HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH /{x}|\"<> {Host=a} []|"},
      {Get("Content-Length: 0\r\n") + Get(""),
       "GET / {Host=a} {Content-Length=0} []|GET / {Host=a} []|"},
      {Get("Content-Length: 005\r\n") + "hello" + Get(""),
       "GET / {Host=a} {Content-Length=005} [hello]|GET / {Host=a} []|"},
      {Get("Expect: 100-Continue\r\nContent-Length: 1\r\n") + "x",
       "GET / {Host=a} {Expect=100-Continue} {Content-Length=1} expect [x]|"},
      {"GET / HTTP/1.0\r\nExpect: x\r\n\r\n", "GET / {Expect=x} close []|"},
      {Get("Transfer-Encoding: Chunked\r\n") +
           "5;a;b=c;d=\"e;\\\"f\"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\nT: 1\r\n\r\n" + Get(""),
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
  CHECK(Read("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", limits).status == 0);
  CHECK(Read("GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n", limits).status ==
        431);
}

TEST_CASE("the verdict about noise does not depend on how it is cut", "[http][framing]") {
  std::mt19937 random(42);  // NOLINT: the same noise each time
  const std::string seed = Chunked("5;a=b\r\nhello\r\n0\r\nT: 1\r\n\r\n") +
                           Get("Content-Length: 3\r\n") + "abc" + Get("Connection: close\r\n");
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
