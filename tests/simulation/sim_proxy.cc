// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_proxy.h"

#include <algorithm>
#include <utility>

#include "client/proxy/breaker.h"
#include "client/proxy/choice.h"
#include "client/proxy/convergence.h"
#include "client/proxy/pacing.h"
#include "client/proxy/write_op.h"

namespace chatchain::simulation {

namespace {

using std::chrono::milliseconds;

constexpr auto kDeadline = milliseconds(5000);
constexpr int64_t kProbeEvery_us = 1'000'000;
constexpr int64_t kHedge_us = 200'000;
constexpr int64_t kReadTry_us = 1'500'000;
constexpr int64_t kStall_ms = 500;

int64_t Micros(SteadyTime::duration time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

// What a lane would take out of the node's answer, as the text that a WriteOp keeps.
std::string BodyOf(const ItemAnswer& item) {
  return std::to_string(item.stamp) + " " + std::to_string(item.copies);
}
void FromBody(const std::string& body, ItemAnswer* item) {
  const size_t space = body.find(' ');
  if (space == std::string::npos) return;
  item->stamp = std::stoull(body.substr(0, space));
  item->copies = std::stoi(body.substr(space + 1));
}

}  // namespace

struct SimProxy::Node {
  Breaker breaker{BreakerOptions{}};
  NodeState state = NodeState::kUnknown;
  HeadVector heads;
  int in_flight = 0;
};

struct SimProxy::WriteRun {
  std::vector<WriteItem> items;
  int copies = 1;
  std::optional<size_t> die_after;
  std::function<void(ProxyWrite)> done;
  std::shared_ptr<WriteOp> op;
  Choice choice;
  PaceState pace;
  SteadyTime started;
  int round = 0;
  uint64_t turn = 0;
  size_t pushed = 0;
  bool finished = false;
};

struct SimProxy::ReadRun {
  ReadRequest request;
  std::function<void(ReadAnswer)> done;
  Choice choice;
  size_t asked = 0;
  size_t outstanding = 0;
  std::optional<ReadAnswer> best;
  int best_rank = 0;
  uint64_t turn = 0;
  bool finished = false;
};

SimProxy::SimProxy(World& world, SimNetwork& network, const NodePorts& ports, int endpoint)
    : world_(world),
      network_(network),
      ports_(ports),
      endpoint_(endpoint),
      tokens_(kSimulatedCluster) {
  Probe();
}

SimProxy::~SimProxy() = default;

void SimProxy::Die() {
  if (!up_) return;
  up_ = false;
  ++life_;
  nodes_.clear();
  world_.Trace("proxy dies", name());
}

void SimProxy::Start() {
  if (up_) return;
  up_ = true;
  ++life_;
  world_.Trace("proxy starts", name());
  Probe();
}

void SimProxy::Post(int64_t delay_us, std::function<void()> work) {
  world_.Post(delay_us, [this, life = life_, work = std::move(work)] {
    if (life_ == life) work();
  });
}

SimProxy::Node& SimProxy::NodeAt(int slot) {
  while (nodes_.size() <= static_cast<size_t>(slot)) nodes_.push_back(std::make_unique<Node>());
  return *nodes_[static_cast<size_t>(slot)];
}

void SimProxy::Probe() {
  for (NodePort* server : ports_) {
    const int slot = server->slot();
    network_.Call<ReadAnswer>(
        endpoint_, slot, 1'000'000, [server](auto reply) { server->OnRead({}, reply); },
        [this, life = life_, slot](std::optional<ReadAnswer> answer) {
          if (life_ != life) return;
          Node& seen = NodeAt(slot);
          const bool ok = answer && answer->connected;
          seen.breaker.OnProbe(ok, world_.Steady(), world_.random().Next());
          seen.state = !ok                 ? NodeState::kDown
                       : !answer->writable ? NodeState::kReadOnly
                                           : NodeState::kReady;
          if (ok) seen.heads = std::move(answer->heads);
        });
  }
  Post(kProbeEvery_us, [this] { Probe(); });
}

void SimProxy::ChooseFor(Choice* choice, bool for_write,
                         const std::optional<std::string>& session) {
  std::optional<TokenVector> wanted;
  if (session) {
    if (auto decoded = tokens_.DecodeSession(*session)) wanted = std::move(*decoded);
  }
  std::vector<NodeView> views;
  for (size_t i = 0; i < ports_.size(); ++i) {
    const Node& node = NodeAt(static_cast<int>(i));
    NodeView view;
    view.state = node.state;
    view.breaker = node.breaker.state(world_.Steady());
    view.in_flight = node.in_flight;
    view.satisfies = !wanted || Satisfies(node.heads, *wanted);
    views.push_back(view);
  }
  *choice = Choose(views, for_write, rotation_++);
}

void SimProxy::Write(std::vector<WriteItem> items, int copies, std::optional<size_t> die_after,
                     std::function<void(ProxyWrite)> done) {
  const auto run = std::make_shared<WriteRun>();
  run->items = std::move(items);
  run->copies = copies;
  run->die_after = die_after;
  run->done = std::move(done);
  run->started = world_.Steady();
  run->op = std::make_shared<WriteOp>("", run->items.size(), copies, run->started + kDeadline);
  BeginRound(run);
}

void SimProxy::BeginRound(const std::shared_ptr<WriteRun>& run) {
  ChooseFor(&run->choice, true, std::nullopt);
  run->pace = {.strategy = Strategy::kFanout,
               .nodes = run->choice.order.size(),
               .first_tier = run->choice.first_tier(),
               .deadline = run->op->deadline(),
               .stall_ms = kStall_ms,
               .try_ms = TryTimeoutMs(kDeadline.count(), run->choice.order.size())};
  StepWrite(run);
}

void SimProxy::StepWrite(const std::shared_ptr<WriteRun>& run) {
  if (run->finished) return;
  const uint64_t turn = ++run->turn;
  while (true) {
    const WriteOp::Progress progress = run->op->progress();
    PaceState& pace = run->pace;
    pace.done = progress.done;
    pace.stored = progress.stored;
    pace.answered = progress.answered;
    pace.outstanding = progress.outstanding;
    pace.tier_end = run->choice.TierEnd(pace.asked);
    const SteadyTime now = world_.Steady();
    const PaceStep step = NextStep(pace, now);
    if (step.kind == PaceStep::Kind::kFinish) {
      FinishWrite(run);
      return;
    }
    if (step.kind == PaceStep::Kind::kWait) {
      Post(Micros(step.wait_until - now), [this, run, turn] {
        if (run->turn == turn) StepWrite(run);
      });
      return;
    }
    pace.last_ask = now;
    for (; pace.asked < step.ask_until; ++pace.asked) {
      if (run->die_after && run->pushed == *run->die_after) {
        world_.Count("fan-out cut short");
        Die();
        return;
      }
      ++run->pushed;
      run->op->Expect();
      AskWrite(run, run->choice.order[pace.asked]);
    }
  }
}

void SimProxy::AskWrite(const std::shared_ptr<WriteRun>& run, int slot) {
  NodePort* server = ports_[static_cast<size_t>(slot)];
  ++NodeAt(slot).in_flight;
  network_.Call<WriteAnswer>(
      endpoint_, slot, Micros(kDeadline),
      [server, items = run->items, copies = run->copies](auto reply) {
        server->OnWrite(items, copies, reply);
      },
      [this, life = life_, run, slot](std::optional<WriteAnswer> answer) {
        if (life_ != life) return;
        Node& node = NodeAt(slot);
        --node.in_flight;
        const SteadyTime now = world_.Steady();
        const bool ok = answer && answer->connected;
        node.breaker.OnRequest(ok, now, world_.random().Next());
        if (!ok) {
          run->op->ReportFailure("no answer");
        } else {
          std::vector<std::string> bodies;
          for (const ItemAnswer& item : answer->items) bodies.push_back(BodyOf(item));
          std::vector<ItemReport> reports;
          for (size_t i = 0; i < bodies.size(); ++i) {
            const ItemAnswer& item = answer->items[i];
            AnswerFacts facts;
            facts.status = item.status;
            facts.key_reused = item.key_reused;
            reports.push_back({item.status, bodies[i], Judge(facts)});
          }
          run->op->ReportItems(slot, answer->node, answer->session, reports);
        }
        StepWrite(run);
      });
}

void SimProxy::FinishWrite(const std::shared_ptr<WriteRun>& run) {
  const SteadyTime now = world_.Steady();
  if (!run->op->progress().answered) {
    const auto backoff = RoundBackoff(run->round++);
    if (backoff && now + *backoff < run->op->deadline()) {
      Post(Micros(*backoff), [this, run] {
        if (!run->finished) BeginRound(run);
      });
      return;
    }
  }
  run->finished = true;
  WriteOutcome outcome = run->op->Close();
  ProxyWrite result;
  for (const ItemOutcome& item : outcome.items) {
    ItemAnswer answer;
    answer.status = item.status == 0 ? 503 : item.status;
    answer.key_reused = item.status == 422;
    FromBody(item.body, &answer);
    answer.copies = std::max(answer.copies, static_cast<int>(item.holders.size()));
    result.items.push_back(answer);
  }
  for (const WriteOutcome::Source& source : outcome.sources) {
    result.sessions.push_back(source.token);
  }
  run->done(std::move(result));
}

void SimProxy::Read(ReadRequest request, std::function<void(ReadAnswer)> done) {
  const auto run = std::make_shared<ReadRun>();
  ChooseFor(&run->choice, false, request.session);
  run->request = std::move(request);
  run->done = std::move(done);
  StepRead(run);
}

// Asks one more node.
void SimProxy::StepRead(const std::shared_ptr<ReadRun>& run) {
  if (run->finished) return;
  const uint64_t turn = ++run->turn;
  const auto finish = [run](ReadAnswer answer) {
    run->finished = true;
    run->done(std::move(answer));
  };
  if (run->asked == run->choice.order.size() ||
      (run->best && run->asked >= run->choice.first_tier())) {
    if (run->outstanding > 0) return;
    ReadAnswer none;
    none.status = 503;
    finish(run->best ? std::move(*run->best) : std::move(none));
    return;
  }
  const int slot = run->choice.order[run->asked++];
  ++run->outstanding;
  NodePort* server = ports_[static_cast<size_t>(slot)];
  network_.Call<ReadAnswer>(
      endpoint_, slot, kReadTry_us,
      [server, request = run->request](auto reply) { server->OnRead(request, reply); },
      [this, life = life_, run, slot, finish](std::optional<ReadAnswer> answer) {
        if (life_ != life) return;
        --run->outstanding;
        if (run->finished) return;
        const bool ok = answer && answer->connected;
        NodeAt(slot).breaker.OnRequest(ok, world_.Steady(), world_.random().Next());
        if (ok) {
          AnswerFacts facts;
          facts.status = answer->status;
          facts.stale = answer->stale;
          facts.empty_page = answer->status == 200 && answer->messages.empty() &&
                             run->request.kind == ReadRequest::Kind::kHistory;
          const AnswerVerdict verdict = Judge(facts);
          if (verdict.finality == Finality::kFinal) {
            finish(std::move(*answer));
            return;
          }
          if (verdict.finality == Finality::kNotFinal &&
              (!run->best || verdict.rank > run->best_rank)) {
            run->best = std::move(*answer);
            run->best_rank = verdict.rank;
          }
        }
        StepRead(run);
      });
  Post(kHedge_us, [this, run, turn] {
    if (run->turn == turn && run->asked < run->choice.order.size()) StepRead(run);
  });
}

}  // namespace chatchain::simulation
