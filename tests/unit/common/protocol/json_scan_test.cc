// SPDX-License-Identifier: MIT
#include "common/protocol/json_scan.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace chatchain {

namespace {

using Json = nlohmann::json;

// The library's own builder of trees behind the events.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return dom_.null(); }
  bool boolean(bool value) override { return dom_.boolean(value); }
  bool number_integer(number_integer_t value) override { return dom_.number_integer(value); }
  bool number_unsigned(number_unsigned_t value) override { return dom_.number_unsigned(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    return dom_.number_float(value, text);
  }
  bool string(string_t& value) override { return dom_.string(value); }
  bool binary(binary_t& value) override { return dom_.binary(value); }
  bool start_object(std::size_t size) override { return ++depth_ <= 20 && dom_.start_object(size); }
  bool key(string_t& value) override { return dom_.key(value); }
  bool end_object() override { return --depth_, dom_.end_object(); }
  bool start_array(std::size_t size) override { return ++depth_ <= 20 && dom_.start_array(size); }
  bool end_array() override { return --depth_, dom_.end_array(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

  Json root;

 private:
  nlohmann::detail::json_sax_dom_parser<Json> dom_{root, false};
  int depth_ = 0;
};

// True when it was taken; it must then be what the library makes of it.
bool Scan(const std::string& text) {
  Builder builder;
  if (!ScanJson(text, &builder)) return false;
  INFO(text);
  const Json expected = Json::parse(text, nullptr, false);
  REQUIRE_FALSE(expected.is_discarded());
  REQUIRE(builder.root == expected);
  REQUIRE(builder.root.dump() == expected.dump());  // 1 and 1.0 are equal, and not the same
  return true;
}

const std::vector<std::string> kTaken = {
    R"({"sender":"alice","recipient":"bob","text":"hello","timestamp":1697913600})",
    " \t\r\n{ \"a\" : [ 1 , -2 , 0 , -0 , true , false , null , \"\" , { } , [ ] ] } \n",
    R"(["\" \\ \/ \b \f \n \r \t", "\u0041\u00e9\u20ac\ud83d\ude00\uD83D\uDE00\u0000\uffff"])",
    "[\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\x7f\"]",
    R"([999999999999999999,-999999999999999999])",
    R"({"a":1,"a":2})",
    "7",
    "\"x\"",
};

}  // namespace

TEST_CASE("what programs write is read as the library reads it", "[json_scan]") {
  for (const std::string& text : kTaken) {
    INFO(text);
    CHECK(Scan(text));
  }
}

TEST_CASE("what is rare or wrong is left to the library", "[json_scan]") {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[",
                           "\"",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{1:2}",
                           "{\"a\" 1}",
                           "[1 2]",
                           "1 2",
                           "nul",
                           "nulll",
                           "tru",
                           "+1",
                           "-",
                           "01",
                           "-01",
                           "1.0",
                           "1e3",
                           "1E3",
                           ".5",
                           "1.",
                           "0x10",
                           "1000000000000000000",
                           "-1000000000000000000",
                           "99999999999999999999999",
                           "NaN",
                           "'a'",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\\ud800x\"",
                           "\"a\nb\"",
                           "\"\x01\"",
                           "\"\xff\"",
                           "\"\xc3\"",
                           "\"\xed\xa0\x80\"",
                           "\xef\xbb\xbf[]",
                           "[]x",
                           "\"a\\",
                           "[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]"}) {
    INFO(text);
    CHECK_FALSE(Scan(text));
  }
}

TEST_CASE("texts with something changed are never read otherwise", "[json_scan]") {
  std::mt19937 random(20261121);
  const std::string_view kBytes =
      "\"\\{}[]:,0123456789-+.eEtfnu \n\x80\xc3\xed\xff"
      "abcd/";
  for (int i = 0; i < 40'000; ++i) {
    std::string text = kTaken[random() % kTaken.size()];
    for (uint32_t changes = 1 + random() % 3; changes > 0 && !text.empty(); --changes) {
      const size_t at = random() % text.size();
      const char byte = kBytes[random() % kBytes.size()];
      switch (random() % 3) {
        case 0: text[at] = byte; break;
        case 1: text.erase(at, 1 + random() % 3); break;
        default: text.insert(at, 1, byte);
      }
    }
    Scan(text);
  }
}

}  // namespace chatchain
