// SPDX-License-Identifier: MIT
#include "client/proxy/batch_answer.h"

#include <charconv>

#include "client/proxy/json_slice.h"
#include "client/proxy/upstream.h"

namespace chatchain {

namespace {

// One entry of "results"; nothing when it has not that form.
bool ParseItem(std::string_view entry, ItemReport* report) {
  std::string_view message;
  std::string_view problem;
  int status = 0;
  const bool whole = VisitJsonMembers(entry, [&](std::string_view name, std::string_view value) {
    if (name == "status") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), status);
      return error == std::errc() && end == value.data() + value.size();
    }
    if (name == "message") message = value;
    if (name == "problem") problem = value;
    return true;
  });
  const bool good = status >= 200 && status < 300;
  const std::string_view body = good ? message : problem;
  if (!whole || status < 200 || status > 599 || body.empty() || body.front() != '{') return false;
  AnswerFacts facts{.status = status};
  if (status == 422) {
    const auto type = JsonMember(problem, "type");
    facts.key_reused = type && PlainJsonString(*type) == kKeyReusedType;
  }
  *report = {.status = status, .body = body, .verdict = Judge(facts)};
  return true;
}

}  // namespace

std::optional<std::vector<ItemReport>> ParseBatchAnswer(std::string_view body, size_t expected) {
  std::vector<ItemReport> items;
  items.reserve(expected);
  bool sound = true;
  const bool whole = VisitJsonMembers(body, [&](std::string_view name, std::string_view value) {
    if (name != "results") return true;
    sound = VisitJsonElements(value, [&](std::string_view entry) {
      return items.size() < expected && ParseItem(entry, &items.emplace_back());
    });
    return sound;
  });
  if (!whole || !sound || items.size() != expected) return std::nullopt;
  return items;
}

int CopiesOf(std::string_view message) {
  const auto value = JsonMember(message, "copies");
  int copies = 0;
  if (!value) return 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), copies);
  return error == std::errc() && end == value->data() + value->size() ? copies : 0;
}

std::string WithCopies(std::string_view message, int copies) {
  std::string out = "{";
  VisitJsonMembers(message, [&](std::string_view name, std::string_view value) {
    if (name == "copies") return true;
    out.append("\"").append(name).append("\":").append(value).append(",");
    return true;
  });
  return out + "\"copies\":" + std::to_string(copies) + "}";
}

}  // namespace chatchain
