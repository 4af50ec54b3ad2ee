// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_node.h"

#include <algorithm>
#include <utility>

#include "common/protocol/sync.h"
#include "common/util/encoding.h"
#include "node/sync/decide.h"
#include "node/sync/sealing.h"
#include "node/sync/serve.h"
#include "node/sync/verify.h"
#include "tests/simulation/ledger.h"

namespace chatchain::simulation {

namespace {

using std::chrono::milliseconds;

constexpr int64_t kEpoch_ms = 1'700'000'000'000;
// As in node/sync_driver.cc; a long poll waits less, so that a run sees its end.
constexpr int64_t kLongPollWait_ms = 2'000;
constexpr int64_t kAnswerTimeout_ms = 10'000;
constexpr auto kUnresponsiveAfter = milliseconds(1000);
constexpr auto kReachWait = milliseconds(500);
constexpr auto kCopiesWait = milliseconds(2000);

}  // namespace

struct SimNode::Peer {
  Peer(int its_slot, int64_t interval_ms, SteadyTime now)
      : slot(its_slot), schedule(interval_ms, now) {}

  const int slot;
  PullSchedule schedule;
  HeadVector heads;  // folded
  bool has_shown_heads = false;
  std::optional<int64_t> offset_ms;
  bool answered_or_failed = false;
  bool behind = true;
  bool up = false;
  std::optional<SteadyTime> round_began;
  uint64_t wanted = 0;
  uint64_t serves = 0;  // of the round under way
  uint64_t answered = 0;
  uint64_t failed = 0;
  uint64_t turn = 0;  // of scheduled rounds: an older one is void
  bool polling = false;
  SteadyTime poll_not_before{};

  // A page that the writer is at, while the next one is fetched.
  struct InFlight {
    HeadVector ends;
    std::optional<Result<size_t, WriteError>> written;
    std::function<void()> then;
  };
  std::shared_ptr<InFlight> in_flight;
  bool one_at_a_time = false;  // the next page is written before another one is fetched
};

// What came of a pull.
struct SimNode::Round {
  bool ok = false;
  bool more = false;
  bool writing = false;  // a page is in flight: its records count when it is written
  bool retry = false;
  size_t records = 0;
  HeadVector heads;
};

struct SimNode::Process {
  Process(SimNode& node, const std::string& path)
      : instance(HexU64(node.cluster_.world.random().Next())),
        hlc(node),
        store(node.cluster_.world, node.disk(), path, node.id_, hlc,
              {[&node](int64_t delay_us, std::function<void()> work) {
                 node.Post(delay_us, std::move(work));
               },
               [&node] { node.Published(); }}),
        copies(node.id_),
        sealer(node.id_, node.cluster_.seal_quiet_ms),
        tokens(SimStore::kCluster),
        service(store, prepared, copies),
        feed(store, prepared, SimStore::kCluster) {}

  // Whoever calls service or feed has waited before.
  struct Prepared final : CatchUp {
    Outcome Reach(const TokenVector&, SteadyTime) override { return outcome; }
    Outcome outcome;
  };
  struct Reader {
    TokenVector wanted;
    std::vector<uint64_t> rounds;
    SteadyTime until;
    std::function<void(const CatchUp::Outcome&)> then;
  };
  struct LongPoll {
    SyncRequest request;
    SteadyTime until;
    std::function<void(std::optional<std::string>)> reply;
  };
  struct CopiesWait {
    std::vector<int64_t> refs;
    int needed;
    SteadyTime until;
    WriteAnswer answer;
    std::function<void(WriteAnswer)> reply;
  };

