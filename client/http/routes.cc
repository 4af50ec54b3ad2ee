// SPDX-License-Identifier: MIT
#include "client/http/routes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "client/http/headers.h"
#include "client/http/lines.h"
#include "client/http/status_pages.h"
#include "client/http/write_routes.h"
#include "common/http/later.h"
#include "common/http/negotiation.h"
#include "common/http/then.h"
#include "common/protocol/limits.h"
#include "common/util/log.h"
#include "common/util/metrics_text.h"
#include "common/util/version.h"

namespace chatchain {

namespace {

using Shared = std::shared_ptr<const RouteContext>;

http::Response Text(std::string content_type, std::string body) {
  http::Response response;
  response.content_type = std::move(content_type);
  response.body = std::move(body);
  return response;
}

// Runs a handler and counts its answer under `route`.
template <typename Handle>
http::Response Counted(const Shared& context, RouteId route, Handle handle) {
  const SteadyTime begin = context->clock.Steady();
  return http::Then(handle(), [context, route, begin](http::Response response) {
    RouteMetrics& metrics = context->proxy.metrics().routes[static_cast<size_t>(route)];
    metrics.duration.Observe(
        std::chrono::duration_cast<std::chrono::microseconds>(context->clock.Steady() - begin)
            .count());
    const auto by_class = static_cast<size_t>(std::clamp(response.status / 100, 1, 5) - 1);
    metrics.by_class[by_class].fetch_add(1, std::memory_order_relaxed);
    return response;
  });
}

// Runs a handler, unless the client is over its rate.
template <typename Handle>
http::Response Limited(const RouteContext& context, http::Request& request, Handle handle) {
  if (context.rate_limiter.Take(request.remote_address, context.clock.Steady())) {
    return handle(context, request);
  }
  context.proxy.metrics().rate_limited.fetch_add(1, std::memory_order_relaxed);
  Problem problem = MakeProblem(429, "", "there are too many requests from this address");
  problem.retry_after_s = 1;
  return http::ProblemResponse(problem);
}

// Every answer of /messages* has a session token. One that no node gave vouches for what the client
// brought, and for nothing else.
http::Response WithSession(const RouteContext& context, const http::Request& request,
                           http::Response answer) {
  return http::Then(std::move(answer), [&context, &request](http::Response response) {
    if (response.headers.Get("ChatChain-Session")) return response;
    const TokenCodec& tokens = context.proxy.tokens();
    const auto brought = SessionText(request);
    const bool good = brought && *brought && tokens.DecodeSession(**brought);
    response.headers.Set("ChatChain-Session", good ? **brought : tokens.EncodeSession({}));
    return response;
  });
}

// Runs a handler and writes a line about it, where that is wanted.
http::Handler Logged(const Shared& context, http::Handler handler) {
  return [context, handler = std::move(handler)](http::Request& request) {
    if (!context->access_log.enabled()) return handler(request);
    const int64_t begun_ms = context->clock.WallMs();
    const SteadyTime begin = context->clock.Steady();
    // A disk may be slow, or a pipe full.
    return http::ThenOnWorker(
        handler(request), [context, &request, begun_ms, begin](http::Response response) {
          const auto took = context->clock.Steady() - begin;
          context->access_log.Write(
              request, response, begun_ms,
              std::chrono::duration_cast<std::chrono::microseconds>(took).count());
          return response;
        });
  };
}

constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kLinesType = "application/x-ndjson";

// What a read hands on to the node. The node judges the token.
Try<ReadRequest> ReadFrom(const RouteContext& context, http::Request& request) {
  if (auto problem = http::ApplyDeadlineHeader(request, context.clock.Steady())) {
    return Err(std::move(*problem));
  }
  ReadRequest read{.target = request.target, .deadline = request.deadline};
  auto session = SessionText(request);
  if (!session) return Err(std::move(session.error()));
  if (*session) {
    read.session = **session;
    read.headers.Add("ChatChain-Session", read.session);
  }
  const auto strict = StrictConsistency(request);
  if (!strict) return Err(strict.error());
  if (*strict) read.headers.Add("ChatChain-Consistency", "strict");
  return read;
}

http::Response ReadAnswer(ReadResult result) {
  if (!result.answered) {
    return Unanswered("no node could answer", result.failures, result.attempts);
  }
  return AnswerFrom(std::move(result));
}

// An answer above it is made on a worker, where it takes nobody else's time: copying and, above the
// server's bound, compressing.
constexpr size_t kSmall = 128 * 1024;
constexpr size_t kSmallCompressed = 8 * 1024;

// Waits for a node without a thread.
class ForwardedRead final : public http::LaterAnswer,
                            public std::enable_shared_from_this<ForwardedRead> {
 public:
  ForwardedRead(Proxy& proxy, ReadRequest read, bool compressed)
      : proxy_(proxy), small_(compressed ? kSmallCompressed : kSmall), read_(std::move(read)) {}

  void Begin(std::function<void()> resume) override {
    proxy_.StartRead(std::move(read_),
                     [self = shared_from_this(), this,
                      resume = std::move(resume)](SharedAnswer<ReadResult> result) {
                       result_ = std::move(result);
                       resume();
                     });
  }
  bool finishes_at_once() const override { return result_.get().response.body.size() < small_; }
  http::Response Finish() override { return ReadAnswer(std::move(result_).Take()); }

 private:
  Proxy& proxy_;
  const size_t small_;
  ReadRequest read_;
  SharedAnswer<ReadResult> result_;
};

// For handlers that block.
class OnWorker final : public http::LaterAnswer {
 public:
  explicit OnWorker(std::function<http::Response()> handle) : handle_(std::move(handle)) {}
  void Begin(std::function<void()> resume) override { resume(); }
  http::Response Finish() override { return handle_(); }

