// SPDX-License-Identifier: MIT
// Bad input at the real programs, node and proxy alike: the code of the contract, a detail that
// names what is wrong, and nothing changed.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/http_test.h"
#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

using http::testing::RawSocket;

struct Case {
  std::string name;
  int status;
  std::string part;  // of the answer's body
  std::string body;
  httplib::Headers headers = {};
  std::string method = "POST";
  std::string target = "/messages";
};

std::string With(const std::string& members) {
  return R"({"sender":"a","recipient":"b","text":"x")" + members + "}";
}

std::string Text(const std::string& json_string) {
  return R"({"sender":"a","recipient":"b","text":")" + json_string + "\"}";
}

std::string Named(const std::string& sender) {
  return R"({"sender":")" + sender + R"(","recipient":"b","text":"x"})";
}

std::string Nested(int depth) {
  return std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']');
}

std::vector<Case> Bodies() {
  std::vector<Case> cases = {
      {"empty", 400, "", ""},
      {"not JSON", 400, "", "hello"},
      {"cut off", 400, "", R"({"sender":"a")"},
      {"trailing bytes", 400, "", With("") + "x"},
      {"two objects", 400, "", With("") + With("")},
      {"a list", 400, "object", "[]"},
      {"a string", 400, "object", "\"x\""},
      {"null", 400, "object", "null"},
      {"single quotes", 400, "", "{'sender':'a'}"},
      {"a comment", 400, "", "{/* */}"},
      {"deep nesting", 400, "", With(",\"more\":" + Nested(20))},
      {"very deep nesting", 400, "", Nested(200'000)},
      {"a duplicate member", 400, "sender", With(",\"sender\":\"c\"")},
      {"an unknown member", 400, "priority", With(",\"priority\":1")},
      {"a member in other case", 400, "Text", With(",\"Text\":\"y\"")},
      {"invalid UTF-8", 400, "", Text("\xff")},
      {"overlong UTF-8", 400, "", Text("\xc0\xaf")},
      {"a UTF-8 surrogate", 400, "", Text("\xed\xa0\x80")},
      {"cut off UTF-8", 400, "", Text("\xe4\xb8")},
      {"a lone surrogate", 400, "", Text("\\ud800")},
      {"a lone low surrogate", 400, "", Text("\\udc00 ")},
      {"a raw NUL", 400, "", Text(std::string("a\0b", 3))},
      {"a raw line end", 400, "", Text("a\nb")},
      {"a bad escape", 400, "", Text("\\x")},
      {"NaN", 400, "", With(",\"timestamp\":NaN")},
      {"NUL", 422, "text", Text("a\\u0000b")},
      {"no sender", 422, "sender", R"({"recipient":"b","text":"x"})"},
      {"no text", 422, "text", R"({"sender":"a","recipient":"b"})"},
      {"no destination", 422, "recipient", R"({"sender":"a","text":"x"})"},
      {"two destinations", 422, "room", With(",\"room\":\"r\"")},
      {"an empty text", 422, "text", Text("")},
      {"an empty sender", 422, "sender", Named("")},
      {"a sender of 257 bytes", 422, "sender", Named(std::string(257, 'a'))},
      {"a sender of 129 wide letters", 422, "sender",
       [] {
         std::string name;
         for (int i = 0; i < 129; ++i) name += "ü";
         return Named(name);
       }()},
      {"a control character in a name", 422, "sender", Named("a\\u0007")},
      {"a line end in a name", 422, "sender", Named("a\\n")},
      {"a text of 65537 bytes", 422, "text", Text(std::string(65537, 'x'))},
      {"a sender that is a number", 422, "sender", R"({"sender":5,"recipient":"b","text":"x"})"},
      {"a text that is null", 422, "text", R"({"sender":"a","recipient":"b","text":null})"},
      {"a text that is a list", 422, "text", R"({"sender":"a","recipient":"b","text":["x"]})"},
      {"a timestamp as text", 422, "timestamp", With(",\"timestamp\":\"1\"")},
      {"NaN as text", 422, "timestamp", With(",\"timestamp\":\"NaN\"")},
      {"a fractional timestamp", 422, "timestamp", With(",\"timestamp\":1.5")},
      {"a boolean timestamp", 422, "timestamp", With(",\"timestamp\":true")},
      {"a timestamp of 1e30", 422, "timestamp", With(",\"timestamp\":1e30")},
      {"a timestamp of 2^53+1", 422, "timestamp", With(",\"timestamp\":9007199254740993")},
      {"a timestamp of -2^53-1", 422, "timestamp", With(",\"timestamp\":-9007199254740993")},
      {"a timestamp beyond 64 bits", 422, "timestamp", With(",\"timestamp\":99999999999999999999")},
  };
  for (Case& each : cases) each.headers.emplace("Content-Type", "application/json");
  return cases;
}

std::vector<Case> Headers() {
  const std::string good = With("");
  const auto json = [](httplib::Headers headers) {
    headers.emplace("Content-Type", "application/json");
    return headers;
  };
  return {
      {"no content type", 415, "", good},
      {"another content type", 415, "", good, {{"Content-Type", "text/plain"}}},
      {"another charset", 415, "", good, {{"Content-Type", "application/json; charset=latin1"}}},
      {"an answer type we lack", 406, "", good, json({{"Accept", "image/png"}})},
      {"an empty key", 422, "Idempotency-Key", good, json({{"Idempotency-Key", ""}})},
      {"a key of 257 bytes", 422, "Idempotency-Key", good,
       json({{"Idempotency-Key", std::string(257, 'k')}})},
      {"a key that is not ASCII", 422, "Idempotency-Key", good, json({{"Idempotency-Key", "kä"}})},
      {"two keys", 422, "Idempotency-Key", good,
       json({{"Idempotency-Key", "a"}, {"Idempotency-Key", "b"}})},
      {"acks of nobody", 422, "ChatChain-Acks", good, json({{"ChatChain-Acks", "0"}})},
      {"acks of too many", 422, "ChatChain-Acks", good, json({{"ChatChain-Acks", "2"}})},
      {"acks in words", 422, "ChatChain-Acks", good, json({{"ChatChain-Acks", "two"}})},
      {"a session of garbage", 400, "ChatChain-Session", good, json({{"ChatChain-Session", "?"}})},
      {"another consistency",
       422,
       "ChatChain-Consistency",
       "",
       {{"ChatChain-Consistency", "eventual"}},
       "GET"},
      {"a key on a batch", 400, "Idempotency-Key", "{\"messages\":[" + good + "]}",
       json({{"Idempotency-Key", "k"}}), "POST", "/messages/batch"},
      {"an empty batch", 422, "messages", R"({"messages":[]})", json({}), "POST",
       "/messages/batch"},
      {"a batch that is no list", 422, "messages", R"({"messages":5})", json({}), "POST",
       "/messages/batch"},
      {"a batch without messages", 422, "messages", "{}", json({}), "POST", "/messages/batch"},
      {"a batch with more members", 400, "extra", R"({"messages":[],"extra":1})", json({}), "POST",
       "/messages/batch"},
      {"a batch of 1001", 422, "messages",
       [&] {
         std::string body = "{\"messages\":[" + good;
         for (int i = 0; i < 1000; ++i) body += "," + good;
         return body + "]}";
       }(),
       json({}), "POST", "/messages/batch"},
      {"another method", 405, "", "", {}, "DELETE"},
      {"another path", 404, "", "", {}, "GET", "/nope"},
      {"a trailing slash", 404, "", "", {}, "GET", "/messages/"},
      {"a path in other case", 404, "", "", {}, "GET", "/Messages"},
      {"an id that is none", 404, "", "", {}, "GET", "/messages/xyz"},
      {"an id that nobody has", 404, "", "", {}, "GET", "/messages/" + std::string(36, '0')},
  };
}

std::vector<Case> Queries() {
  const std::vector<std::tuple<std::string, int, std::string>> queries = {
      {"limit=0", 422, "limit"},
      {"limit=1001", 422, "limit"},
      {"limit=abc", 422, "limit"},
      {"limit=-1", 422, "limit"},
      {"limit=99999999999999999999", 422, "limit"},
      {"limit=1&limit=2", 400, "limit"},
      {"order=up", 422, "order"},
      {"cursor=garbage", 400, "cursor"},
      {"cursor=", 400, "cursor"},
      {"colour=red", 400, "colour"},
      {"since=yesterday", 422, "since"},
      {"until=2026-13-01T00:00:00Z", 422, "until"},
      {"sender=", 422, "sender"},
      {"room=" + std::string(257, 'r'), 422, "room"},
      {"participant=a&participant=b&participant=c", 422, "participant"},
      {"sender=%ff", 400, ""},
      {"sender=%zz", 400, ""},
  };
  std::vector<Case> cases;
  for (const auto& [query, status, part] : queries) {
    cases.push_back({query, status, part, "", {}, "GET", "/messages?" + query});
  }
  return cases;
}

bool Waits(int fd, milliseconds patience) {
  pollfd state{fd, POLLIN, 0};
  return poll(&state, 1, static_cast<int>(patience.count())) > 0;
}

}  // namespace

TEST_CASE("bad input is told what is wrong with it and changes nothing") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  cluster.StartAll();
  std::string target = cluster.node(0).address();
  SECTION("at a node") {}
  SECTION("at the proxy") {
    if (!ClientProgram()) {
      WARN("skipped: chatchain-client is not built");
      return;
    }
    target = cluster.StartProxy().address();
  }
  Ledger ledger;
  SendAll(target, ledger, 3, "good");
  const Json before = cluster.api(0).Nodes()["self"];
  for (const auto& cases : {Bodies(), Headers(), Queries()}) {
    for (const Case& each : cases) {
      const Answer answer = Api(target).Do(each.method, each.target, each.headers, each.body);
      CAPTURE(each.name, answer.status, answer.error, answer.body.substr(0, 300));
      CHECK(answer.status == each.status);
      CHECK(answer.header("Content-Type").find("application/problem+json") == 0);
      const Json problem = answer.json();
      CHECK(problem.value("status", 0) == each.status);
      CHECK_FALSE(problem.value("title", "").empty());
      CHECK_FALSE(problem.value("detail", "").empty());
      CHECK(problem.dump().find(each.part) != std::string::npos);
      CHECK(answer.body.size() < 4000);  // it does not echo what it was sent
      if (answer.status == 405) CHECK_FALSE(answer.header("Allow").empty());
    }
  }
  const Json after = cluster.api(0).Nodes()["self"];
  CHECK(after["messages"] == before["messages"]);
  CHECK(after["digest"] == before["digest"]);
  CheckHolds(target, ledger);
}

