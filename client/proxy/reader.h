// SPDX-License-Identifier: MIT
// Reads: chooses nodes, runs the race by the configured strategy, and asks again while every node
// fails and the budget allows. Thread-safe; Read() blocks its caller, which makes the first try
// itself.
#pragma once

#include <memory>
#include <vector>

#include "client/config.h"
#include "client/proxy/budgets.h"
#include "client/proxy/hedger.h"
#include "client/proxy/helper_pool.h"
#include "client/proxy/read_race.h"
#include "client/proxy/token_hints.h"
#include "common/protocol/token.h"

namespace chatchain {

class Reader {
 public:
  Reader(std::vector<NodeLink*> nodes, Strategy strategy, const TokenCodec& tokens,
         TokenHints& hints, Budgets& budgets, ProxyMetrics& metrics, const Clock& clock);

  ReadResult Read(ReadRequest request);

 private:
  Choice ChooseFor(const ReadRequest& request, SteadyTime now);
  void RunRound(const std::shared_ptr<ReadRace>& race, SteadyTime deadline);

  const std::vector<NodeLink*> nodes_;
  const Strategy strategy_;
  const TokenCodec& tokens_;
  TokenHints& hints_;
  Budgets& budgets_;
  ProxyMetrics& metrics_;
  const Clock& clock_;
  std::atomic<uint64_t> rotation_{0};
  HelperPool helpers_;
  Hedger hedger_;  // after helpers_: it stops before them
};

}  // namespace chatchain
