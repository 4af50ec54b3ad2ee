// SPDX-License-Identifier: MIT
#include "client/terminal/tail.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "client/terminal/history.h"
#include "client/terminal/output.h"

namespace chatchain::terminal {

namespace {

using std::chrono::milliseconds;

// A server that hangs is noticed within kWait + kSlack, a reader of ours that is gone within kWait.
constexpr int kWait_ms = 10'000;
constexpr milliseconds kSlack{6'000};
constexpr size_t kPageMessages = 100;

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

Failure Broken(std::string text) {
  return {kExitFailed, std::move(text)};
}

}  // namespace

Tail::Tail(const CommandLine& line, Server& server, Style style)
    : line_(line), server_(server), lines_(line.json, style) {}

Result<int, Failure> Tail::Run() {
  if (!line_.state_file.empty()) {
    if (auto opened = state_.Open(line_.state_file, feed::FilterParams(line_.filter)); !opened) {
      return Err(Broken(opened.error()));
    }
  }
  if (auto begun = Begin(); !begun) return Err(begun.error());
  while (!Done()) {
    if (!OutputIsRead()) return Err(Broken("nobody reads standard output any more"));
    const size_t most =
        line_.limit
            ? static_cast<size_t>(std::min<uint64_t>(*line_.limit - printed_, kPageMessages))
            : kPageMessages;
    const auto page = NextPage(most, kWait_ms);
    if (!page) return Err(page.error());
    if (auto printed = PrintPage(*page); !printed) return Err(printed.error());
  }
  return kExitOk;
}

Result<void, Failure> Tail::Begin() {
  if (state_.found()) {
    after_ = state_.after();
    for (const MessageId& id : state_.ids()) repeats_.Add(id);
    return {};
  }
  if (line_.after) {
    after_ = line_.after;
    return {};
  }
  // The end of the feed first, then what was before: what comes in between is in both, and is left
  // out the second time.
  const auto now = NextPage(1, 0);
  if (!now) return Err(now.error());
  if (line_.last > 0) {
    const auto tries = [this] {
      return Server::Tries{
          .until = line_.timeout_s ? std::optional(Now() + std::chrono::seconds(*line_.timeout_s))
                                   : std::nullopt,
          .notice = "trying again until there is an answer"};
    };
    const auto latest = LatestMessages(server_, line_.filter, line_.last, tries);
    if (!latest) return Err(latest.error());
    for (const ReadMessage& message : *latest) lines_.Expect(message);
    for (const ReadMessage& message : *latest) {
      repeats_.Add(message.id);
      if (auto printed = Print(message, ""); !printed) return printed;
      if (Done()) break;
    }
  }
  return Save(now->token, /*durable=*/true);
}

Result<feed::PollPage, Failure> Tail::NextPage(size_t limit, int wait_ms) {
  http::ClientRequest request;
  request.target = feed::PollTarget(after_, line_.filter, limit, wait_ms);
  request.headers.Set("Accept", "text/event-stream");
  const SteadyTime lost_since = Now();
  for (int failures = 0;; ++failures) {
    Server::Once once = server_.TryOnce(request, Now() + milliseconds(wait_ms) + kSlack);
    if (once.answer) {
      if (once.answer->status != 200) return Err(server_.Refusal(*once.answer));
      auto page = feed::ParsePollPage(once.answer->body);
      if (!page) {
        return Err(Broken(server_.url() + " gave what is no page of the feed; is it ChatChain?"));
      }
      if (failures > 0) Complain("connected again");
      return std::move(*page);
    }
    const milliseconds pause =
        std::max(server_.Pause(failures + 1), milliseconds(once.retry_after_ms));
    if (line_.timeout_s && Now() + pause >= lost_since + std::chrono::seconds(*line_.timeout_s)) {
      return Err(server_.Unreachable(once.error));
    }
    if (failures == 0)
      Complain("no connection: " + once.error + "; trying again until there is one");
    if (!OutputIsRead()) return Err(Broken("nobody reads standard output any more"));
    std::this_thread::sleep_for(pause);
  }
}

Result<void, Failure> Tail::PrintPage(const feed::PollPage& page) {
  if (page.gap) {
    Complain("a part of the history is gone here: messages may be missing before the next one");
  }
  std::vector<std::pair<ReadMessage, const std::string*>> messages;
  for (const feed::PollPage::Message& each : page.messages) {
    auto message = ParseMessage(each.json);
    if (!message) return Err(Broken(server_.url() + " gave what is no message"));
    // A node that is behind may repeat what another one gave.
    if (!repeats_.Add(message->id)) continue;
    lines_.Expect(*message);
    messages.emplace_back(std::move(*message), &each.token);
  }
  for (const auto& [message, token] : messages) {
    if (auto printed = Print(message, *token); !printed) return printed;
    if (Done()) return Save(*token, /*durable=*/true);
  }
  if (after_ == page.token && messages.empty()) return {};
  return Save(page.token, /*durable=*/true);
}

Result<void, Failure> Tail::Print(const ReadMessage& message, const std::string& after) {
  const SignalsWait signals;
  if (auto written = WriteOut(lines_.Line(message), &signals); !written) {
    return Err(Broken(written.error()));
  }
  ++printed_;
  state_.Printed(message.id);
  return after.empty() ? Result<void, Failure>{} : Save(after, /*durable=*/false);
}

Result<void, Failure> Tail::Save(const std::string& after, bool durable) {
  after_ = after;
  if (line_.state_file.empty()) return {};
  auto saved = state_.Save(after, durable);
  return saved ? Result<void, Failure>{} : Err(Broken(saved.error()));
}

}  // namespace chatchain::terminal
