// SPDX-License-Identifier: MIT
#include "client/http/stream.h"

#include <utility>

#include "client/http/headers.h"
#include "common/feed/sse.h"
#include "common/http/negotiation.h"

namespace chatchain {

namespace {

constexpr std::string_view kJsonType = "application/json";

}  // namespace

StreamRoutes::StreamRoutes(const RouteContext& context, Follower& follower, http::Handler send)
    : context_(context),
      follower_(follower),
      backend_{
          .subscribe =
              [this](const feed::FeedRequest& request) { return follower_.Subscribe(request); },
          .send = std::move(send),
          .request_timeout_ms = context.config.request_timeout_ms} {}

std::vector<http::Route> StreamRoutes::Routes() {
  const auto handler = [this](auto method) {
    return [this, method](http::Request& request) { return (this->*method)(request); };
  };
  return {
      {.method = "GET", .pattern = "/messages/poll", .handler = handler(&StreamRoutes::Poll)},
      {.method = "GET", .pattern = "/messages/stream", .handler = handler(&StreamRoutes::Stream)},
      {.method = "GET", .pattern = "/ws", .handler = handler(&StreamRoutes::Socket)},
  };
}

http::Response StreamRoutes::Poll(http::Request& request) {
  const auto poll = feed::ParsePoll(request);
  if (!poll) return http::ProblemResponse(poll.error());
  const bool as_blocks = http::AcceptsByName(request, feed::kEventStreamType);
  if (!as_blocks && !http::Accepts(request, kJsonType)) {
    return http::ProblemResponse(http::NotAcceptable(kJsonType));
  }
  int attempts = 0;
  auto answer = follower_.Poll(*poll, as_blocks ? feed::kEventStreamType : kJsonType, &attempts);
  if (!answer) {
    http::Response response = http::ProblemResponse(answer.error());
    response.headers.Set("ChatChain-Attempts", std::to_string(attempts));
    return response;
  }
  return AnswerFrom(
      {.answered = true, .response = std::move(*answer), .node = 0, .attempts = attempts});
}

http::Response StreamRoutes::Stream(http::Request& request) {
  const auto stream = feed::ParseStream(request);
  if (!stream) return http::ProblemResponse(stream.error());
  if (!http::Accepts(request, feed::kEventStreamType)) {
    return http::ProblemResponse(http::NotAcceptable(feed::kEventStreamType));
  }
  auto subscription = follower_.Subscribe(*stream);
  if (!subscription) return http::ProblemResponse(subscription.error());
  return feed::StreamResponse(std::move(*subscription));
}

http::Response StreamRoutes::Socket(http::Request& request) {
  if (auto problem = RefuseParams(request.query)) return http::ProblemResponse(*problem);
  if (auto problem = http::CheckUpgrade(request, context_.config.cors_origins)) {
    return http::ProblemResponse(*problem);
  }
  http::Response response;
  response.status = 101;
  response.websocket = std::make_shared<feed::FeedSocket>(backend_, request.remote_address);
  return response;
}

}  // namespace chatchain
