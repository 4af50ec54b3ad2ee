// SPDX-License-Identifier: MIT
#include "client/http/stream.h"

#include <utility>

#include "client/http/headers.h"
#include "common/feed/metrics.h"
#include "common/feed/sse.h"
#include "common/http/negotiation.h"

namespace chatchain {

namespace {

constexpr std::string_view kJsonType = "application/json";
constexpr size_t kPollBytes = 1 << 20;  // of texts in one answer, roughly

}  // namespace

StreamRoutes::StreamRoutes(const RouteContext& context, Follower& follower, http::Handler send)
    : context_(context),
      follower_(follower),
      polls_(static_cast<size_t>(context.config.max_waiting_polls)),
      backend_{
          .subscribe =
              [this](const feed::FeedRequest& request) { return follower_.Subscribe(request); },
          .send = std::move(send),
          .request_timeout_ms = context.config.request_timeout_ms} {}

void StreamRoutes::Start(http::Server& server) {
  polls_.Start([&server](std::function<void()> work) { server.PostToLive(std::move(work)); },
               [&server](SteadyTime at, std::function<void()> work) {
                 server.PostToLiveAt(at, std::move(work));
               });
}

std::vector<http::Route> StreamRoutes::Routes() {
  const auto handler = [this](auto method) {
    return [this, method](http::Request& request) { return (this->*method)(request); };
  };
  return {
      {.method = "GET", .pattern = "/messages/poll", .handler = handler(&StreamRoutes::Poll)},
      {.method = "GET", .pattern = "/messages/stream", .handler = handler(&StreamRoutes::Stream)},
      {.method = "GET", .pattern = "/ws", .handler = handler(&StreamRoutes::Socket)},
      {.method = "GET",
       .pattern = "/conversations",
       .handler = handler(&StreamRoutes::Conversations)},
  };
}

http::Response StreamRoutes::Poll(http::Request& request) {
  const auto poll = feed::ParsePoll(request);
  if (!poll) return http::ProblemResponse(poll.error());
  const bool as_blocks = http::AcceptsByName(request, feed::kEventStreamType);
  if (!as_blocks && !http::Accepts(request, kJsonType)) {
    return http::ProblemResponse(http::NotAcceptable(kJsonType));
  }
  if (poll->wait_ms > 0) return Wait(*poll, as_blocks);
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

// One answer of what all share, so that those who wait cost nodes nothing.
http::Response StreamRoutes::Wait(const feed::FeedRequest& poll, bool as_blocks) {
  const SteadyTime until = context_.clock.Steady() + std::chrono::milliseconds(poll.wait_ms);
  auto subscription = follower_.Subscribe(poll);
  if (!subscription) return http::ProblemResponse(subscription.error());
  auto answer = polls_.Wait(
      std::move(*subscription), {.events = poll.limit, .bytes = kPollBytes, .until = until},
      [this, as_blocks](const feed::Polled& polled) {
        const Follower::Upkeep upkeep = follower_.upkeep();
        const bool nothing = polled.events.empty() && !polled.gap;
        if (nothing && upkeep.trouble) return http::ProblemResponse(*upkeep.trouble);
        http::Response response = feed::PollResponse(polled, as_blocks);
        if (!upkeep.node_id.empty()) response.headers.Set("ChatChain-Node", upkeep.node_id);
        response.headers.Set("ChatChain-Attempts", "1");
        // What the answer tells was seen, so it counts for the session.
        const TokenCodec& tokens = context_.proxy.tokens();
        if (const auto covers = tokens.DecodeFeed(polled.token)) {
          response.headers.Set("ChatChain-Session", tokens.EncodeSession(*covers));
        }
        return response;
      });
  return answer ? std::move(*answer) : http::ProblemResponse(answer.error());
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

// The node judges the query.
http::Response StreamRoutes::Conversations(http::Request& request) {
  if (auto problem = http::ApplyDeadlineHeader(request, context_.clock.Steady())) {
    return http::ProblemResponse(*problem);
  }
  if (!http::Accepts(request, kJsonType)) {
    return http::ProblemResponse(http::NotAcceptable(kJsonType));
  }
  return Forward(context_.proxy, {.target = request.target, .deadline = request.deadline}, request);
}

std::string FollowMetrics(const FollowStats& stats, uint64_t waiting_polls) {
  MetricsText text;
  feed::AppendMetrics(stats.hub, waiting_polls, &text);
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    text.Family(name, "counter", help);
    text.Sample(static_cast<double>(value));
  };
  counter("chatchain_follow_polls_total", "Questions to nodes for the feed.", stats.polls);
  counter("chatchain_follow_failed_polls_total", "Those without a good answer.",
          stats.failed_polls);
  counter("chatchain_follow_moves_total", "Changes of the node that is followed.", stats.moves);
  counter("chatchain_follow_repeats_total", "Messages that a node gave again, left out.",
          stats.repeats);
  text.Family("chatchain_follow_behind", "gauge",
              "1 while the followed node lacks something that was passed on.");
  text.Sample(stats.behind ? 1 : 0);
  return text.Take();
}

}  // namespace chatchain
