// SPDX-License-Identifier: MIT
// GET /messages/poll, from both sides: what is asked for, and the page that answers, as JSON or in
// the form of an event stream, which tells the token after each message. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/feed/event.h"
#include "common/http/message.h"
#include "common/protocol/query.h"

namespace chatchain::feed {

// The filters as parameters of a query, each with `&` in front.
std::string FilterParams(const Filter& filter);

// `after`: a feed token or "begin"; none: from now.
std::string PollTarget(const std::optional<std::string>& after, const Filter& filter, size_t limit,
                       int64_t wait_ms);

// What a poll was given.
struct Polled {
  std::vector<EventPtr> events;
  std::string token;  // after them
  bool behind = false;
  bool gap = false;
};
http::Response PollResponse(const Polled& polled, bool as_blocks);

// The second form, read again.
struct PollPage {
  struct Message {
    std::string token;  // the position after it
    std::string json;   // the message object, one line
  };
  std::vector<Message> messages;
  std::string token;  // the position after the page
  bool behind = false;
  bool gap = false;
};
// None: it is no such page, whole.
std::optional<PollPage> ParsePollPage(std::string_view blocks);

}  // namespace chatchain::feed
