// SPDX-License-Identifier: MIT
#include "node/http/feed_routes.h"

#include <algorithm>
#include <utility>

#include "common/feed/sse.h"
#include "common/http/negotiation.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"

namespace chatchain {

namespace {

using http::Request;
using http::Response;
using std::chrono::milliseconds;

constexpr std::string_view kJsonType = "application/json";
constexpr size_t kPollBytes = 1 << 20;  // of texts in one answer, roughly
constexpr milliseconds kReachEvery{500};

Response PollAnswer(const FeedAnswer& answer, const std::string& token) {
  std::string body = "{\"messages\":[";
  for (const FeedStep& step : answer.steps) {
    if (body.back() != '[') body += ',';
    AppendMessageObject(&body, step.shown);
  }
  body += "],\"after\":\"" + token + "\"";
  if (answer.position.gap) body += ",\"gap\":true";
  if (answer.position.behind) body += ",\"behind\":true";
  return http::JsonResponse(200, body + "}");
}

// The same page as blocks of an event stream, with the token after each message.
Response PollBlocks(const FeedAnswer& answer, const std::string& token) {
  Response response;
  response.content_type = feed::kEventStreamType;
  if (answer.position.gap) response.body += feed::GapBlock();
  if (answer.position.behind) response.body += feed::StatusBlock(true);
  for (const FeedStep& step : answer.steps) {
    response.body.append("id: ").append(step.token).append("\nevent: message\ndata: ");
    AppendMessageObject(&response.body, step.shown);
    response.body += "\n\n";
  }
  response.body += feed::TokenBlock(token);
  return response;
}

}  // namespace

FeedRoutes::FeedRoutes(Options options, Feed& feed, FeedDriver& driver, SqliteStorage& storage,
                       const Clock& clock, http::Handler send)
    : options_(std::move(options)),
      feed_(feed),
      driver_(driver),
      storage_(storage),
      clock_(clock),
      backend_{.subscribe = [this](const feed::FeedRequest& request) { return Subscribe(request); },
               .send = std::move(send),
               .request_timeout_ms = options_.request_timeout_ms} {}

std::vector<http::Route> FeedRoutes::Routes() {
  const auto handler = [this](auto method) {
    return [this, method](Request& request) {
      Try<Response> result = (this->*method)(request);
      return result ? std::move(*result) : http::ProblemResponse(result.error());
    };
  };
  return {
      {.method = "GET", .pattern = "/messages/poll", .handler = handler(&FeedRoutes::Poll)},
      {.method = "GET", .pattern = "/messages/stream", .handler = handler(&FeedRoutes::Stream)},
      {.method = "GET", .pattern = "/ws", .handler = handler(&FeedRoutes::Socket)},
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
  auto position = Enter(poll->after);
  if (!position) return Err(position.error());
  while (true) {
    auto answer = feed_.Read(*position, poll->filter, poll->limit, kPollBytes);
    if (!answer) return Err(std::move(answer.error()));
    const bool over = draining_ || clock_.Steady() >= until;
    // Whoever is behind is told at once, and asks again.
    if (!answer->steps.empty() || answer->position.gap || over) {
      const std::string token = feed_.Encode(answer->position.covers);
      return as_blocks ? PollBlocks(*answer, token) : PollAnswer(*answer, token);
    }
    *position = std::move(answer->position);
    if (answer->more) continue;
    const SteadyTime next =
        position->behind ? std::min(until, clock_.Steady() + kReachEvery) : until;
    storage_.board().WaitUntil(
        [version = answer->version](const LogState& state) { return state.version != version; },
        next);
    if (position->behind) feed_.Reach(&*position, std::min(until, clock_.Steady() + kReachEvery));
  }
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

}  // namespace chatchain
