// SPDX-License-Identifier: MIT
// The way of writes to one node: a bounded queue and a few sender threads. Natural batching: what
// queued up while the last requests were in flight travels as one POST /messages/batch. No timer,
// so a lone message leaves at once.
//
// A slow or hung node delays nobody: its queue fills, what other nodes have answered meanwhile is
// dropped unsent (sync brings it there), and once the queue is full the node is passed over.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "client/proxy/node_link.h"
#include "client/proxy/write_op.h"

namespace chatchain {

struct WriteLaneOptions {
  size_t queue_messages = 10'000;         // accepted while fewer wait
  size_t queue_bytes = 64 * 1024 * 1024;  // and while they are no larger than this
  size_t batch_messages = 1'000;          // in one request; at most what the protocol allows
  // The node answers once so many nodes hold a message, or says how many do: what it learns from
  // its peers' pulls. 1: once it has it itself. A node that cannot count so many, because it knows
  // of fewer nodes, is asked for none.
  int copies = 1;
  size_t senders = 2;  // requests in flight at most
};

class WriteLane {
 public:
  // `node`: the index under which it reports.
  WriteLane(int node, NodeLink& link, const WriteLaneOptions& options, const Clock& clock);
  ~WriteLane();  // ends what is in flight
  WriteLane(const WriteLane&) = delete;
  WriteLane& operator=(const WriteLane&) = delete;

  // False when the queue is full: nothing will be reported then. REQUIRES: op->Expect() was called.
  bool Push(std::shared_ptr<WriteOp> op);

  size_t queued_messages() const;
  // What a batch took of late: a moving average; 0 before the first.
  int64_t expected_us() const { return expected_us_.load(std::memory_order_relaxed); }

 private:
  using Batch = std::vector<std::shared_ptr<WriteOp>>;

  void Run(size_t sender);
  // Waits until there is something to send; empty when stopping.
  Batch TakeBatch() EXCLUDES(mutex_);
  // What goes into one request, in the order of the queue; drops what nobody wants any more.
  Batch Collect() REQUIRES(mutex_);
  bool Full() const REQUIRES(mutex_);
  void Forget(const WriteOp& op) REQUIRES(mutex_);
  void DropUnwanted(SteadyTime now) REQUIRES(mutex_);
  void SendBatch(const Batch& batch, int copies, http::Cancellation* cancellation);
  void Distribute(const Batch& batch, const NodeAnswer& answer);

  const int node_;
  NodeLink& link_;
  const WriteLaneOptions options_;
  const Clock& clock_;
  std::atomic<int64_t> expected_us_{0};

  mutable Mutex mutex_;
  CondVar called_cv_;
  std::deque<std::shared_ptr<WriteOp>> queue_ GUARDED_BY(mutex_);
  size_t queued_ GUARDED_BY(mutex_) = 0;  // messages in queue_
  size_t queued_bytes_ GUARDED_BY(mutex_) = 0;
  size_t resting_ GUARDED_BY(mutex_) = 0;   // senders
  bool called_ GUARDED_BY(mutex_) = false;  // one of them is on its way
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<http::Cancellation>> in_flight_ GUARDED_BY(mutex_);  // one a sender
  std::vector<std::thread> senders_;
};

}  // namespace chatchain
