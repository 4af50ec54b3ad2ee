// SPDX-License-Identifier: MIT
#include "client/proxy/proxy.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include "client/proxy/convergence.h"

namespace chatchain {

namespace {

// Extra work in a burst is bounded too.
constexpr double kHedgeBurst = 10;
constexpr double kRetryBurst = 100;

// More would help only where the proxy has a machine for itself, and many cores.
constexpr size_t kMostLoops = 4;
size_t LoopCount() {
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMostLoops);
}

// The same for reads that must have the same answer.
std::string KeyOf(const ReadRequest& request) {
  std::string key = request.target;
  for (const auto& [name, value] : request.headers.all()) {
    key.append("\n").append(name).append(":").append(value);
  }
  key.push_back(request.expect == Expect::kPage ? 'p' : 'o');
  return key;
}

// What start(result) promises, on this thread. Throws where that is forgotten.
template <typename Value, typename Start>
Value Await(Start start) {
  auto result = std::make_shared<std::promise<Value>>();
  auto value = result->get_future();
  start(std::move(result));
  return value.get();
}

}  // namespace

Proxy::Nodes::Nodes(const ClientConfig& config)
    : budgets{.hedges = {config.hedge_percent / 100.0, config.hedge_percent > 0 ? kHedgeBurst : 0,
                         0},
              .retries = {config.retry_percent / 100.0, kRetryBurst,
                          static_cast<double>(config.retry_per_second)}},
      read_strategy(config.read_strategy),
      write_strategy(config.write_strategy) {}

std::vector<std::shared_ptr<NodeLink>> Proxy::Nodes::links() const {
  std::vector<std::shared_ptr<NodeLink>> links;
  links.reserve(members.size());
  for (const auto& member : members) links.emplace_back(member, &member->link);
  return links;
}

Proxy::Proxy(const ClientConfig& config, const Clock& clock, Random& random)
    : loops_(LoopCount(), "http-io"), clock_(clock), random_(random), tokens_(config.cluster_name) {
  auto nodes = MakeNodes(config, nullptr);
  MutexLock lock(mutex_);
  current_ = std::move(nodes);
}

Proxy::~Proxy() {
  loops_.Stop();
}

std::shared_ptr<Proxy::Nodes> Proxy::MakeNodes(const ClientConfig& config, const Nodes* before) {
  const NodeLinkOptions options{.breaker = {.failures_to_open = config.breaker_failures,
                                            .open_ms = config.breaker_open_ms,
                                            .max_open_ms = config.breaker_max_ms},
                                .connect_timeout_ms = config.connect_timeout_ms,
                                .hedge_min_ms = config.hedge_min_ms,
                                .hedge_max_ms = config.hedge_max_ms};
  auto nodes = std::make_shared<Nodes>(config);
  for (const std::string& address : config.nodes) {
    std::shared_ptr<Member> member;
    if (before != nullptr) {
      for (const auto& old : before->members) {
        const bool same = old->link.address() == address && old->link.options() == options &&
                          old->probe_interval_ms == config.probe_interval_ms;
        if (same) member = old;
      }
    }
    if (member == nullptr) {
      member = std::make_shared<Member>(address, options, config.probe_interval_ms, loops_, clock_,
                                        random_);
    }
    nodes->members.push_back(std::move(member));
  }
  nodes->reader = std::make_unique<Reader>(nodes->links(), config.read_strategy, tokens_,
                                           nodes->hints, nodes->budgets, metrics_, loops_, clock_);
  nodes->writer = std::make_unique<FanOutWriter>(
      nodes->links(), config.write_strategy,
      WriteLaneOptions{.queue_messages = static_cast<size_t>(config.queue_per_node_messages),
                       .batch_messages = static_cast<size_t>(config.batch_max_items)},
      config.hedge_max_ms, nodes->budgets, metrics_, loops_, clock_);
  return nodes;
}

void Proxy::Probe(Member* member) {
  if (member->prober != nullptr) return;
  member->prober = std::make_unique<Prober>(member->link, member->probe_interval_ms, clock_);
}

void Proxy::StartProbing() {
  probing_ = true;
  for (const auto& member : current()->members) Probe(member.get());
}

void Proxy::Reconfigure(const ClientConfig& config) {
  std::shared_ptr<Nodes> before = current();
  auto nodes = MakeNodes(config, before.get());
  if (probing_) {
    for (const auto& member : nodes->members) Probe(member.get());
  }
  {
    MutexLock lock(mutex_);
    current_ = nodes;
  }
  // What was replaced ends with the last request that uses it, perhaps on an event loop, where
  // nobody may wait for a prober's thread: they end here.
  for (const auto& old : before->members) {
    if (std::find(nodes->members.begin(), nodes->members.end(), old) == nodes->members.end()) {
      old->prober.reset();
    }
  }
}

