// SPDX-License-Identifier: MIT
#include "common/http/message.h"

#include <strings.h>

#include <algorithm>

namespace chatchain::http {

namespace {

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

void Headers::Add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

void Headers::Set(std::string_view name, std::string value) {
  std::erase_if(fields_, [&](const auto& field) { return SameName(field.first, name); });
  Add(std::string(name), std::move(value));
}

std::optional<std::string_view> Headers::Get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (SameName(key, name)) return value;
  }
  return std::nullopt;
}

size_t Headers::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields_.begin(), fields_.end(), [&](const auto& field) {
    return SameName(field.first, name);
  }));
}

Response JsonResponse(int status, std::string json) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(json);
  return response;
}

Response ProblemResponse(const Problem& problem) {
  Response response;
  response.status = problem.status;
  response.content_type = kProblemContentType;
  response.body = ProblemJson(problem);
  for (const auto& [name, value] : problem.headers) response.headers.Add(name, value);
  if (problem.retry_after_s > 0) {
    response.headers.Set("Retry-After", std::to_string(problem.retry_after_s));
  }
  return response;
}

Response FailedResponse() {
  return ProblemResponse(MakeProblem(500, "", "the request could not be handled"));
}

}  // namespace chatchain::http
