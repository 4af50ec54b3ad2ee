// SPDX-License-Identifier: MIT
#include "client/proxy/batch_answer.h"

#include <catch2/catch.hpp>

namespace chatchain {

TEST_CASE("a batch answer is taken apart and each item judged", "[batch_answer]") {
  const std::string body =
      R"({"results":[{"status":201,"message":{"id":"a"}},)"
      R"({"status":422,"problem":{"type":"urn:chatchain:problem:key-reused","status":422}},)"
      R"({"problem":{"type":"urn:chatchain:problem:invalid"},"status":422},)"
      R"({"status":503,"problem":{"detail":"full"}}]})";
  const auto items = ParseBatchAnswer(body, 4);
  REQUIRE(items);
  CHECK((*items)[0].body == R"({"id":"a"})");
  CHECK((*items)[0].verdict.finality == Finality::kFinal);
  CHECK((*items)[1].verdict.finality == Finality::kNotFinal);
  CHECK((*items)[2].verdict.finality == Finality::kFinal);
  CHECK((*items)[3].verdict.finality == Finality::kFailed);
  CHECK(!ParseBatchAnswer(body, 3));
  CHECK(!ParseBatchAnswer(body, 5));
}

TEST_CASE("what is no batch answer is refused", "[batch_answer]") {
  for (const std::string_view bad :
       {"", "{}", R"({"results":{}})", R"({"results":[1]})", R"({"results":[{"status":201}]})",
        R"({"results":[{"status":"201","message":{}}]})", R"({"results":[{"message":{}}]})",
        R"({"results":[{"status":201,"problem":{}}]})",
        R"({"results":[{"status":99,"problem":{}}]})",
        R"({"results":[{"status":201,"message":[]}]})",
        R"({"results":[{"status":201,"message":{}})"}) {
    INFO(bad);
    CHECK(!ParseBatchAnswer(bad, 1));
  }
}

TEST_CASE("copies are read and set", "[batch_answer]") {
  CHECK(CopiesOf(R"({"id":"a","copies":3})") == 3);
  CHECK(CopiesOf(R"({"id":"a"})") == 0);
  CHECK(CopiesOf(R"({"copies":"3"})") == 0);
  CHECK(WithCopies(R"({"id":"a","text":"}"})", 2) == R"({"id":"a","text":"}","copies":2})");
  CHECK(WithCopies(R"({"id":"a","copies":1})", 2) == R"({"id":"a","copies":2})");
  CHECK(WithCopies("{}", 2) == R"({"copies":2})");
}

}  // namespace chatchain