void Proxy::StartRead(ReadRequest request, ReadDone done) {
  const std::string key = KeyOf(request);
  const SteadyTime deadline = request.deadline;
  reads_.Share(
      key, deadline,
      [this, request = std::move(request)](Reader::Done then) mutable {
        auto nodes = current();
        Reader& reader = *nodes->reader;
        reader.Start(std::move(request), std::move(nodes), std::move(then));
      },
      [](const ReadResult& read) { return read.answered; },
      [this, &loop = loops_.Here(), done = std::move(done)](SharedAnswer<ReadResult> read,
                                                            bool joined) {
        if (!joined) return done(std::move(read));
        metrics_.shared_reads.fetch_add(1, std::memory_order_relaxed);
        // A thousand may have joined: each has its turn, on its own loop.
        loop.Post([done, read = std::move(read)]() mutable { done(std::move(read)); });
      });
}

ReadResult Proxy::Read(ReadRequest request) {
  return Await<ReadResult>([&](auto result) {
    StartRead(std::move(request), [result](SharedAnswer<ReadResult> read) {
      result->set_value(std::move(read).Take());
    });
  });
}

void Proxy::StartWrite(WriteRequest request, const std::string& name, WriteDone done) {
  // The same items, since identity is content; stamps are left out of account.
  const std::string key = name + '\0' + request.acks;
  const SteadyTime deadline = request.deadline;
  auto begin = [this, request = std::move(request)](FanOutWriter::Done then) mutable {
    auto nodes = current();
    FanOutWriter& writer = *nodes->writer;
    writer.Start(std::move(request), std::move(nodes), std::move(then));
  };
  if (name.empty()) {
    return begin([done = std::move(done)](WriteResult write) { done(std::move(write), false); });
  }
  writes_.Share(
      key, deadline, std::move(begin),
      [](const WriteResult& write) {
        return std::all_of(write.items.begin(), write.items.end(), [](const ItemOutcome& item) {
          return item.status >= 200 && item.status < 300;
        });
      },
      [this, done = std::move(done)](SharedAnswer<WriteResult> write, bool joined) {
        if (joined) metrics_.shared_writes.fetch_add(1, std::memory_order_relaxed);
        done(std::move(write).Take(), joined);
      });
}

WriteResult Proxy::Write(WriteRequest request, const std::string& name, bool* repeated) {
  return Await<WriteResult>([&](auto result) {
    StartWrite(std::move(request), name, [result, repeated](WriteResult write, bool joined) {
      if (repeated != nullptr) *repeated = joined;
      result->set_value(std::move(write));
    });
  });
}

std::string Proxy::JoinSession(const std::vector<WriteOutcome::Source>& sources,
                               const std::string& brought) {
  if (sources.empty()) return brought;
  const auto nodes = current();
  TokenHints& hints = nodes->hints;
  if (sources.size() == 1 && brought.empty()) {
    hints.Remember(sources.front().token, sources.front().node);
    return sources.front().token;
  }
  TokenVector joined;
  for (const auto& source : sources) {
    if (const auto token = tokens_.DecodeSession(source.token)) Join(&joined, *token);
  }
  const TokenVector held = joined;
  if (const auto token = tokens_.DecodeSession(brought)) Join(&joined, *token);
  std::string text = tokens_.EncodeSession(joined);
  if (sources.size() == 1 && joined == held) hints.Remember(text, sources.front().node);
  return text;
}

bool Proxy::ready() const {
  const SteadyTime now = clock_.Steady();
  const auto nodes = current();
  return std::any_of(nodes->members.begin(), nodes->members.end(),
                     [&](const auto& member) { return IsReady(member->link.View(now)); });
}

std::shared_ptr<const NodeLink> Proxy::FindNode(std::string_view address) const {
  for (const auto& member : current()->members) {
    if (member->link.address() == address) return {member, &member->link};
  }
  return nullptr;
}

NetworkReport Proxy::Network() const {
  const auto nodes = current();
  NetworkReport network{.read_strategy = nodes->read_strategy,
                        .write_strategy = nodes->write_strategy};
  std::vector<const HeadVector*> heads;
  for (size_t i = 0; i < nodes->members.size(); ++i) {
    const auto& member = nodes->members[i];
    NodeReport report = member->link.Report();
    heads.push_back(report.heads.get());
    network.ready += report.ready ? 1 : 0;
    network.nodes.push_back(
        {.link = std::shared_ptr<const NodeLink>(member, &member->link),
         .report = std::move(report),
         .queued_messages = nodes->writer->queued_messages(static_cast<int>(i))});
  }
  const Convergence convergence = Compare(heads);
  network.converged = convergence.converged;
  for (size_t i = 0; i < network.nodes.size(); ++i) network.nodes[i].lag = convergence.lag[i];
  return network;
}

}  // namespace chatchain
