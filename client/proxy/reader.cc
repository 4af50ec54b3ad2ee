// SPDX-License-Identifier: MIT
#include "client/proxy/reader.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "client/proxy/convergence.h"
#include "client/proxy/pacing.h"

namespace chatchain {

namespace {
constexpr size_t kMaxHelpers = 128;
}

Reader::Reader(std::vector<NodeLink*> nodes, Strategy strategy, const TokenCodec& tokens,
               TokenHints& hints, Budgets& budgets, ProxyMetrics& metrics, const Clock& clock)
    : nodes_(std::move(nodes)),
      strategy_(strategy),
      tokens_(tokens),
      hints_(hints),
      budgets_(budgets),
      metrics_(metrics),
      clock_(clock),
      helpers_(kMaxHelpers),
      hedger_(nodes_, budgets, metrics, helpers_, clock) {}

Choice Reader::ChooseFor(const ReadRequest& request, SteadyTime now) {
  std::vector<NodeView> views;
  views.reserve(nodes_.size());
  for (const NodeLink* node : nodes_) views.push_back(node->View(now));
  if (!request.session.empty()) {
    const auto issuer = hints_.Issuer(request.session);
    if (issuer && static_cast<size_t>(*issuer) < views.size()) {
      views[static_cast<size_t>(*issuer)].satisfies = true;
    } else if (const auto token = tokens_.DecodeSession(request.session)) {
      for (size_t i = 0; i < nodes_.size(); ++i) {
        const auto heads = nodes_[i]->heads();
        views[i].satisfies = heads && Satisfies(*heads, *token);
      }
    }
  }
  return Choose(views, /*for_write=*/false, rotation_.fetch_add(1, std::memory_order_relaxed));
}

void Reader::RunRound(const std::shared_ptr<ReadRace>& race, SteadyTime deadline) {
  int node = race->TakeNext();
  if (strategy_ == Strategy::kFanout) {
    // The others of the first tier at once; the best one on this thread. What no helper can take is
    // asked later, if it comes to that.
    for (int other = race->TakeFanout(); other >= 0; other = race->TakeFanout()) {
      if (!helpers_.Submit([race, other] { race->Run(other); })) {
        race->GiveBack(other);
        break;
      }
    }
  }
  while (node >= 0) {
    if (nodes_.size() > 1) {
      const Hedger::Watch watch(hedger_, race, nodes_[static_cast<size_t>(node)]->hedge_delay_ms(),
                                strategy_ == Strategy::kHedged);
      race->Run(node);
    } else {
      race->Run(node);
    }
    if (race->over() || clock_.Steady() >= deadline) return;
    node = race->TakeNext();
    if (node < 0 && race->running() > 0) {
      race->WaitForTries(race->answered()
                             ? std::min(deadline, clock_.Steady() + std::chrono::seconds(1))
                             : deadline);
      node = race->TakeNext();
    }
  }
}

ReadResult Reader::Read(ReadRequest given) {
  budgets_.hedges.Earn();
  budgets_.retries.Earn();
  const auto request = std::make_shared<const ReadRequest>(std::move(given));
  ReadResult result;
  for (int round = 0;; ++round) {
    const SteadyTime now = clock_.Steady();
    auto race = std::make_shared<ReadRace>(request, nodes_, ChooseFor(*request, now), clock_);
    RunRound(race, request->deadline);
    ReadResult latest = race->Take();
    // Nodes, not tries: another round asks the same ones.
    latest.attempts = std::max(latest.attempts, result.attempts);
    result = std::move(latest);
    if (result.answered) {
      if (const auto token = result.response.headers.Get("ChatChain-Session");
          token && !result.response.headers.Get("ChatChain-Stale")) {
        hints_.Remember(*token, result.node);
      }
      return result;
    }
    const auto backoff = RoundBackoff(round);
    const SteadyTime again = clock_.Steady();
    if (!backoff || again + *backoff >= request->deadline) break;
    if (!budgets_.retries.Take(again)) {
      metrics_.rounds_refused.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    metrics_.rounds.fetch_add(1, std::memory_order_relaxed);
    std::this_thread::sleep_for(*backoff);
  }
  metrics_.unanswered.fetch_add(1, std::memory_order_relaxed);
  return result;
}

}  // namespace chatchain
