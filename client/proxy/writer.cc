// SPDX-License-Identifier: MIT
#include "client/proxy/writer.h"

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include "client/proxy/batch_answer.h"
#include "client/proxy/pacing.h"
#include "client/proxy/upstream.h"
#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// Below the protocol's bound on a body, with room for the braces.
constexpr size_t kChunkMaxBytes = limits::kBatchBodyMaxBytes - 64 * 1024;
// Fan-out: silence of all ready nodes after which the doubtful ones are asked as well.
constexpr int64_t kStall_ms = 500;
// How long slower nodes may take to become a copy before one that has the message is asked what it
// knows of its peers.
constexpr int64_t kCopiesPatience_ms = 100;
// Fan-out gives each of up to so many writes to every ready node at once. While more are under way,
// nodes would spend their time on each other's messages: then a write goes to one of them at first,
// the lead, and to all others as soon as that one is late or fails.
constexpr int kEagerWrites = 8;
// Such requests wait for a pull, most of their time.
constexpr size_t kPullSenders = 4;
// Each number of copies that clients ask for needs lanes, and so threads, of its own. Usually there
// are two: a majority and all.
constexpr size_t kPullLanes = 4;
// With less time than this nobody waits for a peer's pull from the first.
constexpr int64_t kPullLeast_ms = 500;
// The lead is late after three times what its batches take of late, within these bounds.
constexpr int64_t kLeadLeast_ms = 50;
constexpr int64_t kLeadMost_ms = 200;

// How long a lead may take whose batches go by `lane`.
int64_t LeadMs(const WriteLane& lane) {
  const int64_t usual_us = lane.expected_us();
  if (usual_us == 0) return kLeadMost_ms;
  return std::clamp(3 * usual_us / 1000, kLeadLeast_ms, kLeadMost_ms);
}

std::vector<std::unique_ptr<WriteLane>> MakeLanes(const std::vector<NodeLink*>& nodes,
                                                  const WriteLaneOptions& options,
                                                  const Clock& clock) {
  std::vector<std::unique_ptr<WriteLane>> lanes;
  for (NodeLink* node : nodes) {
    lanes.push_back(
        std::make_unique<WriteLane>(static_cast<int>(lanes.size()), *node, options, clock));
  }
  return lanes;
}

// Counts the calls under way.
class Counted {
 public:
  explicit Counted(std::atomic<int>& count) : count_(count) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  ~Counted() { count_.fetch_sub(1, std::memory_order_relaxed); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int>& count_;
};

}  // namespace

FanOutWriter::FanOutWriter(std::vector<NodeLink*> nodes, Strategy strategy,
                           const WriteLaneOptions& lanes, int hedge_max_ms, Budgets& budgets,
                           ProxyMetrics& metrics, const Clock& clock)
    : nodes_(std::move(nodes)),
      strategy_(strategy),
      hedge_max_ms_(hedge_max_ms),
      budgets_(budgets),
      metrics_(metrics),
      clock_(clock),
      lane_options_(lanes),
      lanes_(MakeLanes(nodes_, lanes, clock)) {}

const FanOutWriter::Lanes* FanOutWriter::PullLanes(int copies) {
  MutexLock lock(lanes_mutex_);
  const auto found = copy_lanes_.find(copies);
  if (found != copy_lanes_.end()) return &found->second;
  if (copy_lanes_.size() == kPullLanes) return nullptr;
  WriteLaneOptions options = lane_options_;
  options.copies = copies;
  options.senders = kPullSenders;
  return &copy_lanes_.emplace(copies, MakeLanes(nodes_, options, clock_)).first->second;
}

size_t FanOutWriter::queued_messages(int node) const {
  const auto index = static_cast<size_t>(node);
  size_t queued = lanes_[index]->queued_messages();
  MutexLock lock(lanes_mutex_);
  for (const auto& [copies, lanes] : copy_lanes_) queued += lanes[index]->queued_messages();
  return queued;
}

