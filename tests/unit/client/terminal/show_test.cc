// SPDX-License-Identifier: MIT
#include "client/terminal/show.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "client/terminal/messages.h"
#include "common/protocol/json.h"
#include "common/util/encoding.h"

namespace chatchain::terminal {

TEST_CASE("nothing that could drive a terminal is printed") {
  for (uint32_t c = 0; c < 0x20; ++c) {
    const std::string shown = Printable(std::string(1, static_cast<char>(c)));
    CHECK(shown.front() == '\\');
    CHECK(shown.size() >= 2);
  }
  CHECK(Printable("\x1b[2J") == "\\x1b[2J");
  CHECK(Printable("a\nb\tc\rd\x7f") == "a\\nb\\tc\\rd\\x7f");
  CHECK(Printable("\xc2\x9b"
                  "31m") == "\\x9b31m");  // CSI in one character
  CHECK(Printable("\xe2\x80\xae"
                  "abc") == "\\u{202e}abc");  // right-to-left override
  CHECK(Printable("\xef\xbb\xbf") == "\\u{feff}");
}

TEST_CASE("what people write is printed as it is") {
  for (const std::string text : {"plain \\ text", "größer", "你好，世界", "مرحبا بالعالم",
                                 "👩‍👩‍👧‍👦 👋🏽 🇺🇳", "Zoe\u0301"}) {
    CHECK(Printable(text) == text);
    CHECK(PrintableJson(text) == text);
  }
}

TEST_CASE("JSON stays the same JSON") {
  const Json json = {{"text", "\xc2\x9b \xe2\x80\xae \x7f \" \\ \n 你好"}};
  const std::string safe = PrintableJson(json.dump());
  CHECK(Json::parse(safe) == json);
  for (const char c : safe) CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
  CHECK(safe.find("\xc2\x9b") == std::string::npos);
}

TEST_CASE("widths are those of a terminal") {
  CHECK(Width("") == 0);
  CHECK(Width("abc") == 3);
  CHECK(Width("小明") == 4);
  CHECK(Width("Zoe\u0301") == 3);
  CHECK(Width("👋") == 2);
  CHECK(Width("\U0003fff0") == 1);  // not assigned
}

TEST_CASE("columns are aligned, and a wide name pushes only its own line") {
  MessageColumns columns{Style{}};
  const auto row = [](std::string sender) {
    return MessageColumns::Row{
        .time = "T", .sender = std::move(sender), .to = "to", .text = "text"};
  };
  columns.Expect(row("0123456789"));
  CHECK(columns.Line(row("a")) == "T  a           to        text\n");
  CHECK(columns.Line(row("0123456789")) == "T  0123456789  to        text\n");
  const std::string wide(300, 'w');
  CHECK(columns.Line(row(wide)) == "T  " + wide + "  to        text\n");
  CHECK(columns.Line(row("a")) == "T  a" + std::string(19, ' ') + "  to        text\n");
}

TEST_CASE("what is no message is not shown as one") {
  const std::string id(36, '0');
  const std::string good = "{\"id\":\"" + id +
                           "\",\"sender\":\"a\",\"room\":\"r\",\"text\":\"t\","
                           "\"accepted_at\":\"2026-11-21T08:15:30.123Z\"}";
  REQUIRE(ParseMessage(good));
  CHECK(ParseMessage(good)->row.to == "#r");
  CHECK(ParseMessage(good)->json == good);
  const std::vector<std::string> others = {
      "{}", "[]", "no", "{\"id\":\"" + id + "\"}", good.substr(1), "{\"id\":1}"};
  for (const std::string& bad : others) {
    CHECK_FALSE(ParseMessage(bad));
  }
  // Laid out over several lines, it becomes one.
  CHECK(ParseMessage(Json::parse(good).dump(2))->json == Json::parse(good).dump());
}

}  // namespace chatchain::terminal
