// SPDX-License-Identifier: MIT
// One node as the proxy knows it: its connections, its breaker, how fast it is, what it last said
// of itself. All exchanges with the node go through Ask(), which judges the outcome and keeps the
// books.
//
// Thread-safe. Only Probe() blocks.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client/proxy/breaker.h"
#include "client/proxy/choice.h"
#include "client/proxy/latency.h"
#include "client/proxy/metrics.h"
#include "client/proxy/verdict.h"
#include "common/http/client.h"
#include "common/http/event_loop.h"
#include "common/protocol/record.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"
#include "common/util/random.h"

namespace chatchain {

// What one node made of one request.
struct NodeAnswer {
  AnswerVerdict verdict;
  http::ClientResponse response;  // empty without an answer
  std::string error;              // when kFailed: the node's address and the reason, for the client
  bool cancelled = false;
};

// The form that a good answer has; anything else is garbage.
enum class Expect { kObject, kPage };

// The last good probe.
struct ProbeResult {
  NodeState state = NodeState::kUnknown;
  std::shared_ptr<const HeadVector> heads;  // null: none were in the answer
};

// For GET /network and the metrics.
struct NodeReport {
  std::string address;
  std::string id;  // empty: not known
  NodeState state = NodeState::kUnknown;
  Breaker::State breaker = Breaker::State::kClosed;
  bool ready = false;
  std::optional<int64_t> p50_us;
  std::optional<int64_t> p99_us;
  std::optional<int64_t> messages;
  std::shared_ptr<const HeadVector> heads;
  std::string last_error;  // empty: none
};

struct NodeLinkOptions {
  BreakerOptions breaker;
  int connect_timeout_ms = 300;
  int hedge_min_ms = 20;
  int hedge_max_ms = 500;

  bool operator==(const NodeLinkOptions&) const = default;
};

class NodeLink {
 public:
  // `loops` outlive this.
  NodeLink(std::string address, const NodeLinkOptions& options, http::EventLoops& loops,
           const Clock& clock, Random& random);

  // One try. `deadline` bounds it; `patient` is for requests that may rightly wait long at the node
  // and say nothing of its health meanwhile. A cancelled try counts as one that took at least that
  // long. `done` is called once, on an event loop, never within this call, and keeps this object
  // alive until then. Where this throws it is not called.
  using Done = std::function<void(NodeAnswer)>;
  void Ask(http::ClientRequest request, Expect expect, SteadyTime deadline,
           const http::Cancellation* cancellation, bool patient, Done done);
  // An answer that looked well was not what the request asks for.
  void ReportGarbage(std::string_view what);

  // For the prober: a plain exchange that is not judged.
  Result<http::ClientResponse, http::TransportError> Probe(const std::string& target,
                                                           SteadyTime deadline,
                                                           http::Cancellation* cancellation);
  void OnProbe(const ProbeResult& result, int64_t took_us);
  void OnProbeFailure(std::string why);
  void set_identity(std::string id, std::optional<int64_t> messages);

  NodeView View(SteadyTime now) const;
  // No sign of life since `since`, for so long that a read which needs not wait for anything would
  // have been answered: see kQuietAfter.
  bool Quiet(SteadyTime since, SteadyTime now) const;
  std::shared_ptr<const HeadVector> heads() const;
  int64_t hedge_delay_ms();
  NodeReport Report();

  const NodeLinkOptions& options() const { return options_; }
  const std::string& address() const { return client_.address(); }
  NodeMetrics& metrics() { return metrics_; }
  const NodeMetrics& metrics() const { return metrics_; }

 private:
  // Owes an answer from here on: silence counts as hanging.
  void Begin(SteadyTime now);
  // `answered`: it showed a sign of life. `patience`: silence that long says that it hangs.
  void End(bool answered, std::chrono::milliseconds patience, SteadyTime now);
  NodeAnswer JudgeResult(Result<http::ClientResponse, http::TransportError> result, Expect expect,
                         SteadyTime::duration took) const;
  NodeAnswer JudgeAnswer(http::ClientResponse response, Expect expect) const;
  // What becomes of an exchange, with the books kept.
  struct Asked {
    Expect expect;
    bool patient;
    bool get;
    bool waits;  // the node may rightly be silent for a while
    SteadyTime begin;
  };
  NodeAnswer Conclude(const Asked& asked,
                      Result<http::ClientResponse, http::TransportError> result);
  void Record(const NodeAnswer& answer, bool get, int64_t took_us, SteadyTime now);

  const NodeLinkOptions options_;
  http::EventLoops& loops_;
  const Clock& clock_;
  Random& random_;
  http::Client client_;
  NodeMetrics metrics_;

  mutable Mutex mutex_;
  Breaker breaker_ GUARDED_BY(mutex_);
  LatencyWindow window_ GUARDED_BY(mutex_);       // of everything that clients asked
  LatencyWindow read_window_ GUARDED_BY(mutex_);  // of reads: what hedging goes by
  double expected_us_ GUARDED_BY(mutex_) = 0;     // moving average of reads
  SteadyTime last_read_ GUARDED_BY(mutex_){};
  int64_t hedge_delay_ms_ GUARDED_BY(mutex_);  // computed every 100 ms at most
  SteadyTime hedge_delay_at_ GUARDED_BY(mutex_){};
  // Requests and probes apart: a node may answer the one and hang on the other.
  int owed_ GUARDED_BY(mutex_) = 0;            // requests that should be answered promptly
  SteadyTime last_sign_ GUARDED_BY(mutex_){};  // the last answer to one; or when it began to owe
  bool left_mute_ GUARDED_BY(mutex_) = false;  // given up on while mute, and no sign since
  std::optional<SteadyTime> probe_sent_ GUARDED_BY(mutex_);  // while one is under way
  ProbeResult probe_ GUARDED_BY(mutex_);
  std::string id_ GUARDED_BY(mutex_);
  std::optional<int64_t> messages_ GUARDED_BY(mutex_);
  std::string last_error_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
