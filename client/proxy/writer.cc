// SPDX-License-Identifier: MIT
#include "client/proxy/writer.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "client/proxy/batch_answer.h"
#include "client/proxy/driven.h"
#include "client/proxy/pacing.h"
#include "client/proxy/upstream.h"
#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// Far below the protocol's bound on a body: what a node answers is about as large, and it is taken
// apart on an event loop, where others wait. Commits of so many bytes cost little more each.
constexpr size_t kChunkMaxBytes = 2 * 1024 * 1024;
static_assert(kChunkMaxBytes + limits::kMessageBodyMaxBytes < limits::kBatchBodyMaxBytes);
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
constexpr size_t kPullsInFlight = 4;
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

FanOutWriter::FanOutWriter(std::vector<std::shared_ptr<NodeLink>> nodes, Strategy strategy,
                           const WriteLaneOptions& lanes, int hedge_max_ms, Budgets& budgets,
                           ProxyMetrics& metrics, http::EventLoops& loops, const Clock& clock)
    : nodes_(std::move(nodes)),
      strategy_(strategy),
      hedge_max_ms_(hedge_max_ms),
      budgets_(budgets),
      metrics_(metrics),
      loops_(loops),
      clock_(clock),
      lane_options_(lanes),
      lanes_(MakeLanes(lanes)) {}

FanOutWriter::Lanes FanOutWriter::MakeLanes(const WriteLaneOptions& options) {
  Lanes lanes;
  for (const auto& node : nodes_) {
    lanes.push_back(std::make_shared<WriteLane>(static_cast<int>(lanes.size()), node, options,
                                                loops_.At(lanes.size()), clock_));
  }
  return lanes;
}

