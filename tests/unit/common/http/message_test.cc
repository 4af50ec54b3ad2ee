// SPDX-License-Identifier: MIT
#include "common/http/message.h"

#include <catch2/catch.hpp>

namespace chatchain::http {

TEST_CASE("header names compare without case and repetitions are kept", "[http]") {
  Headers headers;
  headers.Add("Accept", "a");
  headers.Add("accept", "b");
  CHECK(headers.Count("ACCEPT") == 2);
  CHECK(headers.Get("aCCept") == "a");
  headers.Set("ACCEPT", "c");
  CHECK(headers.Count("accept") == 1);
  CHECK(headers.Get("accept") == "c");
  CHECK_FALSE(headers.Get("accep"));
}

TEST_CASE("a problem answer carries its type, its fields and Retry-After", "[http]") {
  Response response = ProblemResponse(Unavailable("the disk is full", 3));
  CHECK(response.status == 503);
  CHECK(response.content_type == "application/problem+json");
  CHECK(response.headers.Get("retry-after") == "3");
  CHECK(
      response.body ==
      R"({"type":"about:blank","title":"Service Unavailable","status":503,"detail":"the disk is full"})");
}

}  // namespace chatchain::http
