// SPDX-License-Identifier: MIT
// The way of writes to one node: a bounded queue, and a few requests in flight. Natural batching:
// what queued up while the last requests were in flight travels as one POST /messages/batch. No
// timer, so a lone message leaves at once.
//
// A slow or hung node delays nobody: its queue fills, what other nodes have answered meanwhile is
// dropped unsent (sync brings it there), and once the queue is full the node is passed over.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "client/proxy/node_link.h"
#include "client/proxy/write_op.h"
#include "common/http/event_loop.h"

namespace chatchain {

struct WriteLaneOptions {
  size_t queue_messages = 10'000;         // accepted while fewer wait
  size_t queue_bytes = 64 * 1024 * 1024;  // and while they are no larger than this
  size_t batch_messages = 1'000;          // in one request; at most what the protocol allows
  // The node answers once so many nodes hold a message, or says how many do: what it learns from
  // its peers' pulls. 1: once it has it itself. A node that cannot count so many, because it knows
  // of fewer nodes, is asked for none.
  int copies = 1;
  size_t in_flight = 2;  // requests at most
};

class WriteLane : public std::enable_shared_from_this<WriteLane> {
 public:
  // `node`: the index under which it reports.
  WriteLane(int node, std::shared_ptr<NodeLink> link, const WriteLaneOptions& options,
            http::EventLoop& loop, const Clock& clock);

  // False when the queue is full: nothing will be reported then. REQUIRES: op->Expect() was called.
  bool Push(std::shared_ptr<WriteOp> op);

  size_t queued_messages() const;
  // What a batch took of late: a moving average; 0 before the first.
  int64_t expected_us() const { return expected_us_.load(std::memory_order_relaxed); }

 private:
  using Batch = std::vector<std::shared_ptr<WriteOp>>;
  using BatchPtr = std::shared_ptr<const Batch>;

  // On the loop: sends what there is, as far as requests may be in flight.
  void Send() EXCLUDES(mutex_);
  // What goes into one request, in the order of the queue; drops what nobody wants any more.
  Batch Collect() REQUIRES(mutex_);
  bool Full() const REQUIRES(mutex_);
  void Forget(const WriteOp& op) REQUIRES(mutex_);
  void DropUnwanted(SteadyTime now) REQUIRES(mutex_);
  // Whatever fails, each op of `batch` gets its report.
  void TrySend(const BatchPtr& batch, int copies) EXCLUDES(mutex_);
  void SendBatch(const BatchPtr& batch, int copies);
  void OnAnswer(const Batch& batch, SteadyTime begin, const NodeAnswer& answer) EXCLUDES(mutex_);
  // `*reported`: so many, from the first on, have their report.
  void Distribute(const Batch& batch, const NodeAnswer& answer, size_t* reported);
  void ReportFailure(const Batch& batch, size_t from, const std::string& why);

  const int node_;
  const std::shared_ptr<NodeLink> link_;
  const WriteLaneOptions options_;
  http::EventLoop& loop_;
  const Clock& clock_;
  std::atomic<int64_t> expected_us_{0};

  mutable Mutex mutex_;
  std::deque<std::shared_ptr<WriteOp>> queue_ GUARDED_BY(mutex_);
  size_t queued_ GUARDED_BY(mutex_) = 0;  // messages in queue_
  size_t queued_bytes_ GUARDED_BY(mutex_) = 0;
  size_t in_flight_ GUARDED_BY(mutex_) = 0;  // requests
  bool called_ GUARDED_BY(mutex_) = false;   // Send() is on its way
};

}  // namespace chatchain
