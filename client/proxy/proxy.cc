// SPDX-License-Identifier: MIT
#include "client/proxy/proxy.h"

#include <algorithm>
#include <utility>

#include "client/proxy/convergence.h"

namespace chatchain {

namespace {

// Extra work in a burst is bounded too.
constexpr double kHedgeBurst = 10;
constexpr double kRetryBurst = 100;

}  // namespace

Proxy::Proxy(const ClientConfig& config, const Clock& clock, Random& random)
    : clock_(clock),
      tokens_(config.cluster_name),
      budgets_{
          .hedges = {config.hedge_percent / 100.0, config.hedge_percent > 0 ? kHedgeBurst : 0, 0},
          .retries = {config.retry_percent / 100.0, kRetryBurst,
                      static_cast<double>(config.retry_per_second)}} {
  const NodeLinkOptions link_options{.breaker = {.failures_to_open = config.breaker_failures,
                                                 .open_ms = config.breaker_open_ms,
                                                 .max_open_ms = config.breaker_max_ms},
                                     .connect_timeout_ms = config.connect_timeout_ms,
                                     .hedge_min_ms = config.hedge_min_ms,
                                     .hedge_max_ms = config.hedge_max_ms};
  std::vector<NodeLink*> links;
  for (const std::string& address : config.nodes) {
    nodes_.push_back(std::make_unique<NodeLink>(static_cast<int>(nodes_.size()), address,
                                                link_options, clock, random));
    links.push_back(nodes_.back().get());
  }
  reader_ = std::make_unique<Reader>(links, config.read_strategy, tokens_, hints_, budgets_,
                                     metrics_, clock);
  writer_ = std::make_unique<Writer>(
      links, config.write_strategy,
      WriteLaneOptions{.queue_messages = static_cast<size_t>(config.queue_per_node_messages),
                       .batch_messages = static_cast<size_t>(config.batch_max_items)},
      config.hedge_max_ms, budgets_, metrics_, clock);
  for (NodeLink* link : links) {
    probers_.push_back(std::make_unique<Prober>(*link, config.probe_interval_ms, clock));
  }
}

Proxy::~Proxy() = default;

ReadResult Proxy::Read(ReadRequest request) {
  std::string key = request.target;
  for (const auto& [name, value] : request.headers.all()) {
    key.append("\n").append(name).append(":").append(value);
  }
  key.push_back(request.expect == Expect::kPage ? 'p' : 'o');
  const SteadyTime deadline = request.deadline;
  bool shared = false;
  auto result = reads_.Do(
      key, deadline, [&] { return reader_->Read(std::move(request)); },
      [](const ReadResult& read) { return read.answered; }, &shared);
  if (!result) return reader_->Read(std::move(request));
  if (shared) metrics_.shared_reads.fetch_add(1, std::memory_order_relaxed);
  return std::move(*result);
}

WriteResult Proxy::Write(WriteRequest request, const std::string& name, bool* repeated) {
  if (name.empty()) return writer_->Write(std::move(request));
  // The same items, since identity is content; stamps are left out of account.
  const SteadyTime deadline = request.deadline;
  bool shared = false;
  auto result = writes_.Do(
      name + '\0' + request.acks, deadline, [&] { return writer_->Write(std::move(request)); },
      [](const WriteResult& write) {
        return std::all_of(write.items.begin(), write.items.end(), [](const ItemOutcome& item) {
          return item.status >= 200 && item.status < 300;
        });
      },
      &shared);
  if (!result) return writer_->Write(std::move(request));
  if (shared) metrics_.shared_writes.fetch_add(1, std::memory_order_relaxed);
  if (repeated != nullptr) *repeated = shared;
  return std::move(*result);
}

std::string Proxy::JoinSession(const std::vector<WriteOutcome::Source>& sources,
                               const std::string& brought) {
  if (sources.empty()) return brought;
  if (sources.size() == 1 && brought.empty()) {
    hints_.Remember(sources.front().token, sources.front().node);
    return sources.front().token;
  }
  TokenVector joined;
  for (const auto& source : sources) {
    if (const auto token = tokens_.DecodeSession(source.token)) Join(&joined, *token);
  }
  const TokenVector held = joined;
  if (const auto token = tokens_.DecodeSession(brought)) Join(&joined, *token);
  std::string text = tokens_.EncodeSession(joined);
  if (sources.size() == 1 && joined == held) hints_.Remember(text, sources.front().node);
  return text;
}

bool Proxy::ready() const {
  const SteadyTime now = clock_.Steady();
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const auto& node) { return IsReady(node->View(now)); });
}

NetworkReport Proxy::Network() const {
  NetworkReport network;
  std::vector<const HeadVector*> heads;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    NodeReport report = nodes_[i]->Report();
    heads.push_back(report.heads.get());
    network.ready += report.ready ? 1 : 0;
    network.nodes.push_back({.report = std::move(report),
                             .queued_messages = writer_->queued_messages(static_cast<int>(i))});
  }
  const Convergence convergence = Compare(heads);
  network.converged = convergence.converged;
  for (size_t i = 0; i < nodes_.size(); ++i) network.nodes[i].lag = convergence.lag[i];
  return network;
}

}  // namespace chatchain
