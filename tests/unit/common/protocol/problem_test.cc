// SPDX-License-Identifier: MIT
#include "common/protocol/problem.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace chatchain {

TEST_CASE("problems as RFC 9457 has them", "[problem]") {
  CHECK(ProblemJson(BadRequest("no")) ==
        R"({"type":"about:blank","title":"Bad Request","status":400,"detail":"no"})");
  CHECK(
      ProblemJson(Invalid("text", "must not be empty")) ==
      R"({"type":"urn:chatchain:problem:invalid","title":"Unprocessable Content","status":422,)"
      R"("detail":"text: must not be empty","errors":[{"field":"text","reason":"must not be empty"}]})");
  Problem problem = MakeProblem(422, "key-reused", "other content");
  problem.title = "Key reused";
  CHECK(ProblemJson(problem) ==
        R"({"type":"urn:chatchain:problem:key-reused","title":"Key reused","status":422,)"
        R"("detail":"other content"})");
  CHECK(Unavailable("full", 7).retry_after_s == 7);
  CHECK(ReasonPhrase(413) == "Content Too Large");
  CHECK(ReasonPhrase(299) == "Unknown");
}

TEST_CASE("a problem is JSON whatever was sent", "[problem]") {
  const std::string bytes("a\0\x80\xff\"\\\n\xed\xa0\x80", 10);
  Problem problem = Invalid(bytes, bytes);
  CHECK(nlohmann::json::accept(ProblemJson(problem)));
  CHECK(nlohmann::json::accept(ProblemJson(BadRequest(bytes))));
}

}  // namespace chatchain
