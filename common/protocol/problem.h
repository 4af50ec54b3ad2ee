// SPDX-License-Identifier: MIT
// Problem: an error as the API tells it, RFC 9457 `application/problem+json`.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/util/result.h"

namespace chatchain {

struct FieldError {
  std::string field;
  std::string reason;
};

struct Problem {
  int status = 500;
  // Last path segment of `type`, e.g. "key-reused"; "about:blank" is given where it is empty.
  std::string type;
  std::string title;   // empty: the reason phrase of `status`
  std::string detail;  // one sentence for the reader: which field, which rule, what to do
  std::vector<FieldError> errors;
  // Answer headers that belong to it: Retry-After, Allow.
  std::vector<std::pair<std::string, std::string>> headers;
  int retry_after_s = 0;  // > 0: Retry-After
};

template <typename T>
using Try = Result<T, Problem>;

Problem BadRequest(std::string detail);                                 // 400
Problem Invalid(std::string_view field, std::string_view reason);       // 422 with `errors`
Problem Unavailable(std::string detail, int retry_after_s = 1);         // 503 with Retry-After
Problem MakeProblem(int status, std::string type, std::string detail);  // any other

// What a client sent, as an error may repeat it: in quotes, a long one cut.
std::string Quoted(std::string_view text);

// "Not Found" for 404; "Unknown" for codes without a phrase.
std::string_view ReasonPhrase(int status);

// The JSON text. Bytes that are not UTF-8 in `detail` are replaced.
std::string ProblemJson(const Problem& problem);

inline constexpr std::string_view kProblemContentType = "application/problem+json";

}  // namespace chatchain