const FanOutWriter::Lanes& FanOutWriter::LanesFor(int copies) {
  if (copies <= 1) return lanes_;
  MutexLock lock(lanes_mutex_);
  Lanes& lanes = copy_lanes_[copies];
  if (lanes.empty()) {
    WriteLaneOptions options = lane_options_;
    options.copies = copies;
    options.in_flight = kPullsInFlight;
    lanes = MakeLanes(options);
  }
  return lanes;
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
  for (const auto& node : nodes_) views.push_back(node->View(now));
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

// One write. What does not fit into one request to a node goes in chunks, one after another, so
// that its items are still judged in order; a chunk goes in rounds over the nodes.
class FanOutWriter::Call final : public Driven {
 public:
  Call(FanOutWriter& writer, WriteRequest request, std::shared_ptr<const void> keep, Done done)
      : writer_(writer),
        loop_(writer.loops_.Here()),
        keep_(std::move(keep)),
        request_(std::move(request)),
        done_(std::move(done)),
        counted_(writer.writing_) {
    result_.items.reserve(request_.items.size());
    result_.copies.assign(request_.items.size(), 0);
  }

  void Begin() {
    loop_.Watch(shared_from_this());
    Kick();
  }

 private:
  enum class Phase { kChunk, kRound, kBackoff, kCopies };

  void Step() override {
    while (done_ != nullptr) {
      const SteadyTime now = writer_.clock_.Steady();
      switch (phase_) {
        case Phase::kChunk: BeginChunk(now); break;
        case Phase::kRound:
          if (!GoOn(now)) return;
          EndRound(now);
          break;
        case Phase::kBackoff:
          if (now < until_) return set_due(until_);
          BeginRound();
          break;
        case Phase::kCopies:
          if (!AskForCopies(now)) return;
          EndChunk();
          break;
      }
    }
  }

  void BeginChunk(SteadyTime now) {
    begin_ = end_;
    if (begin_ == request_.items.size()) return End();
    std::string joined = request_.items[end_++];
    while (end_ < request_.items.size() &&
           joined.size() + request_.items[end_].size() < kChunkMaxBytes) {
      joined.append(",").append(request_.items[end_++]);
    }
    op_ = std::make_shared<WriteOp>(std::move(joined), end_ - begin_, request_.copies,
                                    request_.deadline);
    op_->set_on_report([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Kick();
    });
    started_ = now;
    round_ = 0;
    asked_for_copies_.assign(writer_.nodes_.size(), false);
    asking_ = nullptr;
    BeginRound();
  }

  // ---- rounds

  void BeginRound() {
    phase_ = Phase::kRound;
    crowded_ = writer_.strategy_ == Strategy::kFanout &&
               writer_.writing_.load(std::memory_order_relaxed) > kEagerWrites;
    choice_ = writer_.ChooseNow(crowded_);
    total_ms_ =
        std::chrono::duration_cast<std::chrono::milliseconds>(request_.deadline - started_).count();
    // Only nodes that are well pull.
    const bool by_pulls = crowded_ &&
                          static_cast<size_t>(request_.copies) <= choice_.first_tier() &&
                          total_ms_ >= kPullLeast_ms;
    first_lanes_ = &writer_.LanesFor(by_pulls ? request_.copies : 1);
    const auto lead = static_cast<size_t>(choice_.order.front());
    state_ = {.strategy = writer_.strategy_,
              .nodes = choice_.order.size(),
              .first_tier = choice_.first_tier(),
              .deadline = request_.deadline,
              .hedge_delay_ms = writer_.hedge_max_ms_,
              .lead_ms = LeadMs(*(*first_lanes_)[lead]),
              .stall_ms = kStall_ms};
    if (crowded_) state_.first_ask = by_pulls ? 1 : static_cast<size_t>(request_.copies);
    pushed_ = 0;
  }

  // One pass over the nodes. False: it waits.
  bool GoOn(SteadyTime now) {
    while (true) {
      const WriteOp::Progress progress = op_->progress();
      state_.done = progress.done;
      state_.stored = progress.stored;
      state_.answered = progress.answered;
      state_.outstanding = progress.outstanding;
      state_.tier_end = choice_.TierEnd(state_.asked);
      state_.try_ms = request_.copies > 1 && progress.stored
                          ? kCopiesPatience_ms
                          : TryTimeoutMs(total_ms_, choice_.order.size());
      const PaceStep step = NextStep(state_, now);
      if (step.kind == PaceStep::Kind::kFinish) return true;
      if (step.kind == PaceStep::Kind::kWait) {
        set_due(step.wait_until);
        return false;
      }
      if (step.kind == PaceStep::Kind::kHedge) {
        state_.hedged = true;
        if (!writer_.budgets_.hedges.Take(now)) {
          writer_.metrics_.hedges_refused.fetch_add(1, std::memory_order_relaxed);
          continue;
        }
        writer_.metrics_.hedges.fetch_add(1, std::memory_order_relaxed);
      }
      Ask(step.ask_until, now);
    }
  }

  void Ask(size_t until, SteadyTime now) {
    if (crowded_ && state_.asked == state_.first_ask) {
      // Whoever comes next begins with the next one.
      int lead = choice_.order.front();
      writer_.lead_.compare_exchange_strong(lead, choice_.order[state_.asked],
                                            std::memory_order_relaxed);
      // Pulls may not come, and its answer waits for them, as do those before it in the queue: from
      // here on copies are nodes that took the items from here, and it is one of them.
      if (first_lanes_ != &writer_.lanes_ && state_.outstanding > 0) {
        Push(writer_.lanes_, choice_.order.front());
      }
    }
    state_.last_ask = now;
    for (; state_.asked < until; ++state_.asked) {
      Push(state_.asked == 0 ? *first_lanes_ : writer_.lanes_, choice_.order[state_.asked]);
    }
  }

  void Push(const Lanes& lanes, int index) {
    const auto node = static_cast<size_t>(index);
    op_->Expect();
    if (lanes[node]->Push(op_)) {
      ++pushed_;
    } else {
      op_->ReportFailure(writer_.nodes_[node]->address() + ": busy, its queue is full");
    }
  }

  void EndRound(SteadyTime now) {
    result_.attempts = std::max(result_.attempts, static_cast<int>(state_.asked));
    result_.busy = pushed_ == 0;
    const auto backoff = RoundBackoff(round_++);
    if (!result_.busy && !op_->progress().answered && backoff &&
        now + *backoff < request_.deadline) {
      if (writer_.budgets_.retries.Take(now)) {
        writer_.metrics_.rounds.fetch_add(1, std::memory_order_relaxed);
        phase_ = Phase::kBackoff;
        until_ = now + *backoff;
        return;
      }
      writer_.metrics_.rounds_refused.fetch_add(1, std::memory_order_relaxed);
    }
    if (request_.copies <= 1) return EndChunk();
    phase_ = Phase::kCopies;
  }

  // ---- copies

  // What comes of a node that holds the items, and was asked how many do.
  struct Asking {
    http::Cancellation cancellation;
    std::vector<WriteOp::Lack> lacking;
    Mutex mutex;
    std::optional<NodeAnswer> answer GUARDED_BY(mutex);
  };

  // Waits at a node that holds the items until it knows of enough copies. False: it waits.
  bool AskForCopies(SteadyTime now) {
    // Lanes that are still under way may make up the number first.
    if (op_->progress().done) {
      if (asking_ != nullptr) asking_->cancellation.Cancel();
      return true;
    }
    if (asking_ != nullptr) {
      std::optional<NodeAnswer> answer;
      {
        MutexLock lock(asking_->mutex);
        answer = std::move(asking_->answer);
      }
      if (!answer) return false;
      if (TakeCopies(*answer, asking_->lacking)) return true;
      asking_ = nullptr;
    }
    auto lacking = op_->LackingCopies();
    const auto next = std::find_if(lacking.begin(), lacking.end(), [&](const WriteOp::Lack& lack) {
      return !asked_for_copies_[static_cast<size_t>(lack.node)];
    });
    if (next == lacking.end() || now >= request_.deadline) return true;
    const auto node = static_cast<size_t>(next->node);
    asked_for_copies_[node] = true;

    http::ClientRequest upstream{
        .method = "POST", .target = "/messages/batch", .content_type = "application/json"};
    upstream.headers.Add("ChatChain-Acks", request_.acks);
    upstream.headers.Add("ChatChain-Deadline-Ms", DeadlineMs(request_.deadline, now));
    upstream.body = "{\"messages\":[";
    for (const WriteOp::Lack& lack : lacking) {
      if (upstream.body.back() != '[') upstream.body.push_back(',');
      upstream.body.append(request_.items[begin_ + lack.item]);
    }
    upstream.body.append("]}");
    asking_ = std::make_shared<Asking>();
    asking_->lacking = std::move(lacking);
    writer_.nodes_[node]->Ask(std::move(upstream), Expect::kObject, request_.deadline,
                              &asking_->cancellation, /*patient=*/true,
                              [this, self = shared_from_this(), node = writer_.nodes_[node],
                               asking = asking_](NodeAnswer answer) {
                                {
                                  MutexLock lock(asking->mutex);
                                  asking->answer = std::move(answer);
                                }
                                Kick();
                              });
    return false;
  }

  // False: another node may know.
  bool TakeCopies(const NodeAnswer& answer, const std::vector<WriteOp::Lack>& lacking) {
    if (answer.verdict.finality == Finality::kFailed || answer.response.status != 200) return false;
    const auto items = ParseBatchAnswer(answer.response.body, lacking.size());
    if (!items) return false;
    for (size_t i = 0; i < items->size(); ++i) {
      int& copies = result_.copies[begin_ + lacking[i].item];
      copies = std::max(copies, CopiesOf((*items)[i].body));
    }
    return true;
  }

  // ---- ending

  void EndChunk() {
    phase_ = Phase::kChunk;
    WriteOutcome outcome = op_->Close();
    bool none = true;
    for (size_t i = 0; i < outcome.items.size(); ++i) {
      ItemOutcome& item = outcome.items[i];
      none = none && item.status == 0;
      int& copies = result_.copies[begin_ + i];
      copies = std::max(copies, item.copies());
      result_.items.push_back(std::move(item));
    }
    if (none) writer_.metrics_.unanswered.fetch_add(1, std::memory_order_relaxed);
    std::move(outcome.sources.begin(), outcome.sources.end(), std::back_inserter(result_.sources));
    // Of the last round: what an earlier one met is said again there, or is over.
    const size_t keep = std::min(outcome.failures.size(), writer_.nodes_.size());
    std::move(outcome.failures.end() - static_cast<std::ptrdiff_t>(keep), outcome.failures.end(),
              std::back_inserter(result_.failures));
  }

  void End() {
    loop_.Unwatch(this);
    counted_.reset();
    std::exchange(done_, nullptr)(std::move(result_));
  }

  void GiveUp() override {
    loop_.Unwatch(this);
    counted_.reset();
    if (op_ != nullptr) op_->Close();
    if (asking_ != nullptr) asking_->cancellation.Cancel();
    done_ = nullptr;
  }

  FanOutWriter& writer_;
  http::EventLoop& loop_;
  const std::shared_ptr<const void> keep_;
  const WriteRequest request_;
  Done done_;  // null: it is over
  std::optional<Counted> counted_;
  WriteResult result_;
  Phase phase_ = Phase::kChunk;
  // of the chunk
  size_t begin_ = 0;
  size_t end_ = 0;
  std::shared_ptr<WriteOp> op_;
  SteadyTime started_{};
  std::vector<bool> asked_for_copies_;  // by node
  std::shared_ptr<Asking> asking_;
  // of the round
  int round_ = 0;
  bool crowded_ = false;
  Choice choice_;
  int64_t total_ms_ = 0;
  const Lanes* first_lanes_ = nullptr;
  PaceState state_;
  size_t pushed_ = 0;
  SteadyTime until_{};  // of the pause between rounds
};

void FanOutWriter::Start(WriteRequest request, std::shared_ptr<const void> keep, Done done) {
  budgets_.retries.Earn();
  std::make_shared<Call>(*this, std::move(request), std::move(keep), std::move(done))->Begin();
}

}  // namespace chatchain
