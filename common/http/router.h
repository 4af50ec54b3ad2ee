// SPDX-License-Identifier: MIT
// The table of public routes and what follows from it as soon as a request's head is there: which
// handler, or a final answer (404, 405 with Allow, 415, OPTIONS, CORS preflight). Immutable after
// construction, hence thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/http/framing.h"
#include "common/http/message.h"
#include "common/http/server.h"

namespace chatchain::http {

// All but unreserved characters of RFC 3986 as %XX.
std::string PercentEncode(std::string_view text);
// "%41" -> "A"; with `plus_is_space` also "+" -> " ". None for a bad escape or an encoded NUL.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space);
// "a=1&b" -> {a,1},{b,}. Empty parts are skipped. None as above.
std::optional<QueryParams> DecodeQuery(std::string_view query);

class Router {
 public:
  Router(std::vector<Route> routes, std::vector<std::string> cors_origins);

  struct Decision {
    const Route* route = nullptr;  // run this one; null: `answer` is final
    Response answer;
  };
  // Fills `*request` but for its body, addresses and deadline. Of several patterns that match a
  // path the one with literals further left wins, whatever the method.
  Decision Decide(const RequestHead& head, Request* request) const;

  // The CORS fields of an actual (not preflight) answer; nothing where CORS is not configured.
  void AddCors(std::optional<std::string_view> origin, Response* response) const;

 private:
  struct Segment {
    std::string text;  // a literal, or the name of a parameter
    bool parameter = false;
  };
  struct Resource {  // all routes of one pattern
    std::vector<Segment> segments;
    std::vector<Route> routes;
    std::string allow;
  };

  const Resource* FindResource(const std::vector<std::string>& segments) const;
  Response Options(const RequestHead& head, const std::string& allow) const;
  bool OriginAllowed(std::string_view origin) const;

  std::vector<Resource> resources_;  // more specific ones first
  std::string allow_all_;            // for OPTIONS *
  std::vector<std::string> cors_origins_;
  bool any_origin_ = false;
};

}  // namespace chatchain::http
