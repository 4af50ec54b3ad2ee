// SPDX-License-Identifier: MIT
// Writes: hands the items to the lanes of the chosen nodes until there is a durable success of
// each. Copies (ChatChain-Acks) are counted two ways: nodes that took the item from here, and what
// one of them learns from its peers' pulls: where the former are too few, and, while many write,
// from the first. For what comes by a pull is one record, and what two nodes took are two, which
// every node has to store.
//
// Thread-safe; a write that waits holds no thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/config.h"
#include "client/proxy/budgets.h"
#include "client/proxy/write_lane.h"
#include "common/http/event_loop.h"
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
  FanOutWriter(std::vector<std::shared_ptr<NodeLink>> nodes, Strategy strategy,
               const WriteLaneOptions& lanes, int hedge_max_ms, Budgets& budgets,
               ProxyMetrics& metrics, http::EventLoops& loops, const Clock& clock);

  using Done = std::function<void(WriteResult)>;
  // REQUIRES: at least one item. `done` is called once, on an event loop or the caller's thread.
  // `keep`: what keeps this object alive until then.
  void Start(WriteRequest request, std::shared_ptr<const void> keep, Done done);

  size_t queued_messages(int node) const;

 private:
  class Call;
  // `crowded`: the lead first, then the nodes behind it.
  Choice ChooseNow(bool crowded);
  using Lanes = std::vector<std::shared_ptr<WriteLane>>;  // by node index
  // Those whose nodes wait for `copies`. Valid as long as this object. REQUIRES: not more copies
  // than nodes, which bounds what is made.
  const Lanes& LanesFor(int copies) EXCLUDES(lanes_mutex_);
  Lanes MakeLanes(const WriteLaneOptions& options);

  const std::vector<std::shared_ptr<NodeLink>> nodes_;
  const Strategy strategy_;
  const int hedge_max_ms_;
  Budgets& budgets_;
  ProxyMetrics& metrics_;
  http::EventLoops& loops_;
  const Clock& clock_;
  std::atomic<uint64_t> rotation_{0};
  std::atomic<int> writing_{0};  // calls under way
  std::atomic<int> lead_{0};     // the node that is asked first while many write
  const WriteLaneOptions lane_options_;
  const Lanes lanes_;
  mutable Mutex lanes_mutex_;
  // By the number of copies; made when they are first asked for, fewer than there are nodes.
  std::map<int, Lanes> copy_lanes_ GUARDED_BY(lanes_mutex_);
};

}  // namespace chatchain
