// SPDX-License-Identifier: MIT
#include "common/feed/query.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "common/http/negotiation.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"

namespace chatchain::feed {

namespace {

std::optional<int64_t> ParseWhole(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Takes `after` and what `poll` has beyond the filters; the rest is as for a list.
Try<FeedRequest> Parse(const QueryParams& params, bool poll) {
  FeedRequest feed;
  feed.limit = limits::kPageDefaultMessages;
  QueryParams rest;
  bool has_wait = false;
  for (const auto& [name, value] : params) {
    if (name == "after") {
      if (feed.after) return Err(BadRequest("the query parameter \"after\" is given twice"));
      feed.after = value;
    } else if (name == "wait_ms" && poll) {
      if (has_wait) return Err(BadRequest("the query parameter \"wait_ms\" is given twice"));
      has_wait = true;
      const auto wait_ms = ParseWhole(value);
      if (!wait_ms || *wait_ms < 0 || *wait_ms > limits::kFeedWaitMax_ms) {
        return Err(Invalid(name, "must be a whole number from 0 to 30000"));
      }
      feed.wait_ms = *wait_ms;
    } else if (name == "order" || name == "cursor" || (name == "limit" && !poll)) {
      return Err(BadRequest("unknown query parameter " + Quoted(name) +
                            "; known: after, sender, recipient, room, participant, since, until" +
                            (poll ? ", limit, wait_ms" : "")));
    } else {
      rest.emplace_back(name, value);
    }
  }
  auto list = ParseListQuery(rest);
  if (!list) return Err(std::move(list.error()));
  feed.filter = std::move(list->filter);
  if (list->limit) feed.limit = *list->limit;
  return feed;
}

}  // namespace

Try<FeedRequest> ParsePoll(const http::Request& request) {
  return Parse(request.query, true);
}

Try<FeedRequest> ParseStream(const http::Request& request) {
  auto feed = Parse(request.query, false);
  if (!feed) return feed;
  const auto last = http::SingleHeader(request, "Last-Event-ID");
  if (!last) return Err(last.error());
  // A browser that has seen no id yet sends none, or an empty one.
  if (*last && !(*last)->empty()) feed->after = std::string(**last);
  return feed;
}

Try<FeedRequest> ParseSubscribe(const nlohmann::json& op) {
  QueryParams params;
  for (const auto& [name, value] : op.items()) {
    if (name == "op") continue;
    const auto add = [&, key = name](const nlohmann::json& one) {
      if (one.is_string()) {
        params.emplace_back(key, one.get<std::string>());
        return true;
      }
      const bool time = key == "since" || key == "until";
      if (time && one.is_number_integer()) params.emplace_back(key, one.dump());
      return time && one.is_number_integer();
    };
    bool taken = true;
    if (name == "participant" && value.is_array() && !value.empty()) {
      for (const auto& one : value) taken = taken && add(one);
    } else {
      taken = add(value);
    }
    if (!taken) return Err(Invalid(name, "must be a string"));
  }
  return Parse(params, false);
}

}  // namespace chatchain::feed
