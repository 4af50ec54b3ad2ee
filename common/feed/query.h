// SPDX-License-Identifier: MIT
// What a client asks of the feed, in each of its three forms. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "common/http/message.h"
#include "common/protocol/query.h"

namespace chatchain::feed {

struct FeedRequest {
  Filter filter;
  std::optional<std::string> after;  // a token or "begin"; none: from now
  size_t limit = 0;                  // of a poll
  int64_t wait_ms = 0;               // of a poll
};

// The parameters of GET /messages/poll and, without `limit` and `wait_ms`, of GET /messages/stream,
// where Last-Event-ID beats `after`. Errors as for GET /messages.
Try<FeedRequest> ParsePoll(const http::Request& request);
Try<FeedRequest> ParseStream(const http::Request& request);
// `{"op":"subscribe", ...}`: the same names; `participant` may be a list.
Try<FeedRequest> ParseSubscribe(const nlohmann::json& op);

}  // namespace chatchain::feed
