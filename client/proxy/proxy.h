// SPDX-License-Identifier: MIT
// The proxy without HTTP on the client's side: the nodes and what reads from and writes to them. It
// holds no durable state; any number of proxies may run.
//
// Nodes and limits can be replaced while it works: what has begun ends with those that it began
// with.
//
// Threads: event loops, on which requests wait for their nodes, and one prober per node. A request
// that comes from one of these loops stays on it. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/config.h"
#include "client/proxy/budgets.h"
#include "client/proxy/node_link.h"
#include "client/proxy/prober.h"
#include "client/proxy/reader.h"
#include "client/proxy/single_flight.h"
#include "client/proxy/writer.h"
#include "common/http/event_loop.h"
#include "common/protocol/token.h"

namespace chatchain {

// What the proxy knows of the whole network, for GET /network.
struct NetworkReport {
  struct Node {
    std::shared_ptr<const NodeLink> link;
    NodeReport report;
    int64_t lag = -1;  // records that others have shown and it has not; -1: not known
    size_t queued_messages = 0;
  };
  std::vector<Node> nodes;
  int ready = 0;
  bool converged = false;  // of the nodes that answer
  Strategy read_strategy = Strategy::kHedged;
  Strategy write_strategy = Strategy::kFanout;
};

class Proxy {
 public:
  // Nodes are asked nothing before StartProbing() or the first request.
  Proxy(const ClientConfig& config, const Clock& clock, Random& random);
  // REQUIRES: no call under way. Ends what is still in flight to nodes.
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // Where requests wait for nodes. What is called there must not block.
  http::EventLoops& loops() { return loops_; }

  // How the nodes are is asked from now on.
  void StartProbing();
  // Takes the nodes, strategies, limits of nodes and budgets of `config` for what begins from now
  // on. A node that stays keeps its connections and what is known of it.
  void Reconfigure(const ClientConfig& config);

  // Callers that ask for the same at the same time share one request to a node. `done` is called
  // once, on the event loop or the caller's thread.
  using ReadDone = std::function<void(SharedAnswer<ReadResult>)>;
  void StartRead(ReadRequest request, ReadDone done);
  // The same for callers that may block.
  ReadResult Read(ReadRequest request);
  // `name`: what makes the request the same as another; callers that bring the same one at the same
  // time share one result, and those that did not begin it hear so (`repeated`). Empty: never.
  using WriteDone = std::function<void(WriteResult, bool repeated)>;
  void StartWrite(WriteRequest request, const std::string& name, WriteDone done);
  WriteResult Write(WriteRequest request, const std::string& name = "", bool* repeated = nullptr);

  // The session token of an answer to a write: what the answering nodes hold, joined with what the
  // client brought (empty: nothing).
  std::string JoinSession(const std::vector<WriteOutcome::Source>& sources,
                          const std::string& brought);
  const TokenCodec& tokens() const { return tokens_; }

  NetworkReport Network() const;
  bool ready() const;
  size_t node_count() const { return current()->members.size(); }
  // A node by its address; null when it is not, or no longer, one of the nodes.
  std::shared_ptr<const NodeLink> FindNode(std::string_view address) const;
  ProxyMetrics& metrics() { return metrics_; }

 private:
  // A node from when it is configured until nobody uses it any more.
  struct Member {
    Member(std::string address, const NodeLinkOptions& options, int interval_ms,
           http::EventLoops& loops, const Clock& clock, Random& random)
        : link(std::move(address), options, loops, clock, random), probe_interval_ms(interval_ms) {}
    NodeLink link;
    const int probe_interval_ms;
    std::unique_ptr<Prober> prober;  // null until StartProbing()
  };
  // What one configuration makes; never changed, shared by the requests that began with it.
  struct Nodes {
    explicit Nodes(const ClientConfig& config);
    std::vector<std::shared_ptr<NodeLink>> links() const;

    TokenHints hints;
    Budgets budgets;
    Strategy read_strategy;
    Strategy write_strategy;
    std::vector<std::shared_ptr<Member>> members;
    std::unique_ptr<Reader> reader;
    std::unique_ptr<FanOutWriter> writer;
  };

  std::shared_ptr<Nodes> current() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return current_;
  }
  std::shared_ptr<Nodes> MakeNodes(const ClientConfig& config, const Nodes* before);
  void Probe(Member* member);

  // The first to be made and the last to end: requests that are given up may still wait on it.
  http::EventLoops loops_;
  const Clock& clock_;
  Random& random_;
  TokenCodec tokens_;
  ProxyMetrics metrics_;
  SingleFlight<ReadResult> reads_;
  SingleFlight<WriteResult> writes_;
  mutable Mutex mutex_;
  bool probing_ = false;  // of the one thread that starts and reconfigures
  std::shared_ptr<Nodes> current_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
