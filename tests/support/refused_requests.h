// SPDX-License-Identifier: MIT
// Bytes that are no request, or one that two readers may take for different ones: each must be
// refused, and nothing behind it be read.
#pragma once

#include <string>
#include <vector>

namespace chatchain::http::testing {

constexpr size_t kRefusedBodyBytes = 100;  // what the tables below take for the limit of a body

struct RefusedRequest {
  std::string bytes;
  int status;
  const char* detail;  // a part of what is said
};

inline std::string GetWith(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

inline std::string Chunked(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

inline std::vector<RefusedRequest> RefusedRequests() {
  const std::string nul("\0", 1);
  return {
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
      {GetWith("A: b\r\n c\r\n"), 400, "obs-fold"},
      {GetWith("A: b\r\n\tc\r\n"), 400, "obs-fold"},
      {GetWith("A : b\r\n"), 400, "colon"},
      {GetWith("A\t: b\r\n"), 400, "colon"},
      {GetWith("A b: c\r\n"), 400, "field name"},
      {GetWith(": b\r\n"), 400, "field name"},
      {GetWith("novalue\r\n"), 400, "colon"},
      {GetWith("A(: b\r\n"), 400, "field name"},
      {GetWith("A@: b\r\n"), 400, "field name"},
      {GetWith("\"A\": b\r\n"), 400, "field name"},
      {GetWith("A" + nul + "B: c\r\n"), 400, "control"},
      {GetWith("A\x7f: c\r\n"), 400, "control"},
      {GetWith("Content-Length\x0b: 1\r\n"), 400, "control"},
      {GetWith("\vContent-Length: 1\r\n"), 400, "control"},
      {GetWith("Transfer-Encoding\t: chunked\r\n"), 400, "colon"},
      {GetWith("A: b\x0b\r\n"), 400, "control"},
      {GetWith("A: b\x0c\r\n"), 400, "control"},
      {GetWith("A: b\r\r\nContent-Length: 5\r\n"), 400, "CR"},
      {GetWith("\xc3\xa4: b\r\n"), 400, "field name"},
      {GetWith("A: b\n"), 400, "LF"},
      {GetWith("A: b\rC: d\r\n"), 400, "CR"},
      {GetWith("A: b\r\r\n"), 400, "CR"},
      {GetWith("A: b" + nul + "\r\n"), 400, "control"},
      {GetWith("A: b\x01\r\n"), 400, "control"},
      {GetWith("A: b\x7f\r\n"), 400, "control"},
      {"GET / HTTP/1.1\r\nHost: a\n\n", 400, "LF"},
      {"GET / HTTP/1.1\r\nHost: a\r\n\rX", 400, "CR"},
      {GetWith("Expect: a-miracle\r\n"), 417, "Expect"},
      {GetWith("Expect: 100-continue, x\r\n"), 417, "Expect"},
      // lengths
      {GetWith("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "twice"},
      {GetWith("Content-Length: 1\r\nContent-Length: 2\r\n"), 400, "twice"},
      {GetWith("Content-Length: 1, 1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1,2\r\n"), 400, "plain number"},
      {GetWith("Content-Length: +1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: -1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 0x1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1 1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: \r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1.0\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1;\r\n"), 400, "plain number"},
      {GetWith("Content-Length: \"1\"\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1_0\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 1e1\r\n"), 400, "plain number"},
      {GetWith("Content-Length: \xd9\xa1\r\n"), 400, "plain number"},  // another alphabet's 1
      {GetWith("Content-Length: 18446744073709551617\r\n"), 400, "plain number"},
      {GetWith("Content-Length: 101\r\n"), 413, "100 bytes"},
      {GetWith("Content-Length: 999999999999999999\r\n"), 413, "100 bytes"},
      {GetWith("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "both"},
      {GetWith("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400, "both"},
      {GetWith("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400, "twice"},
      {GetWith("Transfer-Encoding: chunked, chunked\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: gzip, chunked\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: identity\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: xchunked\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: \r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: chunked;q=1\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: \"chunked\"\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: chunked, identity\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: ,chunked\r\n"), 400, "exactly chunked"},
      {GetWith("Transfer-Encoding: chunked\x0b\r\n"), 400, "control"},
      {GetWith("Transfer-Encoding: chun ked\r\n"), 400, "exactly chunked"},
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
}

}  // namespace chatchain::http::testing