TEST_CASE("a bad item of a batch does not fail its neighbours") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  cluster.StartAll();
  const std::string good = R"({"sender":"a","recipient":"b","text":"first","key":"k1"})";
  const std::string other = R"({"sender":"a","recipient":"b","text":"second","key":"k1"})";
  const std::string body = "{\"messages\":[" + good + ",5," + With(",\"colour\":1") + "," + good +
                           "," + other + "," + With(",\"key\":\"\"") + "," +
                           With(",\"stamp\":\"zz\"") + "," + With("") + "]}";
  const Answer answer = cluster.api(0).Post("/messages/batch", body);
  INFO(answer.text());
  REQUIRE(answer.status == 200);
  std::vector<int> statuses;
  const Json answered = answer.json();
  for (const Json& result : answered["results"]) {
    statuses.push_back(result["status"]);
    CHECK(result.contains(result["status"] < 300 ? "message" : "problem"));
  }
  CHECK(statuses == std::vector<int>{201, 400, 400, 200, 422, 422, 422, 201});
  CHECK(cluster.api(0).Nodes()["self"]["messages"] == 2);
}

TEST_CASE("tokens of another cluster are refused") {
  ClusterOptions options;
  options.nodes = 2;
  Cluster cluster(options);
  cluster.node(1).options().cluster = "elsewhere";
  cluster.StartAll();
  Ledger ledger;
  SendAll(cluster.node(0).address(), ledger, 5, "a");
  SendAll(cluster.node(1).address(), ledger, 5, "b");
  const Answer page = cluster.api(1).Get("/messages?limit=2");
  const std::string cursor = page.json()["next"];
  const Answer with_cursor = cluster.api(0).Get("/messages?limit=2&cursor=" + cursor);
  CHECK(with_cursor.status == 400);
  CHECK(with_cursor.detail().find("cursor") != std::string::npos);
  const Answer with_session =
      cluster.api(0).Get("/messages", {{"ChatChain-Session", page.header("ChatChain-Session")}});
  CHECK(with_session.status == 400);
  CHECK(with_session.detail().find("ChatChain-Session") != std::string::npos);

  const std::string own = cluster.api(0).Get("/messages?limit=2").json()["next"];
  CHECK(cluster.api(0).Get("/messages?limit=2&cursor=" + own).status == 200);
  // A cursor goes with the filters and the order that it was made with.
  CHECK(cluster.api(0).Get("/messages?order=desc&cursor=" + own).status == 400);
  CHECK(cluster.api(0).Get("/messages?sender=a&cursor=" + own).status == 400);
  for (size_t i = 0; i < own.size(); i += 3) {
    std::string changed = own;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    INFO(changed);
    CHECK(cluster.api(0).Get("/messages?limit=2&cursor=" + changed).status == 400);
  }
}