  std::string instance;
  Hlc hlc;
  SimStore store;
  CopyTracker copies;
  Sealer sealer;
  const TokenCodec tokens;
  Prepared prepared;
  Service service;
  Feed feed;
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<Reader> readers;
  std::vector<LongPoll> long_polls;
  std::vector<CopiesWait> copies_waits;
};

SimNode::SimNode(Cluster& cluster, int slot, std::string id, std::string disk)
    : cluster_(cluster), slot_(slot), id_(std::move(id)), disk_name_(std::move(disk)) {}

SimNode::~SimNode() = default;

std::string SimNode::name() const {
  return "n" + std::to_string(slot_) + "(id " + id_ + ")";
}

SimStore& SimNode::store() {
  return process_->store;
}
const std::string& SimNode::instance() const {
  return process_->instance;
}

int64_t SimNode::WallMs() const {
  const int64_t now_us = cluster_.world.now_us();
  const int64_t drift_us = (now_us - drift_from_us_) / 1000 * drift_ppm_ / 1000;
  return kEpoch_ms + offset_ms_ + (now_us + drift_us) / 1000;
}

void SimNode::set_drift_ppm(int64_t ppm) {
  offset_ms_ += (cluster_.world.now_us() - drift_from_us_) / 1000 * drift_ppm_ / 1'000'000;
  drift_from_us_ = cluster_.world.now_us();
  drift_ppm_ = ppm;
}

void SimNode::set_sync_us(int64_t sync_us) {
  sync_us_ = sync_us;
  if (up()) process_->store.set_sync_us(sync_us);
}

bool SimNode::Start() {
  if (up()) return true;
  ++life_;
  try {
    process_ = std::make_unique<Process>(*this, SimVfs::PathOf(disk_name_));
  } catch (const SqliteError& error) {
    cluster_.world.Trace("no start", name(), error.what());
  } catch (const std::runtime_error& error) {
    cluster_.world.Trace("no start", name(), error.what());
    const std::string_view what = error.what();
    // SQLITE_IOERR_READ: the disk could not be read, says the check of the file's structure.
    if (what.find("is damaged") != std::string_view::npos &&
        what.find("error code=266") == std::string_view::npos) {
      cluster_.world.Violation("opens", name() + ": " + std::string(what));
    }
  }
  if (disk().powered_off()) {
    process_.reset();
    disk().PowerCut(cluster_.world.random());
  }
  if (!up()) {
    disk().ForgetLocks();
    return false;
  }
  process_->store.set_sync_us(sync_us_);
  cluster_.world.Trace("start", name(), process_->instance);
  WatchPeers();
  Guard([this] { cluster_.ledger.Started(*this); });
  return up();
}

void SimNode::Stop() {
  if (!up()) return;
  Guard([this] { process_->store.Close(); });
  if (!up()) return;
  process_.reset();
  cluster_.world.Trace("stop", name());
  if (disk().powered_off()) {
    disk().PowerCut(cluster_.world.random());
  } else {
    disk().ForgetLocks();
  }
}

void SimNode::Crash(bool power) {
  if (up()) {
    // What the process still does with its files on the way out did not happen.
    SimDisk& own = disk();
    own.Arm(SimDisk::Fault::kNone, 0);
    process_.reset();
  }
  cluster_.world.Trace(power ? "power cut" : "kill", name());
  if (power) {
    disk().PowerCut(cluster_.world.random());
  } else {
    disk().Arm(SimDisk::Fault::kNone, 0);
    disk().ForgetLocks();
  }
}

void SimNode::Guard(const std::function<void()>& work) {
  try {
    work();
  } catch (const simulation::Crash& crash) {
    cluster_.world.Count("crash inside");
    Crash(crash.power);
    return;
  } catch (const SqliteError& error) {
    // Where production answers 503, and the reader's connection is opened anew.
    cluster_.world.Trace("error", name(), error.what());
  }
  if (disk().powered_off()) Crash(true);
}

void SimNode::Post(int64_t delay_us, std::function<void()> work) {
  cluster_.world.Post(delay_us, [this, life = life_, work = std::move(work)] {
    if (up() && life_ == life) Guard(work);
  });
}

void SimNode::WatchPeers() {
  if (!up()) return;
  for (const auto& node : cluster_.nodes) {
    if (node.get() == this) continue;
    const bool known = std::any_of(process_->peers.begin(), process_->peers.end(),
                                   [&](const auto& peer) { return peer->slot == node->slot(); });
    if (known) continue;
    process_->peers.push_back(std::make_unique<Peer>(node->slot(), cluster_.interval_ms, Steady()));
    ScheduleRound(*process_->peers.back());
  }
}

void SimNode::Published() {
  const LogStatePtr state = process_->store.State();
  cluster_.world.Trace("commits", name(),
                       std::to_string(state->last_message_ref) + " " +
                           std::to_string(state->messages) + " " +
                           std::to_string(state->forks.size()));
  cluster_.ledger.Published(*this);
  // After the store is done with its own answers.
  Post(0, [this] {
    CheckLongPolls();
    CheckReaders();
    AwaitCopies();
  });
}

bool SimNode::Ready() const {
  return up() && std::all_of(process_->peers.begin(), process_->peers.end(),
                             [](const auto& peer) { return peer->answered_or_failed; });
}

// ---- pulling

void SimNode::ScheduleRound(Peer& peer) {
  const SteadyTime now = Steady();
  SteadyTime at = std::max(now, peer.schedule.next());
  if (peer.schedule.failures() == 0 && peer.wanted != std::max(peer.answered, peer.failed)) {
    at = now;
  }
  const uint64_t turn = ++peer.turn;
  const int64_t delay_us = std::chrono::duration_cast<std::chrono::microseconds>(at - now).count();
  Post(delay_us, [this, &peer, turn] {
    if (peer.turn == turn && !peer.round_began) StartRound(peer);
  });
}

std::string SimNode::SyncRequestFor(const Peer& peer, bool relay, int64_t wait_ms) const {
  const LogStatePtr state = process_->store.State();
  SyncRequest request;
  request.cluster = SimStore::kCluster;
  request.node = id_;
  request.have = HaveFor(*state, peer.heads);
  request.limit = cluster_.page_records;
  request.wait_ms = wait_ms;
  request.relay = relay;
  request.instance = process_->instance;
  if (state->live) request.epoch = state->live->epoch;
  request.forks = state->forks;
  if (relay && peer.in_flight) request.ahead = peer.in_flight->ends;
  return EncodeSyncRequest(request);
}

void SimNode::StartRound(Peer& peer) {
  peer.serves = peer.wanted;
  peer.round_began = Steady();
  const int64_t sent_ms = WallMs();
  std::string request = SyncRequestFor(peer, true, 0);
  const bool spoilt = cluster_.network.Spoil(&request);
  SimNode* server = cluster_.nodes[static_cast<size_t>(peer.slot)].get();
  cluster_.network.Call<std::optional<std::string>>(
      slot_, peer.slot, kAnswerTimeout_ms * 1000,
      [server, request, spoilt](auto reply) { server->OnSync(request, spoilt, reply); },
      [this, life = life_, &peer, sent_ms](auto answer) {
        if (!up() || life_ != life) return;
        Guard([&] {
          if (answer && *answer) {
            OnRoundAnswer(peer, **answer, sent_ms);
          } else {
            FailRound(peer);
          }
        });
      });
}

// Of the page in flight, if any: how many records were taken; nothing where it failed.
void SimNode::AwaitWritten(Peer& peer, std::function<void(std::optional<size_t>)> then) {
  if (!peer.in_flight) {
    then(0);
    return;
  }
  const auto page = std::exchange(peer.in_flight, nullptr);
  // Not the page itself, which holds this: a write that a crash ends would leave both behind.
  const auto finish = [written = &page->written, then = std::move(then)] {
    then(**written ? std::optional(***written) : std::nullopt);
  };
  if (page->written) {
    finish();
  } else {
    page->then = finish;
  }
}

void SimNode::FailRound(Peer& peer) {
  AwaitWritten(peer, [this, &peer](auto) { FinishRound(peer, {}); });
}

// As SyncDriver::TryPull goes on from an answer.
void SimNode::OnRoundAnswer(Peer& peer, const std::string& text, int64_t sent_ms) {
  auto decoded = DecodeSyncAnswer(text);
  if (!decoded) {
    FailRound(peer);
    return;
  }
  NoteOffset(peer, decoded->now_ms - (sent_ms + WallMs()) / 2);
  Round round;
  round.ok = true;
  round.heads = decoded->heads;
  round.more = decoded->more;
  const auto verdict = std::make_shared<Verdict>();
  try {
    *verdict = process_->store.WithReader([&](ReadConnection& reader, const LogStatePtr& stored) {
      const LogState state = peer.in_flight ? StateAfter(*stored, peer.in_flight->ends) : *stored;
      return VerifyAnswer(std::move(*decoded), {state, SimStore::kCluster, id_, process_->instance},
                          reader);
    });
  } catch (const SqliteError&) {
    FailRound(peer);
    return;
  }
  if (!verdict->refused.empty()) cluster_.world.Count("refused record");
  const bool failed_before = peer.schedule.failures() > 0;
  const bool one_at_a_time = std::exchange(peer.one_at_a_time, false);
  const bool may_write_behind = round.more && !failed_before && !one_at_a_time;
  if (!peer.in_flight) {
    TakePage(peer, *verdict, may_write_behind, std::move(round));
    return;
  }
  const HeadVector ends = peer.in_flight->ends;
  AwaitWritten(peer, [=, this, &peer](std::optional<size_t> written) mutable {
    if (!written) {
      FinishRound(peer, {});
      return;
    }
    round.records = *written;
    cluster_.world.Count("page behind a page");
    if (!verdict->findings.empty() || !Reaches(*process_->store.State(), ends)) {
      // Found with a state that was not there yet, or that never came to be: asked again.
      *verdict = Verdict{};
      round.retry = true;
      peer.one_at_a_time = true;
    }
    TakePage(peer, *verdict, may_write_behind && *written > 0, std::move(round));
  });
}

void SimNode::TakePage(Peer& peer, const Verdict& verdict, bool may_write_behind, Round round) {
  const auto taken = std::make_shared<size_t>(0);
  const auto work = [taken, verdict](Log& log) {
    *taken = 0;
    log.Heed(verdict.findings);
    for (const VerifiedRun& run : verdict.runs) *taken += log.Apply(run).records;
  };
  if (may_write_behind && !verdict.runs.empty() && verdict.findings.empty()) {
    const auto page = std::make_shared<Peer::InFlight>();
    page->ends = EndsOf(verdict.runs);
    peer.in_flight = page;
    process_->store.Submit(work, [this, page, taken](const Result<void, WriteError>& done) {
      if (done) {
        page->written = Result<size_t, WriteError>(*taken);
        process_->copies.Poke();
      } else {
        page->written = Err(done.error());
      }
      if (page->then) std::exchange(page->then, nullptr)();
    });
    round.writing = true;
  } else if (!verdict.runs.empty() || !verdict.findings.empty()) {
    process_->store.Submit(
        work, [this, &peer, taken, round](const Result<void, WriteError>& done) mutable {
          if (!done) {
            FinishRound(peer, {});
            return;
          }
          round.records += *taken;
          process_->copies.Poke();
          FinishRound(peer, std::move(round));
        });
    return;
  }
  FinishRound(peer, std::move(round));
}

void SimNode::FinishRound(Peer& peer, Round round) {
  const SteadyTime begun = *peer.round_began;
  peer.round_began.reset();
  peer.up = round.ok;
  if (round.ok) {
    const bool go_on = round.retry || (round.more && (round.records > 0 || round.writing));
    peer.heads = std::move(round.heads);
    peer.has_shown_heads = true;
    PlanSeals();
    peer.schedule.Succeeded(begun, go_on);
    peer.answered = peer.serves;
    peer.behind = go_on;
    if (!go_on) peer.answered_or_failed = true;
  } else {
    peer.schedule.Failed(Steady(), cluster_.world.random());
    peer.failed = peer.serves;
    peer.answered_or_failed = true;
  }
  CheckReaders();
  ScheduleRound(peer);
  if (peer.up) StartLongPoll(peer);
}

// As SyncDriver::PlanSeals.
void SimNode::PlanSeals() {
  std::vector<const HeadVector*> shown;
  std::vector<std::string> ids;
  for (const auto& peer : process_->peers) {
    shown.push_back(peer->has_shown_heads ? &peer->heads : nullptr);
    ids.push_back(cluster_.nodes[static_cast<size_t>(peer->slot)]->id());
  }
  const std::vector<HeadVector> others = process_->copies.LastSeenExcept(ids);
  for (const HeadVector& have : others) shown.push_back(&have);
  const LogStatePtr state = process_->store.State();
  Sealer::Plan plan = process_->sealer.Next(*state, shown, Steady());
  if (plan.empty()) return;
  for (const SealedHead& sealed : plan.seals) {
    cluster_.world.Count(state->seals->Of(sealed.epoch).empty() ? "seal" : "seal again");
    const bool of_twin =
        std::any_of(cluster_.nodes.begin(), cluster_.nodes.end(), [&](const auto& node) {
          return node->up() && node->store().State()->live == sealed.epoch;
        });
    if (of_twin) cluster_.world.Count("seal of a twin's live epoch");
  }
  if (!plan.seals.empty()) cluster_.before_seals();
  if (!plan.shared.empty()) cluster_.world.Count("shared seal");
  process_->store.Submit(
      [plan = std::move(plan)](Log& log) {
        log.AppendSeals(plan.seals);
        log.MarkShared(plan.shared);
      },
      [](const Result<void, WriteError>&) {});
}

void SimNode::StartLongPoll(Peer& peer) {
  if (peer.polling || !peer.up || peer.behind || Steady() < peer.poll_not_before) return;
  peer.polling = true;
  const SteadyTime begun = Steady();
  std::string request = SyncRequestFor(peer, false, kLongPollWait_ms);
  const bool spoilt = cluster_.network.Spoil(&request);
  SimNode* server = cluster_.nodes[static_cast<size_t>(peer.slot)].get();
  cluster_.network.Call<std::optional<std::string>>(
      slot_, peer.slot, (kLongPollWait_ms + kAnswerTimeout_ms) * 1000,
      [server, request, spoilt](auto reply) { server->OnSync(request, spoilt, reply); },
      [this, life = life_, &peer, begun](auto answer) {
        if (!up() || life_ != life) return;
        Guard([&] { OnLongPollAnswer(peer, answer ? *answer : std::nullopt, begun); });
      });
}

void SimNode::OnLongPollAnswer(Peer& peer, const std::optional<std::string>& text,
                               SteadyTime begun) {
  peer.polling = false;
  const auto rest = [&] { peer.poll_not_before = Steady() + milliseconds(cluster_.interval_ms); };
  auto answer = text ? DecodeSyncAnswer(*text) : Err(std::string("nothing"));
  if (!answer) {
    rest();
    return;
  }
  Verdict verdict;
  try {
    verdict = process_->store.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      return VerifyAnswer(std::move(*answer), {*state, SimStore::kCluster, id_, process_->instance},
                          reader);
    });
  } catch (const SqliteError&) {
    rest();
    return;
  }
  if (verdict.runs.empty() && verdict.findings.empty()) {
    if (Steady() - begun <= milliseconds(kLongPollWait_ms / 2)) rest();
    StartLongPoll(peer);
    return;
  }
  process_->store.Submit(
      [verdict = std::move(verdict)](Log& log) {
        log.Heed(verdict.findings);
        for (const VerifiedRun& run : verdict.runs) log.Apply(run);
      },
      [this, &peer](const Result<void, WriteError>& done) {
        if (done) process_->copies.Poke();
        Post(0, [this, &peer] { StartLongPoll(peer); });
      });
}

