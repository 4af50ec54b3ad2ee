// SPDX-License-Identifier: MIT
#include "client/http/access_log.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/protocol/json.h"

namespace chatchain {
namespace {

http::Request SomeRequest() {
  http::Request request;
  request.method = "GET";
  request.target = "/messages?sender=\"\r\n{\x01";
  request.remote_address = "127.0.0.1";
  request.body = "12345";
  return request;
}

http::Response SomeResponse() {
  http::Response response = http::JsonResponse(200, "{}");
  response.headers.Add("ChatChain-Node", "2");
  response.headers.Add("ChatChain-Attempts", "1");
  return response;
}

std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a line of the access log is one line of JSON, whatever was asked", "[access_log]") {
  const std::string line = AccessLine(SomeRequest(), SomeResponse(), 1'763'712'000'123, 4'567);
  CHECK(line.find('\n') == line.size() - 1);
  const Json json = Json::parse(line);
  CHECK(json == Json({{"time", "2025-11-21T08:00:00.123Z"},
                      {"client", "127.0.0.1"},
                      {"method", "GET"},
                      {"target", "/messages?sender=\"\r\n{\x01"},
                      {"status", 200},
                      {"request_bytes", 5},
                      {"response_bytes", 2},
                      {"duration_ms", 4.567},
                      {"node", "2"},
                      {"attempts", "1"}}));
}

TEST_CASE("the access log can be moved away and opened anew", "[access_log]") {
  const auto dir = std::filesystem::temp_directory_path() /
                   ("chatchain-access-log-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  const std::string path = dir / "access.log";
  AccessLog log;
  CHECK_FALSE(log.enabled());
  log.Write(SomeRequest(), SomeResponse(), 0, 0);  // nowhere
  REQUIRE(log.Open(path));
  CHECK(log.enabled());
  log.Write(SomeRequest(), SomeResponse(), 0, 1);
  std::filesystem::rename(path, dir / "access.log.1");
  REQUIRE(log.Open(path));
  log.Write(SomeRequest(), SomeResponse(), 0, 2);
  log.Write(SomeRequest(), SomeResponse(), 0, 3);
  const auto lines = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
  };
  CHECK(lines(Contents(dir / "access.log.1")) == 1);
  CHECK(lines(Contents(path)) == 2);
  // What cannot be opened changes nothing.
  const auto refused = log.Open(dir / "missing" / "access.log");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().find("missing/access.log") != std::string::npos);
  log.Write(SomeRequest(), SomeResponse(), 0, 4);
  CHECK(lines(Contents(path)) == 3);
  REQUIRE(log.Open(""));
  CHECK_FALSE(log.enabled());
  std::filesystem::remove_all(dir);
}

}  // namespace chatchain
