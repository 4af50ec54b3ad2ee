// SPDX-License-Identifier: MIT
#include "common/util/host_port.h"

#include <catch2/catch.hpp>

namespace chatchain {

TEST_CASE("an address is read, made canonical and written back", "[util]") {
  const auto canonical = [](std::string_view text) { return ParseHostPort(text)->ToString(); };
  CHECK(canonical("127.0.0.1:8081") == "127.0.0.1:8081");
  CHECK(canonical("Chat.Example:0") == "chat.example:0");
  CHECK(canonical("[::1]:65535") == "[::1]:65535");
  CHECK(canonical("[2001:DB8:0:0:0:0:0:1]:1") == "[2001:db8::1]:1");
  CHECK(ParseHostPort("[::1]:1")->host == "::1");
}

TEST_CASE("what is no address says why", "[util]") {
  const auto reason = [](std::string_view text) { return ParseHostPort(text).error(); };
  CHECK(reason("") == "has no port");
  CHECK(reason("localhost") == "has no port");
  CHECK(reason("localhost:") == "has no port");
  CHECK(reason("[::1]") == "has no port");
  CHECK(reason("[::1") == "has no closing ]");
  CHECK(reason("h:65536") == "has a port that is not 0..65535");
  CHECK(reason("h:-1") == "has a port that is not 0..65535");
  CHECK(reason("h:80x") == "has a port that is not 0..65535");
  CHECK(reason("::1:80") == "needs brackets round its IPv6 address: [::1]:8081");
  CHECK(reason("[localhost]:80") == "has no IPv6 address between its brackets");
  CHECK(reason(":80").starts_with("has no host"));
  CHECK(reason("300.0.0.1:80") == "has a host that is no IPv4 address");
  CHECK(reason("http://h:80").starts_with("needs brackets"));
  CHECK(reason("a b:80") == "has a host with a character that no host name has");
  CHECK(reason(std::string(254, 'a') + ":80") == "has a host of more than 253 bytes");
}

TEST_CASE("only loopback addresses are loopback", "[util]") {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"}) {
    CHECK(IsLoopback(*ParseHostPort(text)));
  }
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.example:1"}) {
    CHECK_FALSE(IsLoopback(*ParseHostPort(text)));
  }
}

}  // namespace chatchain