TEST_CASE("a body of 100 MB is refused without being read") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  cluster.StartAll();
  std::string target = cluster.node(0).address();
  uint16_t port = cluster.node(0).port();
  SECTION("at a node") {}
  SECTION("at the proxy") {
    if (!ClientProgram()) {
      WARN("skipped: chatchain-client is not built");
      return;
    }
    target = cluster.StartProxy().address();
    port = static_cast<uint16_t>(std::stoi(target.substr(target.find(':') + 1)));
  }
  for (const std::string path : {"/messages", "/messages/batch"}) {
    INFO(path);
    const std::string head =
        "POST " + path + " HTTP/1.1\r\nHost: " + target + "\r\nContent-Type: application/json\r\n";
    {
      RawSocket announced = RawSocket::Connect(port);
      REQUIRE(announced.Send(head + "Content-Length: 104857600\r\n\r\n{\"sender\":"));
      const std::string answer = announced.ReadAnswer();  // not one more byte was sent
      CHECK(answer.rfind("HTTP/1.1 413 ", 0) == 0);
      CHECK(answer.find("application/problem+json") != std::string::npos);
    }
    {
      RawSocket chunked = RawSocket::Connect(port);
      REQUIRE(chunked.Send(head + "Transfer-Encoding: chunked\r\n\r\n"));
      const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
      size_t sent = 0;
      while (sent < (size_t{100} << 20) && !Waits(chunked.fd(), milliseconds(0)) &&
             chunked.Send(chunk)) {
        sent += 0x10000;
      }
      // Its own limit, and what the sockets hold.
      CHECK(sent < (size_t{20} << 20));
      CHECK(chunked.ReadAnswer().rfind("HTTP/1.1 413 ", 0) == 0);
    }
  }
  CHECK(Api(target).Send(MakeMessage("after")).status == 201);
}

