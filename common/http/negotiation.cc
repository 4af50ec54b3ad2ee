// SPDX-License-Identifier: MIT
#include "common/http/negotiation.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>

namespace chatchain::http {

namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view TakeUntil(std::string_view* text, char end) {
  const size_t at = text->find(end);
  const std::string_view part = text->substr(0, at);
  text->remove_prefix(at == std::string_view::npos ? text->size() : at + 1);
  return Trim(part);
}

bool SameWord(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// RFC 9110 section 12.4.2: a weight of 0 means "not acceptable".
bool IsZeroWeight(std::string_view parameters) {
  while (!parameters.empty()) {
    std::string_view parameter = TakeUntil(&parameters, ';');
    const std::string_view name = TakeUntil(&parameter, '=');
    if (!SameWord(name, "q")) continue;
    return !parameter.empty() && parameter.find_first_not_of("0.") == std::string_view::npos;
  }
  return false;
}

enum class Match { kNone, kAny, kFamily, kExact };

// How the Accept header speaks of a type: its most specific range decides (RFC 9110
// section 12.5.1).
std::pair<Match, bool> FindRange(const Request& request, std::string_view type) {
  const std::string_view family = type.substr(0, type.find('/'));
  Match best = Match::kNone;
  bool allowed = false;
  for (const auto& [name, value] : request.headers.all()) {
    if (!SameWord(name, "Accept")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::string_view parameters = TakeUntil(&rest, ',');
      const std::string_view range = TakeUntil(&parameters, ';');
      Match match = Match::kNone;
      if (SameWord(range, type)) {
        match = Match::kExact;
      } else if (range.size() == family.size() + 2 &&
                 SameWord(range.substr(0, family.size()), family) &&
                 range.substr(family.size()) == "/*") {
        match = Match::kFamily;
      } else if (range == "*/*") {
        match = Match::kAny;
      }
      if (match == Match::kNone || match < best) continue;
      best = match;
      allowed = !IsZeroWeight(parameters);
    }
  }
  return {best, allowed};
}

}  // namespace

Try<std::optional<std::string_view>> SingleHeader(const Request& request, std::string_view name) {
  if (request.headers.Count(name) > 1) return Err(Invalid(name, "must not be given twice"));
  return request.headers.Get(name);
}

bool Accepts(const Request& request, std::string_view type) {
  if (request.headers.Count("Accept") == 0) return true;
  return FindRange(request, type).second;
}

bool AcceptsByName(const Request& request, std::string_view type) {
  const auto [match, allowed] = FindRange(request, type);
  return match == Match::kExact && allowed;
}

Problem NotAcceptable(std::string_view offered) {
  return MakeProblem(406, "", "Accept: this resource is offered as " + std::string(offered));
}

std::optional<Problem> ApplyDeadlineHeader(Request& request, SteadyTime now) {
  const auto header = SingleHeader(request, "ChatChain-Deadline-Ms");
  if (!header) return header.error();
  if (!*header) return std::nullopt;
  int64_t left_ms = 0;
  const std::string_view text = **header;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), left_ms);
  if (error != std::errc() || end != text.data() + text.size() || left_ms < 0 ||
      left_ms > 3'600'000) {
    return Invalid("ChatChain-Deadline-Ms", "must be whole milliseconds from 0 to 3600000");
  }
  request.deadline = std::min(request.deadline, now + std::chrono::milliseconds(left_ms));
  return std::nullopt;
}

}  // namespace chatchain::http
