// SPDX-License-Identifier: MIT
// Reads: chooses nodes, runs the race by the configured strategy, and asks again while every node
// fails and the budget allows.
//
// Hedging: a read that waits for its node longer than that node's p95 gets a second try, at most
// once a read, within the budget. Nodes that are mute (hung) are left without asking the budget,
// under every strategy: that is moving on, not hedging. Before a node counts as mute, a read that
// need not wait for anything moves on within the retry budget; and an answer that is not final does
// not wait for nodes that hang.
//
// Thread-safe; a read that waits holds no thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "client/config.h"
#include "client/proxy/budgets.h"
#include "client/proxy/read_race.h"
#include "client/proxy/token_hints.h"
#include "common/http/event_loop.h"
#include "common/protocol/token.h"

namespace chatchain {

class Reader {
 public:
  Reader(std::vector<std::shared_ptr<NodeLink>> nodes, Strategy strategy, const TokenCodec& tokens,
         TokenHints& hints, Budgets& budgets, ProxyMetrics& metrics, http::EventLoops& loops,
         const Clock& clock);

  using Done = std::function<void(ReadResult)>;
  // `done` is called once, on an event loop or the caller's thread. `keep`: what keeps this object
  // and its nodes alive until the last try has ended.
  void Start(ReadRequest request, std::shared_ptr<const void> keep, Done done);

 private:
  class Call;
  Choice ChooseFor(const ReadRequest& request, SteadyTime now);

  const std::vector<std::shared_ptr<NodeLink>> nodes_;
  const Strategy strategy_;
  const TokenCodec& tokens_;
  TokenHints& hints_;
  Budgets& budgets_;
  ProxyMetrics& metrics_;
  http::EventLoops& loops_;
  const Clock& clock_;
  std::atomic<uint64_t> rotation_{0};
};

}  // namespace chatchain