void SimNode::NoteOffset(Peer& peer, int64_t offset_ms) {
  peer.offset_ms = std::clamp<int64_t>(offset_ms, -(int64_t{1} << 48), int64_t{1} << 48);
  std::vector<int64_t> offsets_ms;
  for (const auto& each : process_->peers) {
    if (each->offset_ms) offsets_ms.push_back(*each->offset_ms);
  }
  process_->hlc.set_offset_ms(MedianOffset(std::move(offsets_ms)));
}

// ---- serving

void SimNode::OnSync(const std::string& text, bool spoilt,
                     std::function<void(std::optional<std::string>)> reply) {
  if (!up()) {
    reply(std::nullopt);
    return;
  }
  Guard([&] {
    const auto request = DecodeSyncRequest(text);
    if (!request) {
      if (!spoilt) {
        cluster_.world.Violation("protocol", "a request cannot be read: " + request.error().detail);
      }
      reply(std::nullopt);
      return;
    }
    const LogStatePtr state = process_->store.State();
    if (std::any_of(request->have.begin(), request->have.end(), [&](const auto& entry) {
          return state->heads.count(entry.first) > 0 && state->folded.count(entry.first) == 0;
        })) {
      cluster_.world.Count("pull that names a sealed epoch");
    }
    bool from_tables = false;
    Served served = process_->store.WithReader([&](ReadConnection& tables, const LogStatePtr&) {
      TailReader reader(process_->store.log().record_tail(), [&]() -> LogReader& {
        from_tables = true;
        return tables;
      });
      return ServeSync(*request, {*state, reader, SimStore::kCluster, id_, process_->instance});
    });
    if (served.records > 0) {
      cluster_.world.Count(from_tables ? "page from the tables" : "page from memory");
    }
    if (!served.findings.empty()) {
      process_->store.Submit([findings = served.findings](Log& log) { log.Heed(findings); },
                             [](const Result<void, WriteError>&) {});
    }
    process_->copies.Seen(request->node, std::move(served.holds));
    if (served.records == 0 && served.answer.forks.empty() && request->wait_ms > 0) {
      const SteadyTime until = Steady() + milliseconds(request->wait_ms);
      SyncRequest again = *request;
      again.wait_ms = 0;
      process_->long_polls.push_back({std::move(again), until, reply});
      Post(request->wait_ms * 1000, [this] { CheckLongPolls(); });
      return;
    }
    cluster_.world.Trace("serves", name(),
                         request->node + " " + std::to_string(served.records) + " records" +
                             (served.answer.more ? " and more" : ""));
    served.answer.now_ms = WallMs();
    cluster_.network.SpoilRecord(&served.records_json);
    std::string answer = EncodeSyncAnswer(served.answer, served.records_json);
    cluster_.ledger.Served(*this, served.answer);
    cluster_.network.Spoil(&answer);
    reply(std::move(answer));
    AwaitCopies();
  });
}