Choice FanOutWriter::ChooseNow(bool crowded) {
  const SteadyTime now = clock_.Steady();
  std::vector<NodeView> views;
  views.reserve(nodes_.size());
  for (const NodeLink* node : nodes_) views.push_back(node->View(now));
  Choice choice =
      Choose(views, /*for_write=*/true, rotation_.fetch_add(1, std::memory_order_relaxed));
  if (crowded) {
    const auto nodes = static_cast<int>(nodes_.size());
    const int lead = lead_.load(std::memory_order_relaxed);
    const auto turn = [&](int node) { return (node - lead + nodes) % nodes; };
    std::sort(choice.order.begin(),
              choice.order.begin() + static_cast<std::ptrdiff_t>(choice.first_tier()),
              [&](int a, int b) { return turn(a) < turn(b); });
  }
  return choice;
}

WriteResult FanOutWriter::Write(WriteRequest request) {
  const Counted counted(writing_);
  budgets_.retries.Earn();
  WriteResult result;
  result.items.reserve(request.items.size());
  result.copies.assign(request.items.size(), 0);
  // One request to a node holds at most so much; a larger batch goes in parts, one after another,
  // so that its items are still judged in order.
  size_t begin = 0;
  while (begin < request.items.size()) {
    size_t end = begin + 1;
    size_t bytes = request.items[begin].size();
    while (end < request.items.size() && bytes + request.items[end].size() < kChunkMaxBytes) {
      bytes += request.items[end++].size() + 1;
    }
    WriteChunk(request, begin, end, &result);
    begin = end;
  }
  return result;
}

