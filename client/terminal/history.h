// SPDX-License-Identifier: MIT
// Walks over history, page by page. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/terminal/messages.h"
#include "client/terminal/server.h"
#include "common/protocol/query.h"

namespace chatchain::terminal {

struct Walk {
  Filter filter;
  bool descending = false;
  std::optional<uint64_t> limit;  // none: all
  std::string cursor;             // empty: from the beginning, or the end
};

// Where a walk ended.
struct WalkEnd {
  std::string next;   // a cursor; empty: there was nothing more
  std::string after;  // then: the feed token
};

using TakePage = std::function<Result<void, Failure>(std::vector<ReadMessage> page)>;
// Holds one page at a time, of at most 100 messages. `tries` is renewed for each page: it bounds a
// wait, not the walk.
Result<WalkEnd, Failure> WalkHistory(Server& server, const Walk& walk,
                                     const std::function<Server::Tries()>& tries,
                                     const TakePage& take);

// The last `count` messages, oldest first.
Result<std::vector<ReadMessage>, Failure> LatestMessages(
    Server& server, const Filter& filter, uint64_t count,
    const std::function<Server::Tries()>& tries);

}  // namespace chatchain::terminal
