// SPDX-License-Identifier: MIT
#include "node/http/feed_routes.h"

#include <algorithm>
#include <utility>

#include "common/feed/sse.h"
#include "common/http/negotiation.h"
#include "common/protocol/json.h"
#include "node/http/cursor.h"

namespace chatchain {

namespace {

using http::Request;
using http::Response;
using std::chrono::milliseconds;

constexpr std::string_view kJsonType = "application/json";
constexpr size_t kPollBytes = 1 << 20;  // of texts in one answer, roughly

}  // namespace

FeedRoutes::FeedRoutes(Options options, Feed& feed, FeedDriver& driver,
                       Conversations& conversations, NodeApi& api, const Clock& clock)
    : options_(std::move(options)),
      tokens_(options_.cluster),
      feed_(feed),
      driver_(driver),
      conversations_(conversations),
      api_(api),
      clock_(clock),
      polls_(options_.max_waiting_polls),
      backend_{.subscribe = [this](const feed::FeedRequest& request) { return Subscribe(request); },
               .send = api.SendHandler(),
               .request_timeout_ms = options_.request_timeout_ms} {}

void FeedRoutes::Start(http::Server& server) {
  polls_.Start([&server](std::function<void()> work) { server.PostToLive(std::move(work)); },
               [&server](SteadyTime at, std::function<void()> work) {
                 server.PostToLiveAt(at, std::move(work));
               });
}

void FeedRoutes::set_draining() {
  draining_.store(true);
  polls_.Drain();
}

std::vector<http::Route> FeedRoutes::Routes() {
  const auto handler = [this](auto method) {
    return [this, method](Request& request) {
      Try<Response> result = (this->*method)(request);
      return result ? std::move(*result) : http::ProblemResponse(result.error());
    };
  };
  return {
      {.method = "GET",
       .pattern = "/messages/poll",
       .handler = api_.WithToken(handler(&FeedRoutes::Poll))},
      {.method = "GET",
       .pattern = "/messages/stream",
       .handler = api_.WithToken(handler(&FeedRoutes::Stream))},
      {.method = "GET", .pattern = "/ws", .handler = handler(&FeedRoutes::Socket)},
      {.method = "GET", .pattern = "/conversations", .handler = handler(&FeedRoutes::List)},
  };
}

Try<FeedPosition> FeedRoutes::Enter(const std::optional<std::string>& after) {
  auto position = feed_.Decode(after);
  if (!position) {
    position.error().detail = "after: " + position.error().detail;
    return position;
  }
  feed_.Reach(&*position, clock_.Steady() + milliseconds(options_.session_wait_ms));
  return position;
}

Try<Response> FeedRoutes::Poll(Request& request) {
  const auto poll = feed::ParsePoll(request);
  if (!poll) return Err(poll.error());
  const bool as_blocks = http::AcceptsByName(request, feed::kEventStreamType);
  if (!as_blocks && !http::Accepts(request, kJsonType)) {
    return Err(http::NotAcceptable(kJsonType));
  }
  const SteadyTime until = clock_.Steady() + milliseconds(poll->wait_ms);
  const auto position = Enter(poll->after);
  if (!position) return Err(position.error());
  auto answer = feed_.Read(*position, poll->filter, poll->limit, kPollBytes);
  // What filters leave out is passed page by page; who gave no time for it asks again.
  while (answer && answer->steps.empty() && answer->more && !draining_ && clock_.Steady() < until) {
    answer = feed_.Read(FeedPosition(answer->position), poll->filter, poll->limit, kPollBytes);
  }
  if (!answer) return Err(std::move(answer.error()));
  const bool over = draining_ || answer->more || clock_.Steady() >= until;
  if (!answer->steps.empty() || answer->position.gap || over) {
    feed::Polled polled;
    for (FeedStep& step : answer->steps) polled.events.push_back(EventOf(std::move(step)));
    polled.token = feed_.Encode(answer->position.covers);
    polled.behind = answer->position.behind;
    polled.gap = answer->position.gap;
    return feed::PollResponse(polled, as_blocks);
  }
  return polls_.Wait(
      driver_.Follow(*answer, poll->filter),
      {.events = poll->limit, .bytes = kPollBytes, .until = until},
      [as_blocks](const feed::Polled& polled) { return feed::PollResponse(polled, as_blocks); });
}

Try<std::shared_ptr<feed::Subscription>> FeedRoutes::Subscribe(const feed::FeedRequest& request) {
  const auto position = Enter(request.after);
  if (!position) return Err(position.error());
  return driver_.Subscribe(*position, request.filter);
}

Try<Response> FeedRoutes::Stream(Request& request) {
  const auto stream = feed::ParseStream(request);
  if (!stream) return Err(stream.error());
  if (!http::Accepts(request, feed::kEventStreamType)) {
    return Err(http::NotAcceptable(feed::kEventStreamType));
  }
  auto subscription = Subscribe(*stream);
  if (!subscription) return Err(std::move(subscription.error()));
  return feed::StreamResponse(std::move(*subscription));
}

Try<Response> FeedRoutes::Socket(Request& request) {
  if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
  if (auto problem = http::CheckUpgrade(request, options_.origins)) return Err(std::move(*problem));
  Response response;
  response.status = 101;
  response.websocket = std::make_shared<feed::FeedSocket>(backend_, request.remote_address);
  return response;
}

Try<Response> FeedRoutes::List(Request& request) {
  const auto query = ParseConversationQuery(request.query);
  if (!query) return Err(query.error());
  if (!http::Accepts(request, kJsonType)) return Err(http::NotAcceptable(kJsonType));
  if (auto problem = http::ApplyDeadlineHeader(request, clock_.Steady())) {
    return Err(std::move(*problem));
  }
  auto taken = TakeCursor(tokens_, query->cursor, query->Hash());
  if (!taken) return Err(std::move(taken.error()));
  const std::optional<Cursor>& cursor = *taken;
  auto page = conversations_.List(*query, cursor, request.deadline);
  if (!page) return Err(std::move(page.error()));
  std::string body = "{\"conversations\":[";
  for (const Conversation& conversation : page->conversations) {
    if (body.back() != '[') body += ',';
    body += conversation.room.empty() ? "{\"with\":" : "{\"room\":";
    AppendJsonString(&body, conversation.room.empty() ? conversation.with : conversation.room);
    body += ",\"last\":";
    AppendMessageObject(&body, conversation.last.shown);
    body += '}';
  }
  body += "],\"next\":";
  body += page->next ? "\"" + tokens_.EncodeCursor(*page->next) + "\"" : "null";
  return http::JsonResponse(200, body + "}");
}

}  // namespace chatchain
