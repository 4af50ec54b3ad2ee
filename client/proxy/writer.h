// SPDX-License-Identifier: MIT
// Writes: hands the items to the lanes of the chosen nodes and waits for the first durable success
// of each. Copies (ChatChain-Acks) are counted two ways: nodes that took the item from here, and
// what one of them learns from its peers' pulls: where the former are too few, and, while many
// write, from the first. For what comes by a pull is one record, and what two nodes took are two,
// which every node has to store.
//
// Thread-safe; Write() blocks its caller.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/config.h"
#include "client/proxy/budgets.h"
#include "client/proxy/write_lane.h"
#include "common/util/mutex.h"

namespace chatchain {

struct WriteRequest {
  // Items of POST /messages/batch, each with its key and stamp: the same on every try.
  std::vector<std::string> items;
  int copies = 1;    // nodes that must hold each item
  std::string acks;  // ChatChain-Acks as the client sent it; empty: not asked
  SteadyTime deadline{};
};

struct WriteResult {
  std::vector<ItemOutcome> items;             // as in the request; status 0: no node took it
  std::vector<int> copies;                    // by item, where copies were asked for: known holders
  std::vector<WriteOutcome::Source> sources;  // the nodes whose answers are in `items`
  std::vector<std::string> failures;          // what each node said that took nothing
  int attempts = 0;                           // nodes asked
  bool busy = false;                          // every node's queue was full
};

class FanOutWriter {
 public:
  FanOutWriter(std::vector<NodeLink*> nodes, Strategy strategy, const WriteLaneOptions& lanes,
               int hedge_max_ms, Budgets& budgets, ProxyMetrics& metrics, const Clock& clock);

  // REQUIRES: at least one item.
  WriteResult Write(WriteRequest request);

  size_t queued_messages(int node) const;

 private:
  void WriteChunk(const WriteRequest& request, size_t begin, size_t end, WriteResult* result);
  // `crowded`: the lead first, then the nodes behind it.
  Choice ChooseNow(bool crowded);
  using Lanes = std::vector<std::unique_ptr<WriteLane>>;  // by node index
  // Those whose nodes wait for `copies`, more than 1; null where there are too many kinds of them.
  // Valid as long as this object.
  const Lanes* PullLanes(int copies) EXCLUDES(lanes_mutex_);
  // One pass over the nodes; true when nobody's queue had room.
  bool RunRound(const std::shared_ptr<WriteOp>& op, const WriteRequest& request, SteadyTime started,
                WriteResult* result);
  // Waits at a node that holds the items until it knows of enough copies.
  void AwaitCopies(const std::shared_ptr<WriteOp>& op, const WriteRequest& request, size_t begin,
                   WriteResult* result);

  const std::vector<NodeLink*> nodes_;
  const Strategy strategy_;
  const int hedge_max_ms_;
  Budgets& budgets_;
  ProxyMetrics& metrics_;
  const Clock& clock_;
  std::atomic<uint64_t> rotation_{0};
  std::atomic<int> writing_{0};  // calls under way
  std::atomic<int> lead_{0};     // the node that is asked first while many write
  const WriteLaneOptions lane_options_;
  const Lanes lanes_;
  mutable Mutex lanes_mutex_;
  // By the number of copies; made when they are first asked for.
  std::map<int, Lanes> copy_lanes_ GUARDED_BY(lanes_mutex_);
};

}  // namespace chatchain
