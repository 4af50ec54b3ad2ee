// SPDX-License-Identifier: MIT
// The proxy without HTTP on the client's side: the nodes and what reads from and writes to them. It
// holds no durable state; any number of proxies may run.
//
// Threads: the caller's for each request; per node two senders of writes and one prober; one
// hedger; and helpers for second tries. Thread-safe.
#pragma once

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
#include "common/protocol/token.h"

namespace chatchain {

// What the proxy knows of the whole network, for GET /network.
struct NetworkReport {
  struct Node {
    NodeReport report;
    int64_t lag = -1;  // records that others have shown and it has not; -1: not known
    size_t queued_messages = 0;
  };
  std::vector<Node> nodes;
  int ready = 0;
  bool converged = false;  // of the nodes that answer
};

class Proxy {
 public:
  Proxy(const ClientConfig& config, const Clock& clock, Random& random);
  // REQUIRES: no call under way. Ends what is still in flight to nodes.
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // Callers that ask for the same at the same time share one request to a node.
  ReadResult Read(ReadRequest request);
  // `name`: what makes the request the same as another; callers that bring the same one at the same
  // time share one result, and those that did not begin it hear so (`*repeated`). Empty: never.
  WriteResult Write(WriteRequest request, const std::string& name = "", bool* repeated = nullptr);

  // The session token of an answer to a write: what the answering nodes hold, joined with what the
  // client brought (empty: nothing).
  std::string JoinSession(const std::vector<WriteOutcome::Source>& sources,
                          const std::string& brought);
  const TokenCodec& tokens() const { return tokens_; }

  NetworkReport Network() const;
  bool ready() const;
  size_t node_count() const { return nodes_.size(); }
  NodeMetrics& node_metrics(size_t node) { return nodes_[node]->metrics(); }
  ProxyMetrics& metrics() { return metrics_; }

 private:
  const Clock& clock_;
  TokenCodec tokens_;
  TokenHints hints_;
  Budgets budgets_;
  ProxyMetrics metrics_;
  std::vector<std::unique_ptr<NodeLink>> nodes_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Writer> writer_;
  SingleFlight<ReadResult> reads_;
  SingleFlight<WriteResult> writes_;
  std::vector<std::unique_ptr<Prober>> probers_;  // last: they stop first
};

}  // namespace chatchain
