// SPDX-License-Identifier: MIT
#include "client/proxy/json_slice.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace chatchain {
namespace {

std::optional<std::vector<std::string>> Elements(std::string_view array) {
  std::vector<std::string> out;
  const bool whole = VisitJsonElements(array, [&](std::string_view value) {
    out.emplace_back(value);
    return true;
  });
  if (!whole) return std::nullopt;
  return out;
}

}  // namespace

TEST_CASE("arrays are cut into their elements", "[json_slice]") {
  using Texts = std::vector<std::string>;
  CHECK(Elements("[]") == Texts{});
  CHECK(Elements(" [ ] ") == Texts{});
  CHECK(Elements(R"([1,"a",null])") == Texts{"1", "\"a\"", "null"});
  CHECK(Elements(R"([ {"a":[1,2]} , [3] ])") == Texts{R"({"a":[1,2]})", "[3]"});
  CHECK(Elements(R"(["]","\"]","\\"])") == Texts{R"("]")", R"("\"]")", R"("\\")"});
  CHECK(Elements(R"([{"t":"}{][\"\\"}])") == Texts{R"({"t":"}{][\"\\"})"});
  for (const std::string_view bad : {"", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]x", "{}",
                                     "[{]", "[{]}", "[\"]", "[\"\\\"]", "1", "[}]"}) {
    INFO(bad);
    CHECK(!Elements(bad));
  }
}

TEST_CASE("members are found, and broken objects are not", "[json_slice]") {
  CHECK(JsonMember(R"({"a":1,"b":"x"})", "b") == "\"x\"");
  CHECK(JsonMember(R"({ "a" : { "b" : 1 } })", "a") == R"({ "b" : 1 })");
  CHECK(!JsonMember(R"({"a":{"b":1}})", "b"));
  CHECK(!JsonMember("{}", "a"));
  CHECK(JsonMember(R"({"a":1,"a":2})", "a") == "1");
  for (const std::string_view bad : {R"({"a":1)", R"({"a"})", R"({"a":})", R"({a:1})",
                                     R"({"a":1,})", R"({"a":1}x)", "[]", "", R"({"a" 1})"}) {
    INFO(bad);
    CHECK(!JsonMember(bad, "a"));
  }
  CHECK(PlainJsonString("\"abc\"") == "abc");
  CHECK(!PlainJsonString("\"a\\\"\""));
  CHECK(!PlainJsonString("1"));
  CHECK(!PlainJsonString("\""));
}

TEST_CASE("nesting is bounded", "[json_slice]") {
  const std::string deep(100'000, '[');
  CHECK(SkipJsonValue(deep, 0) == std::string_view::npos);
}

TEST_CASE("every cut of a page is refused", "[json_slice]") {
  const std::string page = R"({"messages":[{"id":"a","text":"x\"]}"},{"id":"b"}],"next":"CURSOR"})";
  const auto slices = SlicePage(page);
  REQUIRE(slices);
  CHECK(slices->next == "CURSOR");
  CHECK(Elements(slices->messages)->size() == 2);
  for (size_t length = 0; length < page.size(); ++length) {
    INFO(length);
    CHECK(!SlicePage(std::string_view(page).substr(0, length)));
  }
  CHECK(!SlicePage(R"({"messages":[]})"));
  CHECK(!SlicePage(R"({"messages":{},"next":null})"));
  CHECK(!SlicePage(R"({"messages":[],"next":1})"));
  CHECK(!SlicePage(R"({"messages":[],"next":null})")->next);
}

TEST_CASE("the form of a page", "[json_slice]") {
  const std::pair<std::string_view, PageForm> rows[] = {
      {R"({"messages":[],"next":null})", PageForm::kEmpty},
      {R"( { "messages" : [ ] , "next" : null } )", PageForm::kEmpty},
      {R"({"next":null,"messages":[]})", PageForm::kEmpty},
      {R"({"messages":[{"id":"a"}],"next":null})", PageForm::kFull},
      {R"({"next":null,"messages":[{}]})", PageForm::kFull},
      {R"({"messages":{}})", PageForm::kNotAPage},
      {R"({"status":"ok"})", PageForm::kNotAPage},
      {R"({"messages":[{"id":"a"}],"next":nu)", PageForm::kNotAPage},
      {"<html>", PageForm::kNotAPage},
      {"", PageForm::kNotAPage},
      {"{", PageForm::kNotAPage},
      {"[]", PageForm::kNotAPage},
  };
  for (const auto& [text, form] : rows) {
    INFO(text);
    CHECK(FormOfPage(text) == form);
  }
}

}  // namespace chatchain
