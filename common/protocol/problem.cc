// SPDX-License-Identifier: MIT
#include "common/protocol/problem.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace chatchain {

Problem BadRequest(std::string detail) {
  return Problem{.status = 400, .detail = std::move(detail)};
}

Problem Invalid(std::string_view field, std::string_view reason) {
  Problem problem{.status = 422, .type = "invalid"};
  problem.detail = std::string(field) + ": " + std::string(reason);
  problem.errors.push_back({std::string(field), std::string(reason)});
  return problem;
}

Problem Unavailable(std::string detail, int retry_after_s) {
  return Problem{.status = 503, .detail = std::move(detail), .retry_after_s = retry_after_s};
}

Problem MakeProblem(int status, std::string type, std::string detail) {
  return Problem{.status = status, .type = std::move(type), .detail = std::move(detail)};
}

std::string Quoted(std::string_view text) {
  constexpr size_t kShownBytes = 64;
  std::string out = "\"";
  size_t cut = std::min(text.size(), kShownBytes);
  // Not within a character.
  while (cut < text.size() && cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80)
    --cut;
  out += text.substr(0, cut);
  out += cut < text.size() ? "...\"" : "\"";
  return out;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

std::string ProblemJson(const Problem& problem) {
  nlohmann::ordered_json json;
  json["type"] = problem.type.empty() ? "about:blank" : "urn:chatchain:problem:" + problem.type;
  json["title"] = problem.title.empty() ? std::string(ReasonPhrase(problem.status)) : problem.title;
  json["status"] = problem.status;
  json["detail"] = problem.detail;
  if (!problem.errors.empty()) {
    for (const FieldError& error : problem.errors) {
      json["errors"].push_back({{"field", error.field}, {"reason", error.reason}});
    }
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace chatchain
