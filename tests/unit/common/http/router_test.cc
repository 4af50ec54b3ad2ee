// SPDX-License-Identifier: MIT
#include "common/http/router.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace chatchain::http {

namespace {

Route Make(std::string method, std::string pattern, size_t max_body_bytes = 0, bool json = false) {
  const std::string name = method + " " + pattern;
  return Route{.method = std::move(method),
               .pattern = std::move(pattern),
               .handler = [name](Request&) { return JsonResponse(200, name); },
               .max_body_bytes = max_body_bytes,
               .json_body = json};
}

std::vector<Route> Table() {
  std::vector<Route> routes;
  routes.push_back(Make("GET", "/"));
  routes.push_back(Make("GET", "/messages/{id}"));
  routes.push_back(Make("DELETE", "/messages/{id}"));
  routes.push_back(Make("GET", "/messages/stream"));
  routes.push_back(Make("GET", "/messages"));
  routes.push_back(Make("POST", "/messages", 100, true));
  routes.push_back(Make("GET", "/{a}/x/{b}"));
  return routes;
}

// Decides about one request and tells what came of it.
struct Asked {
  Request request;
  Router::Decision decision;
  std::string Run() {
    return decision.route ? decision.route->handler(request).body
                          : std::to_string(decision.answer.status);
  }
  std::string Field(std::string_view name) {
    return std::string(decision.answer.headers.Get(name).value_or("-"));
  }
};

Asked Ask(const Router& router, const std::string& line, const std::string& fields = "") {
  const std::string bytes = line + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  RequestFramer framer({});
  std::string_view input = bytes;
  Asked asked;
  REQUIRE(framer.Consume(&input) == RequestFramer::Event::kHead);
  asked.decision = router.Decide(framer.head(), &asked.request);
  return asked;
}

}  // namespace

TEST_CASE("paths find their routes", "[http][router]") {
  const Router router(Table(), {});
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET /", "GET /"},
      {"HEAD /", "GET /"},
      {"GET /?a=b", "GET /"},
      {"GET /messages", "GET /messages"},
      {"POST /messages", "415"},
      {"GET /messages/", "404"},
      {"GET /Messages", "404"},
      {"GET //", "404"},
      {"GET //messages", "404"},
      {"GET /messages//", "404"},
      {"GET /./messages", "404"},
      {"GET /../messages", "404"},
      {"GET /messages/1", "GET /messages/{id}"},
      {"DELETE /messages/1", "DELETE /messages/{id}"},
      {"GET /messages/stream", "GET /messages/stream"},
      {"DELETE /messages/stream", "405"},
      {"GET /mess%61ges", "GET /messages"},
      {"GET /messages%2F1", "404"},
      {"GET /messages/a%2Fb", "GET /messages/{id}"},
      {"GET /messages/x/y", "GET /{a}/x/{b}"},
      {"GET /messages/%", "400"},
      {"GET /messages/%4", "400"},
      {"GET /messages/%zz", "400"},
      {"GET /messages/%00", "400"},
      {"GET /?a=%", "400"},
      {"GET /?a=%00", "400"},
      {"PUT /messages", "405"},
      {"get /messages", "405"},
      {"BREW /messages", "405"},
      {"BREW /pot", "404"},
      {"OPTIONS /messages", "204"},
      {"OPTIONS /nope", "404"},
      {"OPTIONS *", "204"},
  };
  for (const auto& [line, outcome] : cases) {
    CAPTURE(line);
    CHECK(Ask(router, line).Run() == outcome);
  }
  CHECK(Ask(router, "PUT /messages").Field("Allow") == "GET, HEAD, OPTIONS, POST");
  CHECK(Ask(router, "PUT /messages/1").Field("Allow") == "DELETE, GET, HEAD, OPTIONS");
  CHECK(Ask(router, "OPTIONS /messages").Field("Allow") == "GET, HEAD, OPTIONS, POST");
  CHECK(Ask(router, "OPTIONS *").Field("Allow") == "DELETE, GET, HEAD, OPTIONS, POST");
}

TEST_CASE("a request is decoded for its handler", "[http][router]") {
  const Router router(Table(), {});
  Asked asked = Ask(router, "HEAD http://a/messages/a%2Fb+c?x=1&y=a+b%2B&&x=2&flag&=v&e=&z=1=2",
                    "X: 1\r\nx: 2\r\n");
  CHECK(asked.request.method == "GET");
  CHECK(asked.request.path == "/messages/a/b+c");
  CHECK(asked.request.path_params == std::map<std::string, std::string>{{"id", "a/b+c"}});
  const QueryParams wanted = {{"x", "1"}, {"y", "a b+"}, {"x", "2"},  {"flag", ""},
                              {"", "v"},  {"e", ""},     {"z", "1=2"}};
  CHECK(asked.request.query == wanted);
  CHECK(asked.request.headers.Count("x") == 2);
}

