// SPDX-License-Identifier: MIT
#include "client/terminal/server.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/terminal/options.h"
#include "client/terminal/output.h"
#include "common/protocol/json.h"
#include "common/util/log.h"

namespace chatchain::terminal {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{100};
constexpr milliseconds kLongestPause{5000};
constexpr int kRetryAfterMax_ms = 10'000;
constexpr int kConnectTimeout_ms = 5000;

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

// What a problem document says, in one line; the status alone where the body is none.
std::string SaidBy(const http::ClientResponse& answer) {
  std::string said = "status " + std::to_string(answer.status);
  const auto json = ParseJsonObject(answer.body);
  if (!json) return said;
  const auto text = [](const Json& object, const char* name) {
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>() : "";
  };
  if (const std::string detail = text(*json, "detail"); !detail.empty()) {
    said += ": " + detail;
  } else if (const std::string title = text(*json, "title"); !title.empty()) {
    said += ": " + title;
  }
  const auto errors = json->find("errors");
  if (errors == json->end() || !errors->is_array()) return said;
  for (const Json& error : *errors) {
    if (!error.is_object()) continue;
    const std::string field = text(error, "field");
    const std::string reason = text(error, "reason");
    if (said.find(reason) == std::string::npos) {
      said.append("; ").append(field).append(" ").append(reason);
    }
  }
  return said;
}

bool MayPass(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

Server::Server(const HostPort& address)
    : url_("http://" + address.ToString()),
      client_(address.ToString(), {.connect_timeout_ms = kConnectTimeout_ms}) {}

Server::Once Server::TryOnce(const http::ClientRequest& request, SteadyTime deadline) {
  Once once;
  auto answer = client_.Send(request, deadline);
  if (!answer) {
    once.error = answer.error().detail;
    return once;
  }
  if (!MayPass(answer->status)) {
    once.answer = std::move(*answer);
    return once;
  }
  once.error = SaidBy(*answer);
  if (const auto after = answer->headers.Get("Retry-After")) {
    int seconds = 0;
    std::from_chars(after->data(), after->data() + after->size(), seconds);
    once.retry_after_ms = std::clamp(seconds, 0, kRetryAfterMax_ms / 1000) * 1000;
  }
  return once;
}

Failure Server::Refusal(const http::ClientResponse& answer) const {
  const bool refused = answer.status >= 400 && answer.status < 500;
  return {refused ? kExitRefused : kExitFailed,
          url_ + (refused ? " refused: " : " failed: ") + SaidBy(answer)};
}

Failure Server::Unreachable(const std::string& error) const {
  return {kExitFailed, "no answer from " + url_ + " in time (" + error +
                           "); is the proxy running? Another address: --url or CHATCHAIN_URL"};
}

std::chrono::milliseconds Server::Pause(int failures) {
  milliseconds most = kFirstPause * (1 << std::clamp(failures - 1, 0, 10));
  most = std::min(most, kLongestPause);
  return kFirstPause / 2 + milliseconds(random_.Below(static_cast<uint64_t>(most.count())));
}

Result<http::ClientResponse, Failure> Server::Ask(const http::ClientRequest& request,
                                                  const Tries& tries) {
  for (int failures = 1;; ++failures) {
    SteadyTime deadline = Now() + tries.each;
    if (tries.until) deadline = std::min(deadline, *tries.until);
    Once once = TryOnce(request, deadline);
    if (once.answer) {
      if (once.answer->status / 100 == 2) return std::move(*once.answer);
      return Err(Refusal(*once.answer));
    }
    const milliseconds pause = std::max(Pause(failures), milliseconds(once.retry_after_ms));
    if (tries.until && Now() + pause >= *tries.until) return Err(Unreachable(once.error));
    if (failures == 1 && !tries.notice.empty()) Complain(once.error + "; " + tries.notice);
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace chatchain::terminal