void FanOutWriter::WriteChunk(const WriteRequest& request, size_t begin, size_t end,
                              WriteResult* result) {
  std::string joined;
  for (size_t i = begin; i < end; ++i) {
    if (i > begin) joined.push_back(',');
    joined.append(request.items[i]);
  }
  const auto op =
      std::make_shared<WriteOp>(std::move(joined), end - begin, request.copies, request.deadline);
  const SteadyTime started = clock_.Steady();
  for (int round = 0;; ++round) {
    result->busy = RunRound(op, request, started, result);
    if (result->busy || op->progress().answered) break;
    const SteadyTime now = clock_.Steady();
    const auto backoff = RoundBackoff(round);
    if (!backoff || now + *backoff >= request.deadline) break;
    if (!budgets_.retries.Take(now)) {
      metrics_.rounds_refused.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    metrics_.rounds.fetch_add(1, std::memory_order_relaxed);
    std::this_thread::sleep_for(*backoff);
  }
  if (request.copies > 1) AwaitCopies(op, request, begin, result);

  WriteOutcome outcome = op->Close();
  bool none = true;
  for (size_t i = 0; i < outcome.items.size(); ++i) {
    ItemOutcome& item = outcome.items[i];
    none = none && item.status == 0;
    int& copies = result->copies[begin + i];
    copies = std::max(copies, item.copies());
    result->items.push_back(std::move(item));
  }
  if (none) metrics_.unanswered.fetch_add(1, std::memory_order_relaxed);
  std::move(outcome.sources.begin(), outcome.sources.end(), std::back_inserter(result->sources));
  // Of the last round: what an earlier one met is said again there, or is over.
  const size_t keep = std::min(outcome.failures.size(), nodes_.size());
  std::move(outcome.failures.end() - static_cast<std::ptrdiff_t>(keep), outcome.failures.end(),
            std::back_inserter(result->failures));
}

bool FanOutWriter::RunRound(const std::shared_ptr<WriteOp>& op, const WriteRequest& request,
                            SteadyTime started, WriteResult* result) {
  const bool crowded =
      strategy_ == Strategy::kFanout && writing_.load(std::memory_order_relaxed) > kEagerWrites;
  const Choice choice = ChooseNow(crowded);
  const int64_t total_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(request.deadline - started).count();
  // Only nodes that are well pull.
  const bool by_pulls = crowded && request.copies > 1 &&
                        static_cast<size_t>(request.copies) <= choice.first_tier() &&
                        total_ms >= kPullLeast_ms;
  const Lanes* pull_lanes = by_pulls ? PullLanes(request.copies) : nullptr;
  const Lanes& first_lanes = pull_lanes != nullptr ? *pull_lanes : lanes_;
  PaceState state{.strategy = strategy_,
                  .nodes = choice.order.size(),
                  .first_tier = choice.first_tier(),
                  .deadline = request.deadline,
                  .hedge_delay_ms = hedge_max_ms_,
                  .lead_ms = LeadMs(*first_lanes[static_cast<size_t>(choice.order.front())]),
                  .stall_ms = kStall_ms};
  if (crowded) {
    state.first_ask = pull_lanes != nullptr ? 1 : static_cast<size_t>(request.copies);
  }
  size_t pushed = 0;
  const auto push = [&](const Lanes& lanes, int node) {
    op->Expect();
    if (lanes[static_cast<size_t>(node)]->Push(op)) {
      ++pushed;
    } else {
      op->ReportFailure(nodes_[static_cast<size_t>(node)]->address() + ": busy, its queue is full");
    }
  };
  while (true) {
    const WriteOp::Progress progress = op->progress();
    state.done = progress.done;
    state.stored = progress.stored;
    state.answered = progress.answered;
    state.outstanding = progress.outstanding;
    state.tier_end = choice.TierEnd(state.asked);
    state.try_ms = request.copies > 1 && progress.stored
                       ? kCopiesPatience_ms
                       : TryTimeoutMs(total_ms, choice.order.size());
    const SteadyTime now = clock_.Steady();
    PaceStep step = NextStep(state, now);
    if (step.kind == PaceStep::Kind::kFinish) break;
    if (step.kind == PaceStep::Kind::kWait) {
      op->Wait(step.wait_until);
      continue;
    }
    if (step.kind == PaceStep::Kind::kHedge) {
      state.hedged = true;
      if (!budgets_.hedges.Take(now)) {
        metrics_.hedges_refused.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      metrics_.hedges.fetch_add(1, std::memory_order_relaxed);
    }
    if (crowded && state.asked == state.first_ask) {
      // Whoever comes next begins with the next one.
      int lead = choice.order.front();
      lead_.compare_exchange_strong(lead, choice.order[state.asked], std::memory_order_relaxed);
      // Pulls may not come, and its answer waits for them, as do those before it in the queue: from
      // here on copies are nodes that took the items from here, and it is one of them.
      if (pull_lanes != nullptr && progress.outstanding > 0) push(lanes_, choice.order.front());
    }
    state.last_ask = now;
    for (; state.asked < step.ask_until; ++state.asked) {
      push(state.asked == 0 ? first_lanes : lanes_, choice.order[state.asked]);
    }
  }
  result->attempts = std::max(result->attempts, static_cast<int>(state.asked));
  return pushed == 0;
}

void FanOutWriter::AwaitCopies(const std::shared_ptr<WriteOp>& op, const WriteRequest& request,
                               size_t begin, WriteResult* result) {
  std::vector<bool> asked(nodes_.size(), false);
  while (true) {
    const auto lacking = op->LackingCopies();
    const auto next = std::find_if(lacking.begin(), lacking.end(), [&](const WriteOp::Lack& lack) {
      return !asked[static_cast<size_t>(lack.node)];
    });
    const SteadyTime now = clock_.Steady();
    if (next == lacking.end() || now >= request.deadline) return;
    asked[static_cast<size_t>(next->node)] = true;

    http::ClientRequest upstream{
        .method = "POST", .target = "/messages/batch", .content_type = "application/json"};
    upstream.headers.Add("ChatChain-Acks", request.acks);
    upstream.headers.Add("ChatChain-Deadline-Ms", DeadlineMs(request.deadline, now));
    upstream.body = "{\"messages\":[";
    for (const WriteOp::Lack& lack : lacking) {
      if (upstream.body.back() != '[') upstream.body.push_back(',');
      upstream.body.append(request.items[begin + lack.item]);
    }
    upstream.body.append("]}");

    // Lanes that are still under way may make up the number first.
    const auto cancellation = std::make_shared<http::Cancellation>();
    op->set_on_done([cancellation] { cancellation->Cancel(); });
    if (op->progress().done) return;
    const NodeAnswer answer = nodes_[static_cast<size_t>(next->node)]->Ask(
        upstream, Expect::kObject, request.deadline, cancellation.get(), /*patient=*/true);
    op->set_on_done(nullptr);
    if (answer.cancelled) return;
    if (answer.verdict.finality == Finality::kFailed || answer.response.status != 200) continue;
    const auto items = ParseBatchAnswer(answer.response.body, lacking.size());
    if (!items) continue;
    for (size_t i = 0; i < items->size(); ++i) {
      int& copies = result->copies[begin + lacking[i].item];
      copies = std::max(copies, CopiesOf((*items)[i].body));
    }
    return;
  }
}

}  // namespace chatchain
