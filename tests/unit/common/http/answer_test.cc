// SPDX-License-Identifier: MIT
#include "common/http/answer.h"

#include <zlib.h>

#include <catch2/catch.hpp>
#include <string>

#include "common/http/framing.h"

namespace chatchain::http {

namespace {

std::string Bytes(Response response, AnswerForm form = {}) {
  std::string out;
  AppendAnswer(&response, form, &out);
  const size_t date = out.find("Date: ");
  if (date != std::string::npos) out.erase(date, out.find("\r\n", date) + 2 - date);
  return out;
}

std::string Gunzip(const std::string& packed) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

}  // namespace

TEST_CASE("the form of answers", "[http][answer]") {
  CHECK(Bytes(JsonResponse(200, "{}")) ==
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
  CHECK(Bytes(JsonResponse(200, "{}"), {.head_only = true}) ==
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n");
  CHECK(Bytes(JsonResponse(200, "")) ==
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n");
  CHECK(Bytes(Response{.status = 204}, {.close = true}) ==
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  CHECK(Bytes(Response{.status = 204}, {.http_1_0 = true}) ==
        "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
  // Statuses that would not be final answers are bugs of the handler.
  CHECK_THAT(Bytes(Response{.status = 100}), Catch::StartsWith("HTTP/1.1 500 "));
  CHECK_THAT(Bytes(Response{.status = 99999}), Catch::StartsWith("HTTP/1.1 500 "));
}

TEST_CASE("no handler can split an answer", "[http][answer]") {
  Response response = JsonResponse(200, "{}");
  response.content_type = "a/b\r\nEvil: 1";
  response.headers.Add("X", "a\r\nEvil: 2\r\n\r\nHTTP/1.1 200 OK");
  response.headers.Add("Y\r\nEvil", "3");
  response.headers.Add("Vary", "a\nEvil: 4");
  response.headers.Add("Content-Length", "1");
  response.headers.Add("transfer-encoding", "chunked");
  response.headers.Add("Connection", "upgrade");
  const std::string bytes = Bytes(std::move(response));
  CHECK(bytes ==
        "HTTP/1.1 200 OK\r\nContent-Type: a/bEvil: 1\r\nX: aEvil: 2HTTP/1.1 200 OK\r\nVary: aEvil: "
        "4\r\n"
        "Content-Length: 2\r\n\r\n{}");
}

TEST_CASE("who accepts gzip", "[http][answer]") {
  for (const char* yes : {"gzip", "GZIP", "x-gzip", "br, gzip", "gzip;q=0.5", "gzip; q=0.001", "*",
                          "*;q=1", "identity;q=0, gzip;q=1.000", "br;q=0,*"}) {
    CAPTURE(yes);
    CHECK(AcceptsGzip(yes));
  }
  for (const char* no : {"", "br", "gzip;q=0", "gzip;q=0.000", "gzip; Q=0", "*;q=0", "*, gzip;q=0",
                         "gzipx", "identity"}) {
    CAPTURE(no);
    CHECK_FALSE(AcceptsGzip(no));
  }
}

TEST_CASE("large answers are compressed where accepted", "[http][answer]") {
  std::string json = "[";
  for (int i = 0; i < 1'000; ++i) json += std::to_string(i) + ",";
  json += "0]";
  const auto form = [](std::string_view accept, size_t min_bytes = 1'000) {
    return AnswerForm{.accept_encoding = accept, .gzip_min_bytes = min_bytes};
  };
  const std::string packed = Bytes(JsonResponse(200, json), form("gzip"));
  CHECK_THAT(packed, Catch::Contains("Content-Encoding: gzip\r\n"));
  CHECK_THAT(packed, Catch::Contains("Vary: Accept-Encoding\r\n"));
  const size_t body = packed.find("\r\n\r\n") + 4;
  CHECK(Gunzip(packed.substr(body)) == json);
  CHECK_THAT(packed,
             Catch::Contains("Content-Length: " + std::to_string(packed.size() - body) + "\r\n"));
  // HEAD has the same fields.
  AnswerForm head = form("gzip");
  head.head_only = true;
  CHECK(Bytes(JsonResponse(200, json), head) == packed.substr(0, body));

  const std::string plain = Bytes(JsonResponse(200, json), form("gzip;q=0"));
  CHECK_THAT(plain, Catch::EndsWith(json) && Catch::Contains("Vary: Accept-Encoding\r\n"));
  CHECK_THAT(Bytes(JsonResponse(200, json), form("gzip", 0)), Catch::EndsWith(json));
  CHECK_THAT(Bytes(JsonResponse(200, json), form("gzip", json.size() + 1)), Catch::EndsWith(json));
  Response picture = JsonResponse(200, json);
  picture.content_type = "image/png";
  CHECK_THAT(Bytes(std::move(picture), form("gzip")), Catch::EndsWith(json));
  Response coded = JsonResponse(200, json);
  coded.headers.Add("Content-Encoding", "br");
  CHECK_THAT(Bytes(std::move(coded), form("gzip")), Catch::EndsWith(json));
  // One Vary field, whoever adds to it.
  Response varied = JsonResponse(200, json);
  varied.headers.Add("Vary", "Origin");
  CHECK_THAT(Bytes(std::move(varied), form("gzip")),
             Catch::Contains("Vary: Origin, Accept-Encoding\r\n"));
}

TEST_CASE("chunks", "[http][answer]") {
  std::string out;
  AppendChunk("", &out);
  CHECK(out.empty());
  AppendChunk(std::string(26, 'x'), &out);
  AppendLastChunk(&out);
  CHECK(out == "1a\r\n" + std::string(26, 'x') + "\r\n0\r\n\r\n");
}

}  // namespace chatchain::http