TEST_CASE("bodies are judged by the head", "[http][router]") {
  const Router router(Table(), {});
  const auto run = [&](const std::string& fields) {
    return Ask(router, "POST /messages", fields).Run();
  };
  const std::string ok = "POST /messages";
  CHECK(run("Content-Type: application/json\r\n") == ok);
  CHECK(run("content-type: Application/JSON ; charset=UTF-8\r\n") == ok);
  CHECK(run("Content-Type: application/json;charset=\"utf-8\"\r\n") == ok);
  CHECK(run("Content-Type: application/json;\r\n") == ok);
  CHECK(run("Content-Type: application/json; charset=latin1\r\n") == "415");
  CHECK(run("Content-Type: application/json; x=y\r\n") == "415");
  CHECK(run("Content-Type: application/jsonx\r\n") == "415");
  CHECK(run("Content-Type: text/plain\r\n") == "415");
  CHECK(run("Content-Type: application/json\r\nContent-Type: application/json\r\n") == "415");
  CHECK(run("Content-Type: application/json\r\nContent-Length: 100\r\n") == ok);
  CHECK(run("Content-Type: application/json\r\nContent-Length: 101\r\n") == "413");
  CHECK(Ask(router, "GET /messages", "Content-Length: 1\r\n").Run() == "413");
  CHECK(Ask(router, "GET /messages", "Content-Length: 0\r\n").Run() == "GET /messages");
}

TEST_CASE("CORS only where it is configured", "[http][router]") {
  const std::string preflight =
      "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
      "Access-Control-Request-Headers: content-type, x-mine\r\n";
  const auto answer = [](const Router& router, std::string_view origin) {
    Response response;
    router.AddCors(origin, &response);
    return response;
  };
  const Router none(Table(), {});
  CHECK(Ask(none, "OPTIONS /messages", preflight).Field("Access-Control-Allow-Methods") == "-");
  CHECK(answer(none, "https://a.example").headers.all().empty());

  const Router one(Table(), {"https://a.example"});
  Asked asked = Ask(one, "OPTIONS /messages", preflight);
  CHECK(asked.decision.answer.status == 204);
  CHECK(asked.Field("Access-Control-Allow-Methods") == "GET, HEAD, OPTIONS, POST");
  CHECK(asked.Field("Access-Control-Allow-Headers") == "content-type, x-mine");
  CHECK(asked.Field("Access-Control-Max-Age") == "600");
  Response response = answer(one, "https://a.example");
  CHECK(response.headers.Get("Access-Control-Allow-Origin") == "https://a.example");
  CHECK(response.headers.Get("Vary") == "Origin");
  CHECK_THAT(std::string(*response.headers.Get("Access-Control-Expose-Headers")),
             Catch::Contains("ChatChain-Session") && Catch::Contains("Retry-After"));
  // Another origin, by one letter or by case: caches must still be told.
  for (const char* other :
       {"https://b.example", "https://A.example", "https://a.example.evil", "null"}) {
    response = answer(one, other);
    CHECK_FALSE(response.headers.Get("Access-Control-Allow-Origin"));
    CHECK(response.headers.Get("Vary") == "Origin");
    const std::string fields =
        std::string("Origin: ") + other + "\r\nAccess-Control-Request-Method: POST\r\n";
    CHECK(Ask(one, "OPTIONS /messages", fields).Field("Access-Control-Allow-Methods") == "-");
  }
  const Router any(Table(), {"*"});
  CHECK(answer(any, "https://b.example").headers.Get("Access-Control-Allow-Origin") == "*");
}

TEST_CASE("percent-decoding", "[http][router]") {
  CHECK(PercentEncode("a b/c+\xc3\xa4~") == "a%20b%2Fc%2B%C3%A4~");
  CHECK(PercentDecode("a%20b+c", true) == "a b c");
  CHECK(PercentDecode("a%20b+c", false) == "a b+c");
  CHECK(PercentDecode("%c3%A4", false) == "\xc3\xa4");
  for (const char* bad : {"%", "%a", "a%", "%g0", "%0g", "%00", "a%%20"}) {
    CAPTURE(bad);
    CHECK_FALSE(PercentDecode(bad, false));
  }
}

}  // namespace chatchain::http