void SimNode::CheckLongPolls() {
  const LogStatePtr state = process_->store.State();
  std::vector<Process::LongPoll> due;
  std::erase_if(process_->long_polls, [&](Process::LongPoll& poll) {
    if (Steady() < poll.until && !HasNews(poll.request, *state, id_)) return false;
    due.push_back(std::move(poll));
    return true;
  });
  for (const Process::LongPoll& poll : due) {
    OnSync(EncodeSyncRequest(poll.request), false, poll.reply);
    if (!up()) return;
  }
}

// ---- readers that wait for what they have seen elsewhere

void SimNode::Reach(const TokenVector& wanted, std::function<void(const CatchUp::Outcome&)> then) {
  if (Missing(wanted, *process_->store.State()).empty()) {
    then({});
    return;
  }
  Process::Reader reader{wanted, {}, Steady() + kReachWait, std::move(then)};
  for (const auto& peer : process_->peers) {
    reader.rounds.push_back(++peer->wanted);
    if (!peer->round_began) ScheduleRound(*peer);
  }
  process_->readers.push_back(std::move(reader));
  Post(std::chrono::microseconds(kReachWait).count(), [this] { CheckReaders(); });
  CheckReaders();
}

void SimNode::CheckReaders() {
  std::vector<std::pair<Process::Reader, CatchUp::Outcome>> done;
  std::erase_if(process_->readers, [&](Process::Reader& reader) {
    const std::vector<EpochKey> missing = Missing(reader.wanted, *process_->store.State());
    CatchUp::Outcome outcome;
    if (!missing.empty()) {
      std::vector<ReachPeer> peers;
      // Peers that came later were not asked.
      for (size_t i = 0; i < reader.rounds.size(); ++i) {
        const Peer& peer = *process_->peers[i];
        const bool late = peer.round_began && Steady() - *peer.round_began > kUnresponsiveAfter;
        peers.push_back({peer.answered >= reader.rounds[i], peer.failed >= reader.rounds[i],
                         peer.schedule.failures() == 0 && !late, &peer.heads});
      }
      ReachVerdict verdict = JudgeReach(reader.wanted, missing, *process_->store.State(), peers,
                                        Steady() >= reader.until);
      if (verdict.wait) return false;
      outcome.behind = verdict.behind;
      outcome.coming = verdict.coming;
      outcome.lost = std::move(verdict.lost);
    }
    done.emplace_back(std::move(reader), std::move(outcome));
    return true;
  });
  for (auto& [reader, outcome] : done) reader.then(outcome);
}

