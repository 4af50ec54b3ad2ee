// SPDX-License-Identifier: MIT
// GET /messages as NDJSON: walks the pages by their cursors, through whichever nodes answer, and
// gives one message a line. Holds one page at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "client/proxy/proxy.h"
#include "common/http/message.h"
#include "common/protocol/query.h"

namespace chatchain {

struct LinesRequest {
  QueryParams params;           // as the client gave them
  std::optional<size_t> limit;  // lines; none: all
  http::Headers headers;        // what is handed on to the nodes
  std::string session;
  int page_timeout_ms = 0;
};

// The first page is fetched before this returns, so what is wrong with the request is an ordinary
// answer. `proxy` and `clock` must outlive the response.
http::Response ListLines(Proxy& proxy, const Clock& clock, LinesRequest request);

}  // namespace chatchain