TEST_CASE("64 slow clients do not stop others") {
  ClusterOptions options;
  options.nodes = 1;
  Cluster cluster(options);
  cluster.StartAll();
  const std::string target = cluster.node(0).address();
  std::vector<RawSocket> slow;
  for (int i = 0; i < 64; ++i) {
    slow.push_back(RawSocket::Connect(cluster.node(0).port()));
    REQUIRE(slow.back().open());
    if (i % 4 == 0) continue;  // says nothing at all
    if (i % 4 == 1) slow.back().Send("POST /messages HT");
    if (i % 4 == 2) slow.back().Send("POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: appl");
    if (i % 4 == 3) {
      slow.back().Send(
          "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
          "Content-Length: 50\r\n\r\n{\"sender\":\"a\"");
    }
  }
  Ledger ledger;
  const auto begun = std::chrono::steady_clock::now();
  Load load({target}, ledger, {.timeout = seconds(8)});
  load.AwaitMore(50);
  load.Stop();
  CHECK(load.failures() == 0);
  // Not only after they were given up.
  CHECK(std::chrono::steady_clock::now() - begun < seconds(10));
  CheckHolds(target, ledger);
  // One of them makes up its mind.
  RawSocket& late = slow[2];
  late.Send("ication/json\r\nContent-Length: " + std::to_string(With("").size()) + "\r\n\r\n" +
            With(""));
  CHECK(late.ReadAnswer().rfind("HTTP/1.1 201 ", 0) == 0);
}

}  // namespace chatchain::testing