// ---- requests of clients

void SimNode::OnWrite(const std::vector<WriteItem>& items, int copies,
                      std::function<void(WriteAnswer)> reply) {
  if (!up()) {
    WriteAnswer refused;
    refused.connected = false;
    reply(refused);
    return;
  }
  Guard([&] {
    const SteadyTime deadline = Steady() + milliseconds(5000);
    const auto answer = [this](std::vector<Try<Sent>> sent) {
      WriteAnswer written;
      written.node = id_;
      for (Try<Sent>& each : sent) {
        ItemAnswer item;
        if (each) {
          item.status = each->kind == Sent::Kind::kReplayed ? 200 : 201;
          item.stamp = each->shown.stamp;
        } else {
          item.status = each.error().status;
          item.key_reused = each.error().type.find("key-reused") != std::string::npos;
        }
        written.items.push_back(item);
      }
      written.session = process_->tokens.EncodeSession(process_->service.CurrentSession({}).token);
      return written;
    };
    if (items.size() == 1 && copies <= 1) {
      const WriteItem& item = items.front();
      process_->service.SendLater({item.message, item.stamp, false}, deadline,
                                  [this, message = item.message, answer, reply](Try<Sent> sent) {
                                    WriteAnswer written = answer({std::move(sent)});
                                    cluster_.ledger.Answered(*this, {message}, written);
                                    reply(std::move(written));
                                  });
      return;
    }
    std::vector<AppendItem> appends;
    std::vector<ValidMessage> messages;
    for (const WriteItem& item : items) {
      appends.push_back({item.message, item.stamp, false});
      messages.push_back(item.message);
    }
    WriteAnswer written = answer(process_->service.Send(std::move(appends), 0, deadline));
    cluster_.ledger.Answered(*this, messages, written);
    if (copies <= 1) {
      reply(std::move(written));
      return;
    }
    // As Service::Send waits, without a thread.
    std::vector<int64_t> refs;
    for (const ValidMessage& message : messages) {
      refs.push_back(process_->store.RefOf(message.id()));
    }
    process_->copies_waits.push_back(
        {std::move(refs), copies, Steady() + kCopiesWait, std::move(written), std::move(reply)});
    Post(std::chrono::microseconds(kCopiesWait).count(), [this] { AwaitCopies(); });
    AwaitCopies();
  });
}

