// SPDX-License-Identifier: MIT
#include "client/proxy/reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/proxy/convergence.h"
#include "client/proxy/driven.h"
#include "client/proxy/pacing.h"
#include "client/proxy/upstream.h"

namespace chatchain {

namespace {
// How often a read that waits looks at how its nodes are.
constexpr std::chrono::milliseconds kLook{10};
// Where an answer that is not final is here: how long tries that still run may take.
constexpr std::chrono::seconds kLastTries{1};
}  // namespace

Reader::Reader(std::vector<std::shared_ptr<NodeLink>> nodes, Strategy strategy,
               const TokenCodec& tokens, TokenHints& hints, Budgets& budgets, ProxyMetrics& metrics,
               http::EventLoops& loops, const Clock& clock)
    : nodes_(std::move(nodes)),
      strategy_(strategy),
      tokens_(tokens),
      hints_(hints),
      budgets_(budgets),
      metrics_(metrics),
      loops_(loops),
      clock_(clock) {}

Choice Reader::ChooseFor(const ReadRequest& request, SteadyTime now) {
  std::vector<NodeView> views;
  views.reserve(nodes_.size());
  for (const auto& node : nodes_) views.push_back(node->View(now));
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

// One read: rounds over the nodes, each a race.
class Reader::Call final : public Driven {
 public:
  Call(Reader& reader, ReadRequest request, std::shared_ptr<const void> keep, Done done)
      : reader_(reader),
        loop_(reader.loops_.Here()),
        keep_(std::move(keep)),
        request_(std::make_shared<const ReadRequest>(std::move(request))),
        done_(std::move(done)) {}

  void Begin() {
    loop_.Watch(shared_from_this());
    Kick();
  }

 private:
  void Step() override {
    const SteadyTime now = reader_.clock_.Steady();
    if (done_ == nullptr) return;
    if (race_ == nullptr) {
      if (now < begin_round_) return set_due(begin_round_);
      BeginRound(now);
    }
    while (true) {
      if (race_->over() || now >= request_->deadline) return EndRound(now);
      if (main_ != nullptr && race_->IsRunning(main_.get())) break;
      const int node = race_->TakeNext();
      if (node >= 0) {
        main_ = Launch(node, now);
        look_at_ = now + std::chrono::milliseconds(Node(node).hedge_delay_ms());
        continue;
      }
      // All were asked; some may still answer.
      main_ = nullptr;
      if (race_->running() == 0) return EndRound(now);
      if (!wait_until_) {
        wait_until_ =
            race_->answered() ? std::min(request_->deadline, now + kLastTries) : request_->deadline;
      }
      if (now >= *wait_until_) return EndRound(now);
      break;
    }
    if (now >= look_at_) {
      look_at_ = now + kLook;
      if (reader_.nodes_.size() > 1) Look(now);
      if (race_->over()) return EndRound(now);
    }
    set_due(std::min({look_at_, request_->deadline, wait_until_.value_or(request_->deadline)}));
  }

  void BeginRound(SteadyTime now) {
    race_ = std::make_shared<ReadRace>(request_, reader_.ChooseFor(*request_, now));
    main_ = nullptr;
    wait_until_.reset();
    // Refused or not, the budget is asked once a round; later looks only see nodes that hang.
    may_hedge_ = reader_.strategy_ == Strategy::kHedged;
    if (reader_.strategy_ != Strategy::kFanout) return;
    // The best one first, then the others of its tier at once.
    for (int node = race_->TakeFanout(); node >= 0; node = race_->TakeFanout()) {
      auto cancellation = Launch(node, now);
      if (main_ == nullptr) main_ = std::move(cancellation);
    }
    look_at_ = now + kLook;
  }

  std::shared_ptr<http::Cancellation> Launch(int node, SteadyTime now) {
    const ReadRace::Opened opened = race_->Open(node, now);
    http::ClientRequest request{
        .method = "GET", .target = request_->target, .headers = request_->headers};
    request.headers.Set("ChatChain-Deadline-Ms", DeadlineMs(opened.deadline, now));
    Node(node).Ask(std::move(request), request_->expect, opened.deadline, opened.cancellation.get(),
                   /*patient=*/false,
                   [self = shared_from_this(), this, race = race_, node,
                    cancellation = opened.cancellation](NodeAnswer answer) {
                     race->Conclude(node, cancellation.get(), std::move(answer));
                     Kick();
                   });
    return opened.cancellation;
  }

  // A second try beside the one that waits, where that is worth it.
  void Look(SteadyTime now) {
    const std::vector<ReadRace::RunningTry> running = race_->running_tries();
    if (running.empty()) return;
    const auto all = [&](auto says) {
      return std::all_of(running.begin(), running.end(), [&](const ReadRace::RunningTry& t) {
        return says(Node(t.node), t.since);
      });
    };
    const bool mute = all([&](const NodeLink& node, SteadyTime) { return node.View(now).mute; });
    const bool quiet =
        request_->session.empty() &&
        all([&](const NodeLink& node, SteadyTime since) { return node.Quiet(since, now); });
    const bool moving_on = mute || quiet;
    if (moving_on && race_->Settle()) return;
    if (!race_->CanHedge(moving_on)) return;
    if (!moving_on) {
      if (!std::exchange(may_hedge_, false)) return;
      if (!reader_.budgets_.hedges.Take(now)) {
        reader_.metrics_.hedges_refused.fetch_add(1, std::memory_order_relaxed);
        return;
      }
    } else if (!mute && !reader_.budgets_.retries.Take(now)) {
      return;  // until it is mute, or the budget has grown
    }
    const int node = race_->TakeHedge(moving_on);
    if (node < 0) return;
    reader_.metrics_.hedges.fetch_add(1, std::memory_order_relaxed);
    Launch(node, now);
  }

  void EndRound(SteadyTime now) {
    ReadResult latest = race_->Take();
    race_ = nullptr;
    // Nodes, not tries: another round asks the same ones.
    latest.attempts = std::max(latest.attempts, result_.attempts);
    result_ = std::move(latest);
    if (result_.answered) {
      if (const auto token = result_.response.headers.Get("ChatChain-Session");
          token && !result_.response.headers.Get("ChatChain-Stale")) {
        reader_.hints_.Remember(*token, result_.node);
      }
      return End();
    }
    const auto backoff = RoundBackoff(round_++);
    if (backoff && now + *backoff < request_->deadline) {
      if (reader_.budgets_.retries.Take(now)) {
        reader_.metrics_.rounds.fetch_add(1, std::memory_order_relaxed);
        begin_round_ = now + *backoff;
        return set_due(begin_round_);
      }
      reader_.metrics_.rounds_refused.fetch_add(1, std::memory_order_relaxed);
    }
    reader_.metrics_.unanswered.fetch_add(1, std::memory_order_relaxed);
    End();
  }

  void End() {
    loop_.Unwatch(this);
    std::exchange(done_, nullptr)(std::move(result_));
  }

  void GiveUp() override {
    loop_.Unwatch(this);
    if (race_ != nullptr) race_->Take();
    race_ = nullptr;
    done_ = nullptr;
  }

  NodeLink& Node(int index) const { return *reader_.nodes_[static_cast<size_t>(index)]; }

  Reader& reader_;
  http::EventLoop& loop_;
  const std::shared_ptr<const void> keep_;
  const std::shared_ptr<const ReadRequest> request_;
  Done done_;  // null: it is over
  ReadResult result_;
  int round_ = 0;
  SteadyTime begin_round_{};
  std::shared_ptr<ReadRace> race_;  // null between rounds
  // The try in whose place the next node is asked when it fails; null: all were asked.
  std::shared_ptr<http::Cancellation> main_;
  std::optional<SteadyTime> wait_until_;  // for tries that still run when all were asked
  SteadyTime look_at_{};
  bool may_hedge_ = false;
};

void Reader::Start(ReadRequest request, std::shared_ptr<const void> keep, Done done) {
  budgets_.hedges.Earn();
  budgets_.retries.Earn();
  std::make_shared<Call>(*this, std::move(request), std::move(keep), std::move(done))->Begin();
}

}  // namespace chatchain
