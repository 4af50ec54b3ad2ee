// SPDX-License-Identifier: MIT
#include "client/proxy/prober.h"

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "client/proxy/json_slice.h"
#include "common/protocol/sync.h"
#include "common/util/log.h"

namespace chatchain {

namespace {

constexpr int kProbeTimeout_ms = 1'000;
// Details are for people: once in so many probes.
constexpr int kProbesPerDetail = 5;

std::optional<std::string_view> StringMember(std::string_view object, std::string_view name) {
  const auto value = JsonMember(object, name);
  return value ? PlainJsonString(*value) : std::nullopt;
}

}  // namespace

Prober::Prober(NodeLink& link, int interval_ms, const Clock& clock)
    : link_(link), interval_ms_(interval_ms), clock_(clock), thread_([this] { Run(); }) {}

Prober::~Prober() {
  std::shared_ptr<http::Cancellation> in_flight;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    in_flight = in_flight_;
  }
  wake_.NotifyAll();
  if (in_flight) in_flight->Cancel();
  thread_.join();
}

void Prober::Run() {
  pthread_setname_np(pthread_self(), "prober");
  for (int turn = 0;; ++turn) {
    const SteadyTime begin = clock_.Steady();
    ProbeOnce();
    if (turn % kProbesPerDetail == 0) AskForDetails();
    MutexLock lock(mutex_);
    const SteadyTime next = begin + std::chrono::milliseconds(interval_ms_);
    while (!stopping_ && clock_.Steady() < next) wake_.WaitUntil(mutex_, next);
    if (stopping_) return;
  }
}

Result<http::ClientResponse, http::TransportError> Prober::Get(const std::string& target) {
  auto cancellation = std::make_shared<http::Cancellation>();
  {
    MutexLock lock(mutex_);
    if (stopping_) return Err(http::TransportError{.kind = http::TransportError::Kind::kCancelled});
    in_flight_ = cancellation;
  }
  auto result = link_.Probe(target, clock_.Steady() + std::chrono::milliseconds(kProbeTimeout_ms),
                            cancellation.get());
  MutexLock lock(mutex_);
  in_flight_ = nullptr;
  return result;
}

void Prober::ProbeOnce() {
  const SteadyTime begin = clock_.Steady();
  const NodeState before = link_.View(begin).state;
  const auto answer = Get("/readyz");
  if (!answer) {
    if (answer.error().kind == http::TransportError::Kind::kCancelled) return;
    if (before != NodeState::kDown) {
      spdlog::warn("node {} does not answer: {}", link_.address(), LogSafe(answer.error().detail));
    }
    link_.OnProbeFailure(answer.error().detail);
    return;
  }
  const auto state = StringMember(answer->body, "state");
  if (!state || (answer->status != 200 && answer->status != 503)) {
    if (before != NodeState::kDown) {
      spdlog::warn("{} does not answer as a node does (status {})", link_.address(),
                   answer->status);
    }
    link_.OnProbeFailure(link_.address() + ": /readyz is not that of a node");
    return;
  }
  ProbeResult result{.state = ParseNodeState(*state)};
  if (const auto heads = JsonMember(answer->body, "heads")) {
    if (auto vector = HeadsFromJson(*heads)) {
      result.heads = std::make_shared<const HeadVector>(std::move(*vector));
    }
  }
  const auto took_us =
      std::chrono::duration_cast<std::chrono::microseconds>(clock_.Steady() - begin).count();
  link_.OnProbe(result, took_us);
  link_.set_identity(std::string(answer->headers.Get("ChatChain-Node").value_or("")), std::nullopt);
  if (before != result.state) {
    spdlog::info("node {} is {}", link_.address(), NodeStateName(result.state));
  }
}

void Prober::AskForDetails() {
  if (link_.View(clock_.Steady()).state == NodeState::kDown) return;
  const auto answer = Get("/nodes");
  if (!answer || answer->status != 200) return;
  const auto self = JsonMember(answer->body, "self");
  if (!self) return;
  std::optional<int64_t> messages;
  if (const auto text = JsonMember(*self, "messages")) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error == std::errc() && end == text->data() + text->size()) messages = value;
  }
  link_.set_identity(std::string(StringMember(*self, "id").value_or("")), messages);
}

}  // namespace chatchain
