// SPDX-License-Identifier: MIT
// The reference point of the write path: the node's own HTTP floor with one route that does
// everything a node does with POST /messages, except storing. What a node loses against it is the
// price of the store.
//
//   chatchain-bench-null-server [HOST:PORT]      by default 127.0.0.1:0; ends at SIGTERM or SIGINT
#include <csignal>
#include <cstdio>
#include <string>

#include "common/http/negotiation.h"
#include "common/http/server.h"
#include "common/protocol/hlc.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/protocol/record.h"
#include "common/protocol/token.h"
#include "common/util/host_port.h"
#include "common/util/random.h"

namespace chatchain {
namespace {

using http::Request;
using http::Response;

// Follows NodeApi::PostMessage step by step: where that one changes, so must this.
class NullApi {
 public:
  NullApi() : hlc_(clock_), tokens_("chatchain") {
    heads_[{"0", 0x0000000100000000}] = {1, Sha256("")};
  }

  std::vector<http::Route> Routes() {
    return {{.method = "POST",
             .pattern = "/messages",
             .handler = [this](Request& request) { return Post(request); },
             .max_body_bytes = limits::kMessageBodyMaxBytes,
             .json_body = true}};
  }

 private:
  Response Post(Request& request) {
    auto answer = Accept(request);
    Response response = answer ? std::move(*answer) : http::ProblemResponse(answer.error());
    response.headers.Set("ChatChain-Node", "0");
    response.headers.Set("ChatChain-Session", tokens_.EncodeSession(ToTokenVector(heads_)));
    return response;
  }

  Try<Response> Accept(Request& request) {
    const auto session = http::SingleHeader(request, "ChatChain-Session");
    if (!session) return Err(session.error());
    const auto consistency = http::SingleHeader(request, "ChatChain-Consistency");
    if (!consistency) return Err(consistency.error());
    if (auto problem = http::ApplyDeadlineHeader(request, clock_.Steady())) {
      return Err(std::move(*problem));
    }
    if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
    if (!http::Accepts(request, "application/json"))
      return Err(http::NotAcceptable("application/json"));
    const auto acks = http::SingleHeader(request, "ChatChain-Acks");
    if (!acks) return Err(acks.error());
    const auto stamp_header = http::SingleHeader(request, "ChatChain-Stamp");
    if (!stamp_header) return Err(stamp_header.error());
    const auto key = http::SingleHeader(request, "Idempotency-Key");
    if (!key) return Err(key.error());

    const auto json = ReadJsonObject(request.body);
    if (!json) return Err(json.error());
    auto message = MessageFromJson(json->root(), {});
    if (!message) return Err(std::move(message.error()));
    message->key = *key ? std::string(**key) : MakeUuidV7(clock_.WallMs(), random_);
    auto valid = Validate(std::move(*message));
    if (!valid) return Err(InvalidMessage(std::move(valid.error())));

    const ShownMessage shown{valid->id(), valid->message(), hlc_.Accept(std::nullopt)};
    std::string body;
    AppendMessageObject(&body, shown);
    Response response = http::JsonResponse(201, std::move(body));
    response.headers.Set("Location", "/messages/" + shown.id.Text());
    return response;
  }

  SystemClock clock_;
  SystemRandom random_;
  Hlc hlc_;
  const TokenCodec tokens_;
  HeadVector heads_;
};

int Run(const std::string& where) {
  const auto address = ParseHostPort(where);
  if (!address) {
    std::fprintf(stderr, "%s is not HOST:PORT\n", where.c_str());
    return 2;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  NullApi api;
  http::ServerOptions options;
  options.host = address->host;
  options.port = address->port;
  http::Server server(std::move(options), api.Routes());
  if (const auto started = server.Start(); !started) {
    std::fprintf(stderr, "%s\n", started.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", server.address().c_str());
  int signal = 0;
  sigwait(&signals, &signal);
  return server.Drain(5000) ? 0 : 1;
}

}  // namespace
}  // namespace chatchain

int main(int argc, char** argv) {
  return chatchain::Run(argc > 1 ? argv[1] : "127.0.0.1:0");
}
