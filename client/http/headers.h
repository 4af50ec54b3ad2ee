// SPDX-License-Identifier: MIT
// Request and answer headers of the contract, as the proxy reads and writes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "client/proxy/read_race.h"
#include "common/http/message.h"
#include "common/protocol/query.h"

namespace chatchain {

// The one value of a header that must not be repeated; 400 when it is.
Try<std::optional<std::string>> SingleHeader(const http::Headers& headers, std::string_view name);
// 422 unless ChatChain-Consistency is absent or "strict".
Try<bool> StrictConsistency(const http::Headers& headers);

// True when the Accept header names `type` with a quality above 0. Wildcards do not name it.
bool AcceptNames(const http::Headers& headers, std::string_view type);

// Percent-encodes all but RFC 3986 unreserved characters.
std::string EncodeQuery(const QueryParams& params);

// The client's answer from a node's: status, body and the headers of the contract.
http::Response AnswerFrom(ReadResult result);
// 503 that names what each node said.
http::Response Unanswered(std::string_view what, const std::vector<std::string>& failures,
                          int attempts);

}  // namespace chatchain