void SimNode::AwaitCopies() {
  std::vector<Process::CopiesWait> done;
  std::erase_if(process_->copies_waits, [&](Process::CopiesWait& wait) {
    bool enough = true;
    for (size_t i = 0; i < wait.refs.size(); ++i) {
      ItemAnswer& item = wait.answer.items[i];
      if (item.status >= 300) continue;
      const auto positions = process_->store.PositionsOf(wait.refs[i]);
      item.copies = positions ? process_->copies.Count(*positions) : 1;
      enough = enough && item.copies >= wait.needed;
    }
    if (!enough && Steady() < wait.until) return false;
    done.push_back(std::move(wait));
    return true;
  });
  for (Process::CopiesWait& wait : done) {
    cluster_.ledger.Copied(*this, wait.refs, wait.answer);
    wait.reply(std::move(wait.answer));
  }
}

void SimNode::OnRead(const ReadRequest& request, std::function<void(ReadAnswer)> reply) {
  if (!up()) {
    ReadAnswer refused;
    refused.connected = false;
    reply(refused);
    return;
  }
  Guard([&] {
    TokenVector wanted;
    const auto want = [&](const Try<TokenVector>& decoded) {
      if (decoded) {
        chatchain::Join(&wanted, *decoded);
      } else {
        cluster_.world.Violation("tokens", "not read: " + decoded.error().detail);
      }
    };
    if (request.session) {
      const auto session = process_->tokens.DecodeSession(*request.session);
      want(session);
      if (session) CountSeals(*session);
    }
    if (request.cursor) {
      const auto cursor = process_->tokens.DecodeCursor(*request.cursor);
      want(cursor ? Try<TokenVector>(cursor->covers) : Err(cursor.error()));
    }
    if (request.after && *request.after != "begin") {
      const auto after = process_->tokens.DecodeFeed(*request.after);
      want(after);
      if (after && cluster_.ledger.HidesFrom(*process_->store.State()->seals, *after)) {
        cluster_.world.Count("feed from behind a seal that is not here");
      }
    }
    Reach(wanted, [this, wanted, request, reply](const CatchUp::Outcome& outcome) {
      process_->prepared.outcome = outcome;
      // A feed asks only for what is not frozen.
      if (request.kind != ReadRequest::Kind::kPoll) {
        process_->store.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
          for (EpochKey& key : BeyondFork(wanted, *state, reader)) {
            process_->prepared.outcome.lost.push_back(std::move(key));
          }
        });
      }
      Answer(request, reply);
    });
  });
}

