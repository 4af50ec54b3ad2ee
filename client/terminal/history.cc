// SPDX-License-Identifier: MIT
#include "client/terminal/history.h"

#include <algorithm>

#include "client/proxy/json_slice.h"
#include "client/terminal/options.h"
#include "common/feed/poll.h"
#include "common/http/router.h"

namespace chatchain::terminal {

namespace {

// 100 texts of the longest kind, every byte of them escaped, are less than the client takes.
constexpr uint64_t kPageMessages = 100;

Failure NotWhole(const Server& server) {
  return {kExitFailed, server.url() + " gave what is no page of messages; is it ChatChain?"};
}

}  // namespace

Result<WalkEnd, Failure> WalkHistory(Server& server, const Walk& walk,
                                     const std::function<Server::Tries()>& tries,
                                     const TakePage& take) {
  WalkEnd end{.next = walk.cursor, .after = ""};
  uint64_t left = walk.limit.value_or(UINT64_MAX);
  do {
    const uint64_t most = std::min(left, kPageMessages);
    http::ClientRequest request;
    request.target = "/messages?limit=" + std::to_string(most) +
                     (walk.descending ? "&order=desc" : "&order=asc") +
                     feed::FilterParams(walk.filter);
    if (!end.next.empty()) request.target += "&cursor=" + http::PercentEncode(end.next);
    const auto answer = server.Ask(request, tries());
    if (!answer) return Err(answer.error());

    const auto slices = SlicePage(answer->body);
    if (!slices) return Err(NotWhole(server));
    std::vector<ReadMessage> page;
    const bool whole = VisitJsonElements(slices->messages, [&](std::string_view json) {
      auto message = ParseMessage(json);
      if (!message || page.size() == most) return false;
      page.push_back(std::move(*message));
      return true;
    });
    end.next = slices->next.value_or("");
    if (!slices->next) {
      const auto after = JsonMember(answer->body, "after");
      const auto token = after ? PlainJsonString(*after) : std::nullopt;
      if (!token) return Err(NotWhole(server));
      end.after = *token;
    }
    if (!whole || (page.empty() && slices->next)) return Err(NotWhole(server));
    left -= page.size();
    if (auto taken = take(std::move(page)); !taken) return Err(taken.error());
  } while (left > 0 && !end.next.empty());
  return end;
}

Result<std::vector<ReadMessage>, Failure> LatestMessages(
    Server& server, const Filter& filter, uint64_t count,
    const std::function<Server::Tries()>& tries) {
  std::vector<ReadMessage> messages;
  const auto walked =
      WalkHistory(server, {.filter = filter, .descending = true, .limit = count, .cursor = ""},
                  tries, [&](std::vector<ReadMessage> page) -> Result<void, Failure> {
                    std::move(page.begin(), page.end(), std::back_inserter(messages));
                    return {};
                  });
  if (!walked) return Err(walked.error());
  std::reverse(messages.begin(), messages.end());
  return messages;
}

}  // namespace chatchain::terminal
