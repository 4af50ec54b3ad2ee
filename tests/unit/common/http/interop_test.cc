// SPDX-License-Identifier: MIT
// Our server and client against cpp-httplib's, which share no code with them.
#include <httplib.h>

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "common/http/client.h"
#include "common/http/server.h"

namespace chatchain::http {

namespace {

std::vector<Route> Routes() {
  std::vector<Route> routes;
  routes.push_back({.method = "GET", .pattern = "/query/{name}", .handler = [](Request& request) {
                      std::string text = request.path_params["name"];
                      for (const auto& [name, value] : request.query)
                        text += "|" + name + "=" + value;
                      return JsonResponse(200, text);
                    }});
  routes.push_back({.method = "POST",
                    .pattern = "/echo",
                    .handler = [](Request& request) { return JsonResponse(201, request.body); },
                    .max_body_bytes = 4 * 1024 * 1024});
  routes.push_back({.method = "GET", .pattern = "/lines", .handler = [](Request&) {
                      class Lines final : public BodySource {
                        Step Read(std::string* out) override {
                          *out = "line " + std::to_string(n_) + "\n";
                          return ++n_ == 1'000 ? Step::kEnd : Step::kMore;
                        }
                        int n_ = 0;
                      };
                      Response response;
                      response.content_type = "application/x-ndjson";
                      response.source = std::make_unique<Lines>();
                      return response;
                    }});
  return routes;
}

}  // namespace

TEST_CASE("cpp-httplib's client understands our server", "[http][interop]") {
  Server server({.gzip_min_bytes = 1'000}, Routes());
  REQUIRE(server.Start());
  httplib::Client client("127.0.0.1", server.port());
  client.set_keep_alive(true);
  auto result = client.Get("/query/a%20b", httplib::Params{{"x", "1 2"}, {"y", "\xc3\xa4&="}},
                           httplib::Headers());
  REQUIRE(result);
  CHECK(result->body == "a b|x=1 2|y=\xc3\xa4&=");
  const std::string body(300'000, 'x');
  result = client.Post("/echo", body, "text/plain");
  REQUIRE(result);
  CHECK(result->status == 201);
  CHECK((result->body == body));
  // Chunked, in both directions; and an answer that it unpacks.
  size_t given = 0;
  result = client.Post(
      "/echo", httplib::Headers{{"Accept-Encoding", "gzip"}},
      [&](size_t /*offset*/, httplib::DataSink& sink) {
        if (given++ == 50) {
          sink.done();
        } else {
          sink.write(body.data(), 1'000);
        }
        return true;
      },
      "text/plain");
  REQUIRE(result);
  CHECK(result->get_header_value("Content-Encoding") == "gzip");
  CHECK((result->body == body.substr(0, 50'000)));
  result = client.Get("/lines");
  REQUIRE(result);
  CHECK_THAT(result->body, Catch::StartsWith("line 0\n") && Catch::EndsWith("line 999\n"));
  CHECK(client.Head("/query/a")->get_header_value("Content-Length") == "1");
  CHECK(client.Get("/nope")->status == 404);
  CHECK(client.Options("/echo")->get_header_value("Allow") == "OPTIONS, POST");
  CHECK(server.stats().connections_accepted == 1);
}

TEST_CASE("our client understands cpp-httplib's server", "[http][interop]") {
  httplib::Server server;
  server.Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
    response.set_content(request.body, "text/plain");
  });
  server.Get("/chunks", [](const httplib::Request&, httplib::Response& response) {
    response.set_chunked_content_provider("text/plain", [](size_t offset, httplib::DataSink& sink) {
      sink.write("hello ", 6);
      if (offset > 100) sink.done();
      return true;
    });
  });
  const int port = server.bind_to_any_port("127.0.0.1");
  REQUIRE(port > 0);
  std::thread thread([&] { server.listen_after_bind(); });
  std::optional<Client> client;
  client.emplace("127.0.0.1:" + std::to_string(port));
  const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::seconds(10); };
  for (int i = 0; i < 12; ++i) {  // it closes after five: kept connections go stale
    ClientRequest request{.method = "POST", .target = "/echo", .body = std::string(100'000, 'x')};
    request.content_type = "text/plain";
    const auto result = client->Send(request, soon());
    REQUIRE(result);
    CHECK(result->body.size() == 100'000);
  }
  const auto chunks = client->Send({.target = "/chunks"}, soon());
  REQUIRE(chunks);
  CHECK_THAT(chunks->body, Catch::StartsWith("hello hello "));
  const auto head = client->Send({.method = "HEAD", .target = "/nope"}, soon());
  REQUIRE(head);
  CHECK(head->status == 404);
  client.reset();  // or its idle connection keeps one of that server's threads until a timeout
  server.stop();
  thread.join();
}

}  // namespace chatchain::http
