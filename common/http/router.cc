// SPDX-License-Identifier: MIT
#include "common/http/router.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <set>
#include <utility>

namespace chatchain::http {

namespace {

constexpr std::string_view kExposedHeaders =
    "ChatChain-Node, ChatChain-Attempts, ChatChain-Session, ChatChain-Stale, ChatChain-Lost, "
    "Location, "
    "Link, Retry-After, Idempotent-Replayed";
constexpr std::string_view kDefaultAllowedHeaders =
    "Content-Type, Accept, Idempotency-Key, Last-Event-ID, ChatChain-Session, "
    "ChatChain-Consistency, "
    "ChatChain-Acks";
constexpr std::string_view kPreflightMaxAgeS = "600";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "/a/b" -> {"a","b"}, "/" -> {""}, "//" -> {"",""}; each still encoded.
std::vector<std::string_view> SplitPath(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool IsTokenList(std::string_view text) {
  while (true) {
    const size_t comma = text.find(',');
    if (!IsToken(Trim(text.substr(0, comma)))) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

// application/json, with at most a charset parameter that says utf-8.
bool IsJson(std::string_view content_type) {
  const size_t semicolon = content_type.find(';');
  if (!EqualNoCase(Trim(content_type.substr(0, semicolon)), "application/json")) return false;
  if (semicolon == std::string_view::npos) return true;
  const std::string_view parameter = Trim(content_type.substr(semicolon + 1));
  const size_t equals = parameter.find('=');
  if (parameter.empty()) return true;
  if (equals == std::string_view::npos || !EqualNoCase(parameter.substr(0, equals), "charset")) {
    return false;
  }
  std::string_view value = parameter.substr(equals + 1);
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  return EqualNoCase(value, "utf-8");
}

std::string Join(const std::set<std::string>& names) {
  std::string joined;
  for (const std::string& name : names) {
    if (!joined.empty()) joined += ", ";
    joined += name;
  }
  return joined;
}

std::set<std::string> MethodsOf(const std::vector<Route>& routes) {
  std::set<std::string> methods = {"OPTIONS"};
  for (const Route& route : routes) {
    methods.insert(route.method);
    if (route.method == "GET") methods.insert("HEAD");
  }
  return methods;
}

Response Refusal(int status, std::string detail) {
  return ProblemResponse(MakeProblem(status, "", std::move(detail)));
}

}  // namespace

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' && plus_is_space ? ' ' : text[i];
    }
  }
  return out;
}

std::optional<QueryParams> DecodeQuery(std::string_view query) {
  QueryParams params;
  while (!query.empty()) {
    const size_t ampersand = query.find('&');
    const std::string_view part = query.substr(0, ampersand);
    query.remove_prefix(ampersand == std::string_view::npos ? query.size() : ampersand + 1);
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    auto name = PercentDecode(part.substr(0, equals), true);
    auto value = PercentDecode(
        equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    params.emplace_back(std::move(*name), std::move(*value));
  }
  return params;
}

Router::Router(std::vector<Route> routes, std::vector<std::string> cors_origins)
    : cors_origins_(std::move(cors_origins)) {
  any_origin_ = std::find(cors_origins_.begin(), cors_origins_.end(), "*") != cors_origins_.end();
  allow_all_ = Join(MethodsOf(routes));
  std::set<std::string> patterns;
  for (const Route& route : routes) patterns.insert(route.pattern);
  for (const std::string& pattern : patterns) {
    assert(pattern.starts_with('/'));
    Resource resource;
    for (std::string_view text : SplitPath(pattern)) {
      const bool parameter = text.size() > 2 && text.front() == '{' && text.back() == '}';
      if (parameter) text = text.substr(1, text.size() - 2);
      resource.segments.push_back({std::string(text), parameter});
    }
    for (Route& route : routes) {
      if (route.pattern == pattern) resource.routes.push_back(std::move(route));
    }
    std::erase_if(routes, [](const Route& route) { return !route.handler; });  // the moved ones
    resource.allow = Join(MethodsOf(resource.routes));
    resources_.push_back(std::move(resource));
  }
  // Literals before parameters, from the left.
  std::stable_sort(resources_.begin(), resources_.end(), [](const Resource& a, const Resource& b) {
    return std::lexicographical_compare(
        a.segments.begin(), a.segments.end(), b.segments.begin(), b.segments.end(),
        [](const Segment& x, const Segment& y) { return !x.parameter && y.parameter; });
  });
}

const Router::Resource* Router::FindResource(const std::vector<std::string>& segments) const {
  for (const Resource& resource : resources_) {
    if (std::equal(resource.segments.begin(), resource.segments.end(), segments.begin(),
                   segments.end(), [](const Segment& pattern, const std::string& text) {
                     return pattern.parameter ? !text.empty() : pattern.text == text;
                   })) {
      return &resource;
    }
  }
  return nullptr;
}

Router::Decision Router::Decide(const RequestHead& head, Request* request) const {
  Decision decision;
  if (head.path == "*") {
    decision.answer = Options(head, allow_all_);
    return decision;
  }
  // Segments are split before they are decoded: an encoded slash is part of a segment.
  std::vector<std::string> segments;
  for (std::string_view raw : SplitPath(head.path)) {
    auto segment = PercentDecode(raw, false);
    if (!segment) {
      decision.answer = Refusal(400, "the path has a bad percent-encoding");
      return decision;
    }
    segments.push_back(std::move(*segment));
  }
  auto query = DecodeQuery(head.query);
  if (!query) {
    decision.answer = Refusal(400, "the query has a bad percent-encoding");
    return decision;
  }
  const Resource* resource = FindResource(segments);
  if (resource == nullptr) {
    decision.answer = Refusal(404, "there is nothing at this path");
    return decision;
  }
  const Route* route = nullptr;
  const std::string_view method = head.method == "HEAD" ? std::string_view("GET") : head.method;
  for (const Route& candidate : resource->routes) {
    if (candidate.method == method) route = &candidate;
  }
  if (route == nullptr && head.method == "OPTIONS") {
    decision.answer = Options(head, resource->allow);
    return decision;
  }
  if (route == nullptr) {
    decision.answer = Refusal(405, "this path knows the methods " + resource->allow);
    decision.answer.headers.Set("Allow", resource->allow);
    return decision;
  }
  if (head.content_length.value_or(0) > route->max_body_bytes) {
    decision.answer =
        Refusal(413, "the body is longer than " + std::to_string(route->max_body_bytes) + " bytes");
    return decision;
  }
  if (route->json_body) {
    size_t types = 0;
    bool json = false;
    for (const FieldView& field : head.fields) {
      if (!EqualNoCase(field.name, "content-type")) continue;
      ++types;
      json = IsJson(field.value);
    }
    if (types != 1 || !json) {
      decision.answer = Refusal(415, "the body must be sent with Content-Type: application/json");
      return decision;
    }
  }
  decision.route = route;
  request->method = method;
  if (head.target.starts_with('/')) {
    request->target = head.target;
  } else {  // a whole URL: of this server's address nobody behind it knows
    request->target = head.path;
    if (!head.query.empty()) request->target.append("?").append(head.query);
  }
  for (const std::string& segment : segments) (request->path += '/') += segment;
  request->query = std::move(*query);
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& pattern = resource->segments[i];
    if (pattern.parameter) request->path_params[pattern.text] = std::move(segments[i]);
  }
  request->headers.Reserve(head.fields.size());
  for (const FieldView& field : head.fields) {
    request->headers.Add(std::string(field.name), std::string(field.value));
  }
  return decision;
}

bool Router::OriginAllowed(std::string_view origin) const {
  return any_origin_ ||
         std::find(cors_origins_.begin(), cors_origins_.end(), origin) != cors_origins_.end();
}

Response Router::Options(const RequestHead& head, const std::string& allow) const {
  Response response;
  response.status = 204;
  response.headers.Add("Allow", allow);
  const auto origin = head.Get("Origin");
  if (origin && OriginAllowed(*origin) && head.Get("Access-Control-Request-Method")) {
    const auto wanted = head.Get("Access-Control-Request-Headers");
    response.headers.Add("Access-Control-Allow-Methods", allow);
    response.headers.Add(
        "Access-Control-Allow-Headers",
        std::string(wanted && IsTokenList(*wanted) ? *wanted : kDefaultAllowedHeaders));
    response.headers.Add("Access-Control-Max-Age", std::string(kPreflightMaxAgeS));
  }
  return response;
}

void Router::AddCors(std::optional<std::string_view> origin, Response* response) const {
  if (cors_origins_.empty()) return;
  response->headers.Add("Vary", "Origin");
  if (!origin || !OriginAllowed(*origin)) return;
  response->headers.Set("Access-Control-Allow-Origin", std::string(any_origin_ ? "*" : *origin));
  response->headers.Set("Access-Control-Expose-Headers", std::string(kExposedHeaders));
}

}  // namespace chatchain::http