 private:
  const std::function<http::Response()> handle_;
};

http::Response List(const RouteContext& context, http::Request& request) {
  const auto query = ParseListQuery(request.query);
  if (!query) return http::ProblemResponse(query.error());
  auto read = ReadFrom(context, request);
  if (!read) return http::ProblemResponse(read.error());
  if (http::AcceptsByName(request, kLinesType)) {
    LinesRequest lines{.params = request.query,
                       .limit = query->limit,
                       .headers = std::move(read->headers),
                       .session = std::move(read->session),
                       .page_timeout_ms = context.config.request_timeout_ms};
    http::Response response;
    response.later = std::make_shared<OnWorker>([&context, lines = std::move(lines)] {
      return ListLines(context.proxy, context.clock, lines);
    });
    return response;
  }
  if (!http::Accepts(request, kJsonType)) {
    return http::ProblemResponse(http::NotAcceptable("application/json or application/x-ndjson"));
  }
  read->expect = Expect::kPage;
  return Forward(context.proxy, std::move(*read), request);
}

http::Response Get(const RouteContext& context, http::Request& request) {
  if (auto problem = RefuseParams(request.query)) return http::ProblemResponse(*problem);
  if (!http::Accepts(request, kJsonType)) {
    return http::ProblemResponse(http::NotAcceptable(kJsonType));
  }
  // What is no id names no message, at any node.
  const std::string& id = request.path_params.at("id");
  if (!MessageId::Parse(id)) {
    return http::ProblemResponse(
        MakeProblem(404, "", "no message has the id \"" + LogSafe(id) + "\""));
  }
  auto read = ReadFrom(context, request);
  if (!read) return http::ProblemResponse(read.error());
  return Forward(context.proxy, std::move(*read), request);
}

http::Response Ready(const RouteContext& context) {
  const bool draining = context.draining.load();
  const bool ready = !draining && context.proxy.ready();
  return http::JsonResponse(ready ? 200 : 503, ReadyJson(context.proxy.Network(), draining));
}

http::Response Network(const RouteContext& context) {
  return http::JsonResponse(200, NetworkJson(context.proxy.Network()));
}

std::vector<http::Route> MessageRoutes(const Shared& context) {
  const auto counted = [context](RouteId id, auto handle) {
    return [context, id, handle](http::Request& request) {
      return Counted(context, id, [&] {
        return WithSession(*context, request, Limited(*context, request, handle));
      });
    };
  };
  const auto writing = [](auto handle) {
    return [handle](const RouteContext& c, http::Request& request) {
      return handle(WriteRouteContext{c.proxy, c.hlc, c.random, c.clock}, request);
    };
  };
  return {
      {.method = "POST",
       .pattern = "/messages",
       .handler = counted(RouteId::kSend, writing(SendMessage)),
       .max_body_bytes = limits::kMessageBodyMaxBytes,
       .json_body = true,
       .quick = true},
      {.method = "POST",
       .pattern = "/messages/batch",
       .handler = counted(RouteId::kSendBatch, writing(SendBatch)),
       .max_body_bytes = limits::kBatchBodyMaxBytes,
       .json_body = true},
      {.method = "GET",
       .pattern = "/messages",
       .handler =
           [context](http::Request& request) {
             const bool lines = http::AcceptsByName(request, kLinesType);
             return Counted(context, lines ? RouteId::kListLines : RouteId::kList, [&] {
               return WithSession(*context, request, Limited(*context, request, List));
             });
           },
       .quick = true},
      {.method = "GET",
       .pattern = "/messages/{id}",
       .handler = counted(RouteId::kGet, Get),
       .quick = true},
  };
}

std::vector<http::Route> StatusRoutes(const Shared& context) {
  // None of them takes a parameter.
  const auto plain = [context](auto handle) {
    return [context, handle](http::Request& request) {
      if (auto problem = RefuseParams(request.query)) return http::ProblemResponse(*problem);
      return handle(*context);
    };
  };
  return {
      {.method = "GET",
       .pattern = "/healthz",
       .handler =
           plain([](const RouteContext&) { return http::JsonResponse(200, R"({"status":"ok"})"); }),
       .never_shed = true},
      {.method = "GET", .pattern = "/readyz", .handler = plain(Ready), .never_shed = true},
      {.method = "GET",
       .pattern = "/metrics",
       .handler = plain([](const RouteContext& c) {
         return Text(std::string(MetricsText::kContentType),
                     RenderMetrics(c.proxy, c.server_stats()));
       }),
       .never_shed = true},
      {.method = "GET",
       .pattern = "/version",
       .handler = plain([](const RouteContext&) {
         return http::JsonResponse(200, R"({"program":"chatchain-client","version":")" +
                                            std::string(ProjectVersion()) + "\"}");
       })},
      {.method = "GET", .pattern = "/network", .handler = plain(Network)},
  };
}

std::vector<http::Route> PageRoutes(const Shared& context) {
  const auto serve = [context](const http::Request& request, const std::string& name) {
    if (auto problem = RefuseParams(request.query)) return http::ProblemResponse(*problem);
    if (context->web == nullptr) {
      return http::ProblemResponse(MakeProblem(
          404, "", "the chat page is not installed; the log of the proxy's start says more"));
    }
    return context->web->Answer(request, name);
  };
  return {
      {.method = "GET",
       .pattern = "/",
       .handler = [serve](http::Request& request) { return serve(request, "index.html"); }},
      {.method = "GET",
       .pattern = "/web/{file}",
       .handler =
           [serve](http::Request& request) {
             return serve(request, request.path_params.at("file"));
           }},
  };
}

}  // namespace

http::Response Forward(Proxy& proxy, ReadRequest read, const http::Request& request) {
  http::Response response;
  const bool compressed = request.headers.Get("Accept-Encoding").has_value();
  response.later = std::make_shared<ForwardedRead>(proxy, std::move(read), compressed);
  return response;
}

std::vector<http::Route> ProxyRoutes(const RouteContext& context) {
  const auto shared = std::make_shared<const RouteContext>(context);
  std::vector<http::Route> routes = MessageRoutes(shared);
  for (http::Route& route : StatusRoutes(shared)) routes.push_back(std::move(route));
  for (http::Route& route : PageRoutes(shared)) routes.push_back(std::move(route));
  for (http::Route& route : routes) route.handler = Logged(shared, std::move(route.handler));
  return routes;
}

}  // namespace chatchain
