// SPDX-License-Identifier: MIT
#include "client/proxy/node_link.h"

#include <algorithm>

#include "client/proxy/json_slice.h"
#include "client/proxy/upstream.h"
#include "common/util/contain.h"

namespace chatchain {

namespace {

// A node that owes an answer and has given none for this long is asked after the others. Longer
// than a node may rightly wait for a session token (500 ms).
constexpr auto kMuteAfter = std::chrono::milliseconds(750);
// A read that names no session waits for nothing at the node. Silence as long as this makes it
// worth a retry elsewhere; whoever is left so is asked after the others until the next sign of
// life.
constexpr auto kQuietAfter = std::chrono::milliseconds(250);
constexpr auto kLeastPatience = std::chrono::milliseconds(250);
// Reads older than this say less of a node than its last probe.
constexpr auto kReadIsOld = std::chrono::seconds(5);

int64_t MicrosSince(SteadyTime begin, SteadyTime end) {
  return std::chrono::duration_cast<std::chrono::microseconds>(end - begin).count();
}

bool IsJson(const http::ClientResponse& response) {
  const auto type = response.headers.Get("Content-Type");
  return type && type->find("json") != std::string_view::npos;
}

// What a problem says, for the summary of a request that nobody could take.
std::string ProblemText(const http::ClientResponse& response) {
  std::string text = std::to_string(response.status);
  const auto detail = JsonMember(response.body, "detail");
  if (detail) {
    if (const auto plain = PlainJsonString(*detail))
      text += " " + std::string(plain->substr(0, 200));
  }
  return text;
}

bool IsKeyReused(const http::ClientResponse& response) {
  const auto type = JsonMember(response.body, "type");
  return type && PlainJsonString(*type) == kKeyReusedType;
}

}  // namespace

NodeLink::NodeLink(std::string address, const NodeLinkOptions& options, http::EventLoops& loops,
                   const Clock& clock, Random& random)
    : options_(options),
      loops_(loops),
      clock_(clock),
      random_(random),
      client_(std::move(address),
              {.connect_timeout_ms = options.connect_timeout_ms, .max_idle_connections = 128}),
      breaker_(options.breaker),
      hedge_delay_ms_(options.hedge_max_ms) {}

void NodeLink::Begin(SteadyTime now) {
  MutexLock lock(mutex_);
  if (owed_++ == 0) last_sign_ = now;
}

void NodeLink::End(bool answered, std::chrono::milliseconds patience, SteadyTime now) {
  MutexLock lock(mutex_);
  --owed_;
  if (answered) {
    last_sign_ = now;
    left_mute_ = false;
  } else if (now - last_sign_ >= patience) {
    left_mute_ = true;
  }
}

NodeAnswer NodeLink::JudgeAnswer(http::ClientResponse response, Expect expect) const {
  AnswerFacts facts{.status = response.status};
  const bool good = response.status >= 200 && response.status < 300;
  facts.genuine = response.headers.Get("ChatChain-Node").has_value() && IsJson(response);
  facts.stale = response.headers.Get("ChatChain-Stale").has_value();
  if (good) {
    const PageForm form = expect == Expect::kPage ? FormOfPage(response.body) : PageForm::kFull;
    facts.empty_page = form == PageForm::kEmpty;
    // Both ends: an answer cut short by a careless relay must not pass.
    const size_t first = response.body.find_first_not_of(" \t\r\n");
    const size_t last = response.body.find_last_not_of(" \t\r\n");
    facts.genuine = facts.genuine && form != PageForm::kNotAPage && first != std::string::npos &&
                    response.body[first] == '{' && response.body[last] == '}';
  }
  if (response.status == 422) facts.key_reused = IsKeyReused(response);

  NodeAnswer answer{.verdict = Judge(facts)};
  if (answer.verdict.finality == Finality::kFailed) {
    answer.error = client_.address() + ": " +
                   (facts.genuine || response.status >= 500 ? ProblemText(response)
                                                            : "not an answer of a node");
  }
  answer.response = std::move(response);
  return answer;
}

NodeAnswer NodeLink::JudgeResult(Result<http::ClientResponse, http::TransportError> result,
                                 Expect expect, SteadyTime::duration took) const {
  if (result) return JudgeAnswer(std::move(*result), expect);
  const http::TransportError& error = result.error();
  NodeAnswer answer{.verdict = Judge(error.kind)};
  // A deadline that a client set too short says nothing of the node.
  if (error.kind == http::TransportError::Kind::kTimeout && took < kLeastPatience) {
    answer.verdict.node_fault = false;
  }
  answer.cancelled = error.kind == http::TransportError::Kind::kCancelled;
  answer.error = error.detail.find(client_.address()) == std::string::npos
                     ? client_.address() + ": " + error.detail
                     : error.detail;
  return answer;
}

void NodeLink::Ask(http::ClientRequest request, Expect expect, SteadyTime deadline,
                   const http::Cancellation* cancellation, bool patient, Done done) {
  const bool get = request.method == "GET";
  const Asked asked{.expect = expect,
                    .patient = patient,
                    .get = get,
                    .waits = !get || request.headers.Get("ChatChain-Session"),
                    .begin = clock_.Steady()};
  if (!patient) Begin(asked.begin);
  try {
    client_.Start(loops_.Here(), std::move(request), deadline, cancellation,
                  [this, asked, done = std::move(done)](auto result) {
                    done(Conclude(asked, std::move(result)));
                  });
  } catch (...) {
    if (!patient) End(/*answered=*/false, kMuteAfter, asked.begin);
    throw;
  }
}

NodeAnswer NodeLink::Conclude(const Asked& asked,
                              Result<http::ClientResponse, http::TransportError> result) {
  const bool heard = result.has_value();
  SteadyTime end = asked.begin;
  NodeAnswer answer;
  const bool judged = Contained("judging an answer of a node", [&] {
    end = clock_.Steady();
    answer = JudgeResult(std::move(result), asked.expect, end - asked.begin);
    Record(answer, asked.get, MicrosSince(asked.begin, end), end);
  });
  if (!judged) answer = {.error = client_.address() + ": its answer could not be handled"};
  if (!asked.patient) {
    // Silence of the node and of this try: others may have been waiting for long.
    const bool slow = asked.waits || end - asked.begin < kQuietAfter;
    End(heard, slow ? kMuteAfter : kQuietAfter, end);
  }
  return answer;
}

void NodeLink::Record(const NodeAnswer& answer, bool get, int64_t took_us, SteadyTime now) {
  const bool fault = answer.verdict.node_fault;
  Counter& outcome = answer.cancelled                                 ? metrics_.cancelled
                     : fault                                          ? metrics_.faults
                     : answer.verdict.finality == Finality::kFinal    ? metrics_.final_answers
                     : answer.verdict.finality == Finality::kNotFinal ? metrics_.not_final
                                                                      : metrics_.refused;
  outcome.fetch_add(1, std::memory_order_relaxed);
  metrics_.duration.Observe(took_us);

  const uint64_t random = fault ? random_.Next() : 0;
  MutexLock lock(mutex_);
  if (!answer.cancelled) breaker_.OnRequest(!fault, now, random);
  if (fault) last_error_ = answer.error;
  // A refused connection is quick, and says nothing of how fast the node is.
  if (fault && !answer.cancelled) return;
  window_.Add(took_us, now);
  if (!get) return;
  read_window_.Add(took_us, now);
  constexpr double kWeight = 0.1;
  expected_us_ += kWeight * (static_cast<double>(took_us) - expected_us_);
  last_read_ = now;
}

void NodeLink::ReportGarbage(std::string_view what) {
  const SteadyTime now = clock_.Steady();
  const uint64_t random = random_.Next();
  metrics_.faults.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  breaker_.OnRequest(false, now, random);
  last_error_ = client_.address() + ": " + std::string(what);
}

Result<http::ClientResponse, http::TransportError> NodeLink::Probe(
    const std::string& target, SteadyTime deadline, http::Cancellation* cancellation) {
  {
    const SteadyTime now = clock_.Steady();
    MutexLock lock(mutex_);
    probe_sent_ = now;
  }
  auto result = client_.Send({.method = "GET", .target = target}, deadline, cancellation);
  MutexLock lock(mutex_);
  probe_sent_.reset();
  return result;
}

void NodeLink::OnProbe(const ProbeResult& result, int64_t took_us) {
  const SteadyTime now = clock_.Steady();
  MutexLock lock(mutex_);
  breaker_.OnProbe(true, now, 0);
  left_mute_ = false;
  probe_ = result;
  if (now - last_read_ > kReadIsOld) expected_us_ = static_cast<double>(took_us);
}

void NodeLink::OnProbeFailure(std::string why) {
  const SteadyTime now = clock_.Steady();
  const uint64_t random = random_.Next();
  MutexLock lock(mutex_);
  breaker_.OnProbe(false, now, random);
  probe_.state = NodeState::kDown;
  last_error_ = std::move(why);
}

void NodeLink::set_identity(std::string id, std::optional<int64_t> messages) {
  MutexLock lock(mutex_);
  if (!id.empty()) id_ = std::move(id);
  if (messages) messages_ = messages;
}

NodeView NodeLink::View(SteadyTime now) const {
  MutexLock lock(mutex_);
  return {.state = probe_.state,
          .breaker = breaker_.state(now),
          .mute = left_mute_ || (owed_ > 0 && now - last_sign_ > kMuteAfter) ||
                  (probe_sent_ && now - *probe_sent_ > kMuteAfter),
          .latency_us = static_cast<int64_t>(expected_us_),
          .in_flight = owed_};
}

bool NodeLink::Quiet(SteadyTime since, SteadyTime now) const {
  MutexLock lock(mutex_);
  return now - std::max(since, last_sign_) >= kQuietAfter;
}

std::shared_ptr<const HeadVector> NodeLink::heads() const {
  MutexLock lock(mutex_);
  return probe_.heads;
}

int64_t NodeLink::hedge_delay_ms() {
  constexpr auto kKeep = std::chrono::milliseconds(100);
  const SteadyTime now = clock_.Steady();
  MutexLock lock(mutex_);
  if (now - hedge_delay_at_ >= kKeep) {
    hedge_delay_at_ = now;
    hedge_delay_ms_ = HedgeDelayMs(read_window_.QuantileUs(0.95, now), options_.hedge_min_ms,
                                   options_.hedge_max_ms);
  }
  return hedge_delay_ms_;
}

NodeReport NodeLink::Report() {
  const SteadyTime now = clock_.Steady();
  const bool ready = IsReady(View(now));
  MutexLock lock(mutex_);
  return {.address = client_.address(),
          .id = id_,
          .state = probe_.state,
          .breaker = breaker_.state(now),
          .ready = ready,
          .p50_us = window_.QuantileUs(0.5, now),
          .p99_us = window_.QuantileUs(0.99, now),
          .messages = messages_,
          .heads = probe_.state == NodeState::kDown ? nullptr : probe_.heads,
          .last_error = last_error_};
}

}  // namespace chatchain
