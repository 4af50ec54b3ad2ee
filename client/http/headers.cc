// SPDX-License-Identifier: MIT
#include "client/http/headers.h"

#include <strings.h>

#include <algorithm>
#include <array>

#include "common/http/negotiation.h"

namespace chatchain {

namespace {

bool EqualNoCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// What a client may see of a node's answer. Connection-level fields are the server's own business.
bool IsHandedOn(std::string_view name) {
  constexpr std::string_view kPrefix = "ChatChain-";
  constexpr std::array<std::string_view, 8> kNames = {
      "Location", "Link", "Idempotent-Replayed", "Retry-After", "Cache-Control", "ETag",
      "Vary",     "Allow"};
  if (EqualNoCase(name.substr(0, kPrefix.size()), kPrefix)) return true;
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](std::string_view known) { return EqualNoCase(name, known); });
}

}  // namespace

Try<bool> StrictConsistency(const http::Request& request) {
  const auto value = http::SingleHeader(request, "ChatChain-Consistency");
  if (!value) return Err(value.error());
  if (!*value) return false;
  if (**value != "strict")
    return Err(Invalid("ChatChain-Consistency", "must be strict, or absent"));
  return true;
}

Try<std::optional<std::string>> SessionText(const http::Request& request) {
  const auto value = http::SingleHeader(request, "ChatChain-Session");
  if (!value) return Err(value.error());
  if (!*value) return std::optional<std::string>();
  return std::optional<std::string>(**value);
}

std::string EncodeQuery(const QueryParams& params) {
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  const auto append = [&](std::string_view text) {
    for (const char c : text) {
      if (kUnreserved.find(c) != std::string_view::npos) {
        out.push_back(c);
      } else {
        out.push_back('%');
        out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
        out.push_back(kHex[static_cast<unsigned char>(c) & 15]);
      }
    }
  };
  for (const auto& [name, value] : params) {
    if (!out.empty()) out.push_back('&');
    append(name);
    out.push_back('=');
    append(value);
  }
  return out;
}

http::Response AnswerFrom(ReadResult result) {
  http::Response response;
  response.status = result.response.status;
  response.content_type = std::string(result.response.headers.Get("Content-Type").value_or(""));
  for (const auto& [name, value] : result.response.headers.all()) {
    if (IsHandedOn(name)) response.headers.Add(name, value);
  }
  response.headers.Set("ChatChain-Attempts", std::to_string(result.attempts));
  response.body = std::move(result.response.body);
  return response;
}

http::Response Unanswered(std::string_view what, const std::vector<std::string>& failures,
                          int attempts) {
  std::string detail(what);
  // Several rounds may have met the same failure.
  std::vector<std::string_view> said;
  for (const std::string& failure : failures) {
    if (std::find(said.begin(), said.end(), failure) != said.end()) continue;
    detail.append(said.empty() ? ": " : "; ").append(failure);
    said.emplace_back(failure);
  }
  http::Response response = http::ProblemResponse(Unavailable(std::move(detail)));
  response.headers.Set("ChatChain-Attempts", std::to_string(attempts));
  return response;
}

}  // namespace chatchain
