// SPDX-License-Identifier: MIT
#include "common/feed/poll.h"

#include "common/feed/sse.h"
#include "common/http/router.h"
#include "common/protocol/hlc.h"

namespace chatchain::feed {

std::string FilterParams(const Filter& filter) {
  std::string params;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty())
      params.append("&").append(name).append("=").append(http::PercentEncode(value));
  };
  add("sender", filter.sender);
  add("recipient", filter.recipient);
  add("room", filter.room);
  for (const std::string& participant : filter.participants) add("participant", participant);
  if (filter.since_ms) add("since", FormatTime(*filter.since_ms));
  if (filter.until_ms) add("until", FormatTime(*filter.until_ms));
  return params;
}

std::string PollTarget(const std::optional<std::string>& after, const Filter& filter, size_t limit,
                       int64_t wait_ms) {
  std::string target =
      "/messages/poll?limit=" + std::to_string(limit) + "&wait_ms=" + std::to_string(wait_ms);
  if (after) target += "&after=" + http::PercentEncode(*after);
  return target + FilterParams(filter);
}

http::Response PollResponse(const Polled& polled, bool as_blocks) {
  std::string body;
  if (as_blocks) {
    if (polled.gap) body += GapBlock();
    if (polled.behind) body += StatusBlock(true);
    for (const EventPtr& event : polled.events) body += event->sse;
    http::Response response;
    response.content_type = kEventStreamType;
    response.body = std::move(body) + TokenBlock(polled.token);
    return response;
  }
  body = "{\"messages\":[";
  for (const EventPtr& event : polled.events) {
    if (body.back() != '[') body += ',';
    body += event->json;
  }
  body += "],\"after\":\"" + polled.token + "\"";
  if (polled.gap) body += ",\"gap\":true";
  if (polled.behind) body += ",\"behind\":true";
  return http::JsonResponse(200, body + "}");
}

std::optional<PollPage> ParsePollPage(std::string_view blocks) {
  PollPage page;
  std::string_view id;
  std::string_view event;
  std::string_view data;
  while (!blocks.empty()) {
    const size_t end = blocks.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = blocks.substr(0, end);
    blocks.remove_prefix(end + 1);
    if (line.starts_with("id: ")) id = line.substr(4);
    if (line.starts_with("event: ")) event = line.substr(7);
    if (line.starts_with("data: ")) data = line.substr(6);
    if (!line.empty()) continue;
    if (event == "message") {
      if (id.empty() || data.empty()) return std::nullopt;
      page.messages.push_back({std::string(id), std::string(data)});
    } else if (event == "gap") {
      page.gap = true;
    } else if (event == "status") {
      page.behind = data.find("true") != std::string_view::npos;
    } else {
      page.token = std::string(id);
    }
    id = event = data = {};
  }
  // The bare id at the end says that the page is whole.
  if (page.token.empty()) return std::nullopt;
  return page;
}

}  // namespace chatchain::feed
