// SPDX-License-Identifier: MIT
// Request and answer headers of the contract, as the proxy reads and writes them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/proxy/read_race.h"
#include "common/http/message.h"
#include "common/protocol/query.h"

namespace chatchain {

// 422 unless ChatChain-Consistency is absent or "strict".
Try<bool> StrictConsistency(const http::Request& request);
// ChatChain-Session as text, not decoded. An empty one is there, and no token.
Try<std::optional<std::string>> SessionText(const http::Request& request);

// Percent-encodes all but RFC 3986 unreserved characters.
std::string EncodeQuery(const QueryParams& params);

// The client's answer from a node's: status, body and the headers of the contract.
http::Response AnswerFrom(ReadResult result);
// 503 that names what each node said.
http::Response Unanswered(std::string_view what, const std::vector<std::string>& failures,
                          int attempts);

}  // namespace chatchain
