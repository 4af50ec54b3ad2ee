// SPDX-License-Identifier: MIT
// A Response as bytes: status line, fields, body; gzip where it was asked for and pays. No handler
// can split an answer: names and values that could are cleaned here, the one place where all pass.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/message.h"

namespace chatchain::http {

// What the request, and the state of its connection, mean for the form of the answer.
struct AnswerForm {
  bool head_only = false;  // HEAD: the same fields, no body
  bool http_1_0 = false;
  bool close = false;  // say Connection: close
  // The Accept-Encoding of the request; none: no gzip.
  std::optional<std::string_view> accept_encoding;
  size_t gzip_min_bytes = 0;  // 0: never
};

// Whether an Accept-Encoding value admits gzip (q=0 does not).
bool AcceptsGzip(std::string_view accept_encoding);

// The gzip form of `data`, made quickly rather than small; empty where it could not be made.
std::string Gzip(std::string_view data);

// Appends the answer to `*out`. Where `response` has a source only the head is appended, and parts
// follow through AppendChunk() (HTTP/1.0: as they are, until the end of the connection).
void AppendAnswer(Response* response, const AnswerForm& form, std::string* out);
void AppendChunk(std::string_view part, std::string* out);
void AppendLastChunk(std::string* out);

}  // namespace chatchain::http