// Tokens from before and after a seal, as this node knows it.
void SimNode::CountSeals(const TokenVector& session) {
  const LogStatePtr state = process_->store.State();
  const bool before = std::any_of(session.begin(), session.end(), [&](const auto& entry) {
    return state->heads.count(entry.first) > 0 && state->token.count(entry.first) == 0;
  });
  if (before) cluster_.world.Count("token from before a seal");
  if (cluster_.ledger.HidesFrom(*state->seals, session)) {
    cluster_.world.Count("token from behind a seal that is not here");
  }
}

void SimNode::Answer(const ReadRequest& request, const std::function<void(ReadAnswer)>& reply) {
  ReadAnswer answer;
  answer.node = id_;
  answer.slot = slot_;
  answer.status = 200;
  answer.forked = !process_->store.State()->forks.empty();
  const SteadyTime deadline = Steady() + milliseconds(5000);
  SessionRequest session;
  if (request.session) session.token = *process_->tokens.DecodeSession(*request.session);
  session.strict = request.strict;
  const auto take = [&](const SessionAnswer& given) {
    answer.session = process_->tokens.EncodeSession(given.token);
    const LogStatePtr state = process_->store.State();
    answer.meant = cluster_.ledger.Implied(given.token);
    for (const EpochKey& key : state->forks) answer.meant[key].seq = INT64_MAX;
    answer.stale = given.stale;
    answer.lost = given.lost;
  };
  const auto refuse = [&](const Problem& problem) { answer.status = problem.status; };
  switch (request.kind) {
    case ReadRequest::Kind::kReady: {
      answer.heads = process_->store.State()->folded;
      answer.writable = process_->store.write_state() == WriteState::kWritable;
      break;
    }
    case ReadRequest::Kind::kFind: {
      auto found = process_->service.Find(request.id, session, deadline);
      if (!found) {
        refuse(found.error());
        break;
      }
      take(found->session);
      if (found->shown) {
        answer.messages.push_back(std::move(*found->shown));
      } else {
        answer.status = 404;
      }
      break;
    }
    case ReadRequest::Kind::kHistory: {
      std::optional<Cursor> cursor;
      if (request.cursor) cursor = *process_->tokens.DecodeCursor(*request.cursor);
      const LogStatePtr state = process_->store.State();
      auto history =
          process_->service.History(request.query, cursor, request.limit, session, deadline);
      if (!history) {
        refuse(history.error());
        break;
      }
      take(history->session);
      for (HistoryItem& item : history->page.items) {
        answer.messages.push_back(std::move(item.shown));
        answer.places.push_back(item.place);
      }
      if (history->next) {
        answer.next = process_->tokens.EncodeCursor(*history->next);
      } else {
        answer.after = process_->tokens.EncodeFeed(history->after);
      }
      if (!cursor) answer.covered = cluster_.ledger.CoveredPlaces(*this, *state, request.query);
      break;
    }
    case ReadRequest::Kind::kPoll: {
      auto position = process_->feed.Decode(request.after);
      if (!position) {
        refuse(position.error());
        break;
      }
      process_->feed.Reach(&*position, deadline);
      auto read = process_->feed.Read(*position, request.query.filter, request.limit, 1 << 20);
      if (!read) {
        refuse(read.error());
        break;
      }
      for (FeedStep& step : read->steps) answer.messages.push_back(std::move(step.shown));
      answer.after = process_->feed.Encode(read->position.covers);
      answer.behind = read->position.behind;
      answer.gap = read->position.gap;
      answer.more = read->more;
      break;
    }
  }
  reply(std::move(answer));
}

}  // namespace chatchain::simulation
