// SPDX-License-Identifier: MIT
#include "client/terminal/options.h"

#include <catch2/catch.hpp>

namespace chatchain::terminal {

namespace {

constexpr int64_t kNow_ms = 1'795'248'930'000;

Result<CommandLine, ConfigExit> Parse(std::vector<const char*> arguments,
                                      const Environment& environment = {}) {
  arguments.insert(arguments.begin(), "chatchain");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data(), environment,
                          kNow_ms);
}

}  // namespace

TEST_CASE("times as people give them") {
  CHECK(ParseWhen("2026-11-21T08:15:30Z", kNow_ms) == kNow_ms);
  CHECK(ParseWhen("1795248930", kNow_ms) == kNow_ms);
  CHECK(ParseWhen("90s", kNow_ms) == kNow_ms - 90'000);
  CHECK(ParseWhen("10m", kNow_ms) == kNow_ms - 600'000);
  CHECK(ParseWhen("2w", kNow_ms) == kNow_ms - 14LL * 24 * 3600 * 1000);
  CHECK(ParseWhen("99999999w", kNow_ms) == 0);
  CHECK(ParseWhen("2026-11-21", kNow_ms).has_value());
  CHECK(*ParseWhen("2026-11-21 08:15", kNow_ms) - *ParseWhen("2026-11-21", kNow_ms) ==
        (8 * 60 + 15) * 60'000);
  for (const char* bad : {"", "m", "-5m", "1.5h", "yesterday", "2026-11-21 08:15:30 x",
                          "2026-13-01", "99999999999999999999s", "10y"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseWhen(bad, kNow_ms));
  }
}

TEST_CASE("addresses as people give them") {
  const auto server = [](const char* url) {
    const auto line = Parse({"network", "--url", url});
    return line ? line->server.ToString() : "";
  };
  CHECK(server("http://127.0.0.1:8080") == "127.0.0.1:8080");
  CHECK(server("http://127.0.0.1:8080/") == "127.0.0.1:8080");
  CHECK(server("chat.example:81") == "chat.example:81");
  CHECK(server("http://chat.example") == "chat.example:80");
  CHECK(server("http://[::1]:8080") == "[::1]:8080");
  CHECK(server("http://[::1]") == "[::1]:80");
  for (const char* bad : {"", "https://a:1", "http://a:0", "http://a:1/path", "http://u@a:1/",
                          "http://a:x", "unix:///x"}) {
    CAPTURE(bad);
    CHECK(server(bad).empty());
  }
  CHECK(Parse({"network"})->server.ToString() == "127.0.0.1:8080");
  CHECK(Parse({"network"}, {{"CHATCHAIN_URL", "http://b:1"}})->server.ToString() == "b:1");
  CHECK(Parse({"network", "--url", "c:2"}, {{"CHATCHAIN_URL", "nonsense nonsense"}})
            ->server.ToString() == "c:2");
}

TEST_CASE("words are the text, and what follows -- is text") {
  auto line = Parse({"send", "--from", "a", "two", "--to", "b", "words", "--", "--json", "-"});
  REQUIRE(line);
  CHECK(line->message.text == "two words --json -");
  CHECK_FALSE(line->json);
  CHECK_FALSE(line->text_from_stdin);
  CHECK(Parse({"send", "--from", "a", "--to", "b"})->text_from_stdin);
  CHECK(Parse({"send", "--from", "a", "--to", "b", "-"})->text_from_stdin);
  CHECK(Parse({"send", "--from=a,b", "--to=c=d", "x,y"})->message.sender == "a,b");
  CHECK(Parse({"send", "--from=a,b", "--to=c=d", "x,y"})->message.recipient == "c=d");
  CHECK(Parse({"send", "--from=a,b", "--to=c=d", "x,y"})->message.text == "x,y");
}

TEST_CASE("where reading begins") {
  CHECK(Parse({"tail", "--since", "10m"})->after == "begin");
  CHECK(Parse({"tail", "--since", "10m", "--after", "T"})->after == "T");
  CHECK_FALSE(Parse({"tail", "--last", "3"})->after);
  CHECK(Parse({"tail", "--last", "3", "--limit", "3"}));
  CHECK_FALSE(Parse({"tail", "--last", "3", "--limit", "2"}));
  CHECK(Parse({"history"})->order == Order::kLatest);
  CHECK(Parse({"history", "--limit", "all"})->order == Order::kAscending);
  CHECK(Parse({"history", "--cursor", "C"})->order == Order::kAscending);
  CHECK_FALSE(Parse({"history", "--limit", "all", "--order", "latest"}));
}

}  // namespace chatchain::terminal
