// SPDX-License-Identifier: MIT
#include "node/sync_driver.h"

#include <pthread.h>

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "common/protocol/limits.h"
#include "common/util/log.h"
#include "node/sync/decide.h"

namespace chatchain {

namespace {

using std::chrono::milliseconds;

constexpr int64_t kLongPollWait_ms = 10'000;
constexpr int64_t kAnswerTimeout_ms = 10'000;  // beyond the wait that was asked for
constexpr int64_t kApplyTimeout_ms = 60'000;   // of a page by a slow disk
constexpr int kDownAfterFailures = 3;
// A peer whose answer is out for longer is not waited for by readers.
constexpr auto kUnresponsiveAfter = milliseconds(1000);

void NameThread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

}  // namespace

// A page that the writer is at, while the next one is fetched and checked.
struct PageInFlight {
  HeadVector ends;  // where its runs end
  std::shared_ptr<std::atomic<size_t>> taken;
  std::future<Result<void, WriteError>> written;
};

struct SyncDriver::Peer {
  Peer(std::string its_address, int64_t interval_ms, SteadyTime now)
      : address(std::move(its_address)),
        client(address,
               {.max_idle_connections = 2, .max_response_bytes = limits::kSyncAnswerMaxBytes}),
        schedule(interval_ms, now) {
    status.address = address;
  }

  const std::string address;
  http::Client client;
  std::thread rounds;
  std::thread long_polls;
  http::Cancellation stop_round;
  http::Cancellation stop_long_poll;

  // Of the thread of rounds:
  std::optional<PageInFlight> in_flight;
  bool one_at_a_time = false;  // the next page is written before another one is fetched

  // What the last answer had that was refused; each belongs to the thread of its kind.
  std::vector<std::string> refused_in_round;
  std::vector<std::string> refused_in_long_poll;

  // Guarded by SyncDriver::mutex_ (an attribute cannot name a member of the enclosing object).
  PullSchedule schedule;
  PeerStatus status;
  HeadVector heads;  // folded, from its last answer
  bool has_shown_heads = false;
  std::optional<int64_t> offset_ms;
  bool answered_or_failed = false;
  bool behind = true;  // rounds still find more than fits into one answer
  std::optional<SteadyTime> round_began;
  // Readers raise `wanted`; a round serves the number that stood when it began.
  uint64_t wanted = 0;
  uint64_t answered = 0;
  uint64_t failed = 0;
};

SyncDriver::SyncDriver(Options options, SqliteStorage& storage, CopyTracker& copies, Hlc& hlc,
                       const Clock& clock, Random& random)
    : options_(std::move(options)),
      storage_(storage),
      copies_(copies),
      hlc_(hlc),
      clock_(clock),
      random_(random),
      sealer_(options_.node_id, options_.seal_quiet_ms) {
  for (const std::string& address : options_.peers) {
    peers_.push_back(std::make_unique<Peer>(address, options_.interval_ms, clock_.Steady()));
  }
}

SyncDriver::~SyncDriver() {
  Stop();
}

void SyncDriver::Start() {
  for (const auto& peer : peers_) {
    peer->rounds = std::thread([this, &peer = *peer] { RunRounds(peer); });
    peer->long_polls = std::thread([this, &peer = *peer] { RunLongPolls(peer); });
  }
}

void SyncDriver::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (const auto& peer : peers_) {
    peer->stop_round.Cancel();
    peer->stop_long_poll.Cancel();
  }
  for (const auto& peer : peers_) {
    if (peer->rounds.joinable()) peer->rounds.join();
    if (peer->long_polls.joinable()) peer->long_polls.join();
  }
}

bool SyncDriver::first_round_done() const {
  MutexLock lock(mutex_);
  return std::all_of(peers_.begin(), peers_.end(),
                     [](const auto& peer) { return peer->answered_or_failed; });
}

std::vector<PeerStatus> SyncDriver::peers() const {
  const LogStatePtr state = storage_.State();
  std::vector<PeerStatus> all;
  MutexLock lock(mutex_);
  for (const auto& peer : peers_) {
    PeerStatus status = peer->status;
    const HeadVector shown = status.id.empty() ? HeadVector{} : copies_.LastSeen(status.id);
    const HeadVector answered = Unfold(peer->heads, *state->seals);
    for (const auto& [key, head] : state->heads) {
      // The later of what its pulls and its answers showed.
      Seq theirs = 0;
      for (const HeadVector* vector : {&shown, &answered}) {
        const auto it = vector->find(key);
        if (it != vector->end()) theirs = std::max(theirs, it->second.seq);
      }
      if (theirs < head.seq) status.lag += head.seq - theirs;
    }
    all.push_back(std::move(status));
  }
  return all;
}

void SyncDriver::RunRounds(Peer& peer) {
  NameThread("sync-rounds");
  while (true) {
    uint64_t serves = 0;
    {
      MutexLock lock(mutex_);
      // A reader who waits brings the round forward; not to a peer that is down, which is asked as
      // often as its backoff says.
      while (
          !stopping_ && clock_.Steady() < peer.schedule.next() &&
          (peer.schedule.failures() > 0 || peer.wanted == std::max(peer.answered, peer.failed))) {
        changed_.WaitUntil(mutex_, peer.schedule.next());
      }
      if (stopping_) return;
      serves = peer.wanted;
      peer.round_began = clock_.Steady();
    }
    const SteadyTime begun = clock_.Steady();
    const PullResult result = Pull(peer, /*relay=*/true, 0);
    {
      MutexLock lock(mutex_);
      peer.round_began.reset();
      if (result.ok) {
        // Without progress "more" means nothing: the rest has to wait for the next round.
        const bool go_on = result.retry || (result.more && (result.records > 0 || result.writing));
        peer.schedule.Succeeded(begun, go_on);
        peer.answered = serves;
        peer.behind = go_on;
        if (!go_on) peer.answered_or_failed = true;
      } else {
        peer.schedule.Failed(clock_.Steady(), random_);
        peer.failed = serves;
        peer.answered_or_failed = true;
        peer.status.state = peer.schedule.failures() >= kDownAfterFailures
                                ? PeerStatus::State::kDown
                                : PeerStatus::State::kSuspect;
      }
    }
    changed_.NotifyAll();
  }
}

void SyncDriver::RunLongPolls(Peer& peer) {
  NameThread("sync-poll");
  SteadyTime not_before = clock_.Steady();
  bool was_in_vain = false;
  while (true) {
    {
      MutexLock lock(mutex_);
      // While rounds catch up, a long poll would only fetch the same once more.
      while (!stopping_ && (peer.status.state != PeerStatus::State::kUp || peer.behind ||
                            clock_.Steady() < not_before)) {
        if (peer.status.state != PeerStatus::State::kUp || peer.behind) {
          changed_.Wait(mutex_);
        } else {
          changed_.WaitUntil(mutex_, not_before);
        }
      }
      if (stopping_) return;
    }
    const SteadyTime begun = clock_.Steady();
    const PullResult result = Pull(peer, /*relay=*/false, kLongPollWait_ms);
    // A peer that answers at once with nothing new does not know how to wait; one that failed is
    // left to the rounds. Once is no sign: a round may have brought the same a moment before.
    const bool waited = clock_.Steady() - begun > milliseconds(kLongPollWait_ms / 2);
    const bool in_vain = result.records == 0 && !waited;
    if (!result.ok || (in_vain && was_in_vain)) {
      not_before = clock_.Steady() + milliseconds(options_.interval_ms);
    }
    was_in_vain = in_vain;
    if (result.ok) changed_.NotifyAll();
  }
}

SyncDriver::PullResult SyncDriver::Pull(Peer& peer, bool relay, int64_t wait_ms) {
  try {
    return TryPull(peer, relay, wait_ms);
  } catch (const std::bad_alloc&) {
    if (relay) (void)AwaitWritten(peer);
    MutexLock lock(mutex_);
    ++peer.status.failed_pulls;
    peer.status.last_error = "out of memory";
    return {};
  }
}

SyncDriver::PullResult SyncDriver::TryPull(Peer& peer, bool relay, int64_t wait_ms) {
  PullResult result;
  const auto fail = [&](std::string error) {
    if (relay) result.records += AwaitWritten(peer).value_or(0);  // its own failure comes again
    MutexLock lock(mutex_);
    peer.status.records += result.records;
    ++peer.status.failed_pulls;
    if (!stopping_ && peer.status.last_error != error) {
      spdlog::warn("pulling from {} failed: {}", peer.address, LogSafe(error));
    }
    peer.status.last_error = error;
    result.error = std::move(error);
    return result;
  };

  const bool failed_before = [&] {
    MutexLock lock(mutex_);
    return peer.schedule.failures() > 0;
  }();
  const LogStatePtr asked_with = storage_.State();
  const HeadVector shown = [&] {
    MutexLock lock(mutex_);
    return peer.heads;
  }();
  SyncRequest request;
  request.cluster = options_.cluster;
  request.node = options_.node_id;
  request.have = HaveFor(*asked_with, shown);
  request.limit = options_.page_records;
  request.max_bytes = options_.page_bytes;
  request.wait_ms = wait_ms;
  request.relay = relay;
  request.instance = options_.instance;
  if (asked_with->live) request.epoch = asked_with->live->epoch;
  request.forks = asked_with->forks;
  if (relay && peer.in_flight) request.ahead = peer.in_flight->ends;

  http::ClientRequest call;
  call.method = "POST";
  call.target = "/sync";
  call.content_type = "application/json";
  call.body = EncodeSyncRequest(request);
  const int64_t sent_ms = clock_.WallMs();
  auto response =
      peer.client.Send(call, clock_.Steady() + milliseconds(wait_ms + kAnswerTimeout_ms),
                       relay ? &peer.stop_round : &peer.stop_long_poll);
  if (!response) return fail(response.error().detail);
  if (response->status == 403) return fail("it belongs to another cluster");
  if (response->status != 200) {
    return fail("it answered " + std::to_string(response->status) + ": " +
                response->body.substr(0, 200));
  }
  auto answer = DecodeSyncAnswer(response->body);
  if (!answer) return fail(answer.error());
  const int64_t now_ms = clock_.WallMs();
  if (wait_ms == 0) {
    const int64_t its_ms = std::clamp<int64_t>(answer->now_ms, 0, StampMs(~Stamp{0}));
    NoteOffset(peer, its_ms - (sent_ms + now_ms) / 2);
  }

  const std::string peer_id = answer->node;
  HeadVector heads = answer->heads;
  result.more = answer->more;
  Verdict verdict;
  try {
    const LogStatePtr published = storage_.State();
    LogStatePtr state = published;
    if (relay && peer.in_flight) {
      state = std::make_shared<const LogState>(StateAfter(*state, peer.in_flight->ends));
    }
    verdict = storage_.WithLog(published, [&](LogReader& reader) {
      return VerifyAnswer(std::move(*answer),
                          {*state, options_.cluster, options_.node_id, options_.instance}, reader);
    });
  } catch (const SqliteError& error) {
    return fail(std::string("reading our own log failed: ") + error.what());
  }
  {
    // A peer says the same wrong thing in every round: once is enough for the log.
    std::vector<std::string>& named = relay ? peer.refused_in_round : peer.refused_in_long_poll;
    if (named != verdict.refused) {
      for (const std::string& refused : verdict.refused) {
        spdlog::error("refused from {} (node {}): {}", peer.address, peer_id, LogSafe(refused));
      }
      named = verdict.refused;
    }
  }

  size_t weight = 0;
  for (const VerifiedRun& run : verdict.runs) weight += run.records.size();
  const size_t refused = verdict.refused.size();
  if (asked_with->id_runs_twice) verdict.findings.twin = false;  // known
  // A second page in flight only behind one that went well: where nothing can be written, or
  // another peer is quicker, pulls are to slow down.
  const bool one_at_a_time = relay && std::exchange(peer.one_at_a_time, false);
  bool may_write_behind = relay && result.more && !failed_before && !one_at_a_time;
  if (relay && peer.in_flight) {
    const HeadVector ends = peer.in_flight->ends;
    const auto written = AwaitWritten(peer);
    if (!written) return fail(written.error());
    result.records = *written;
    may_write_behind = may_write_behind && *written > 0;
    if (!verdict.findings.empty() || !Reaches(*storage_.State(), ends)) {
      // Found with a state that was not there yet, or that never came to be: asked again.
      verdict = Verdict{};
      weight = 0;
      result.retry = true;
      peer.one_at_a_time = true;
    }
  }
  if (may_write_behind && weight > 0 && verdict.findings.empty()) {
    peer.in_flight = Write(std::move(verdict), weight);
    result.writing = true;
  } else if (weight > 0 || !verdict.findings.empty()) {
    const auto shared = std::make_shared<const Verdict>(std::move(verdict));
    const auto taken = std::make_shared<std::atomic<size_t>>(0);
    auto done = storage_.writer().Execute(
        [shared, taken](Log& log) {
          *taken = 0;
          log.Heed(shared->findings);
          for (const VerifiedRun& run : shared->runs) *taken += log.Apply(run).records;
        },
        clock_.Steady() + milliseconds(kApplyTimeout_ms), std::max<size_t>(weight, 1));
    if (!done) return fail(done.error().detail);
    result.records += *taken;
    copies_.Poke();
  }

  MutexLock lock(mutex_);
  if (relay && peer.status.state != PeerStatus::State::kUp) {
    spdlog::info("peer {} (node {}) is up", peer.address, peer_id);
    peer.status.state = PeerStatus::State::kUp;
  }
  peer.status.id = peer_id;
  peer.status.last_sync_ms = now_ms;
  peer.status.last_error.clear();
  ++peer.status.pulls;
  peer.status.records += result.records;
  peer.status.refused_records += refused;
  // Of rounds only: a long poll's answer may be older than the round's that came before it, and
  // readers would take what it lacks for lost.
  if (relay) {
    peer.heads = std::move(heads);
    peer.has_shown_heads = true;
    PlanSeals();
  }
  result.ok = true;
  return result;
}

void SyncDriver::PlanSeals() {
  std::vector<const HeadVector*> shown;
  std::vector<std::string> ids;
  for (const auto& peer : peers_) {
    shown.push_back(peer->has_shown_heads ? &peer->heads : nullptr);
    ids.push_back(peer->status.id);
  }
  // Who pulls from us and is not pulled by us is known as well.
  const std::vector<HeadVector> others = copies_.LastSeenExcept(ids);
  for (const HeadVector& have : others) shown.push_back(&have);
  Sealer::Plan plan = sealer_.Next(*storage_.State(), shown, clock_.Steady());
  if (plan.empty()) return;
  storage_.writer().Post([plan = std::move(plan)](Log& log) {
    log.AppendSeals(plan.seals);
    log.MarkShared(plan.shared);
  });
}

// Hands a page to the writer; the next one can be fetched meanwhile.
PageInFlight SyncDriver::Write(Verdict&& verdict, size_t weight) {
  PageInFlight page;
  page.ends = EndsOf(verdict.runs);
  page.taken = std::make_shared<std::atomic<size_t>>(0);
  auto written = std::make_shared<std::promise<Result<void, WriteError>>>();
  page.written = written->get_future();
  storage_.writer().Submit(
      [shared = std::make_shared<const Verdict>(std::move(verdict)), taken = page.taken](Log& log) {
        *taken = 0;
        for (const VerifiedRun& run : shared->runs) *taken += log.Apply(run).records;
      },
      clock_.Steady() + milliseconds(kApplyTimeout_ms),
      [written](Result<void, WriteError> outcome) { written->set_value(std::move(outcome)); },
      weight);
  return page;
}

// Of the page in flight, if any: how many records were taken.
Result<size_t, std::string> SyncDriver::AwaitWritten(Peer& peer) {
  if (!peer.in_flight) return size_t{0};
  PageInFlight page = std::move(*peer.in_flight);
  peer.in_flight.reset();
  const Result<void, WriteError> written = page.written.get();
  if (!written) return Err(written.error().detail);
  copies_.Poke();
  return page.taken->load();
}

// Our clock is taken to be off by the median of what the peers and we ourselves (0) say.
void SyncDriver::NoteOffset(Peer& peer, int64_t offset_ms) {
  std::vector<int64_t> offsets_ms;
  {
    MutexLock lock(mutex_);
    peer.offset_ms = offset_ms;
    for (const auto& each : peers_) {
      if (each->offset_ms) offsets_ms.push_back(*each->offset_ms);
    }
  }
  hlc_.set_offset_ms(MedianOffset(std::move(offsets_ms)));
}

CatchUp::Outcome SyncDriver::Reach(const TokenVector& wanted, SteadyTime deadline) {
  Outcome outcome = AwaitMissing(wanted, deadline);
  // Its messages come under other records, but who knows when: the client is told.
  const LogStatePtr state = storage_.State();
  if (state->forks.empty()) return outcome;
  try {
    const std::vector<EpochKey> beyond = storage_.WithLog(
        state, [&](LogReader& reader) { return BeyondFork(wanted, *state, reader); });
    outcome.lost.insert(outcome.lost.end(), beyond.begin(), beyond.end());
  } catch (const SqliteError& error) {
    spdlog::warn("a session's branch of a fork cannot be compared with ours: {}", error.what());
    outcome.behind = true;
  }
  return outcome;
}

CatchUp::Outcome SyncDriver::AwaitMissing(const TokenVector& wanted, SteadyTime deadline) {
  Outcome outcome;
  std::vector<EpochKey> missing = Missing(wanted, *storage_.State());
  if (missing.empty()) return outcome;

  const SteadyTime until =
      std::min(deadline, clock_.Steady() + milliseconds(options_.session_wait_ms));
  std::vector<uint64_t> my_round;
  {
    MutexLock lock(mutex_);
    for (const auto& peer : peers_) my_round.push_back(++peer->wanted);
  }
  changed_.NotifyAll();

  while (true) {
    MutexLock lock(mutex_);
    // With the lock held: what arrives from here on is followed by a wake-up that the wait below
    // sees.
    const LogStatePtr state = storage_.State();
    missing = Missing(wanted, *state);
    if (missing.empty()) return outcome;
    const SteadyTime now = clock_.Steady();
    std::vector<ReachPeer> peers;
    for (size_t i = 0; i < peers_.size(); ++i) {
      const Peer& peer = *peers_[i];
      const bool late = peer.round_began && now - *peer.round_began > kUnresponsiveAfter;
      peers.push_back({.answered = peer.answered >= my_round[i],
                       .failed = peer.failed >= my_round[i],
                       .live = peer.schedule.failures() == 0 && !late,
                       .heads = &peer.heads});
    }
    ReachVerdict verdict = JudgeReach(wanted, missing, *state, peers, stopping_ || now >= until);
    if (!verdict.wait) {
      outcome.behind = verdict.behind;
      outcome.coming = verdict.coming;
      outcome.lost = std::move(verdict.lost);
      return outcome;
    }
    changed_.WaitUntil(mutex_, until);
  }
}

}  // namespace chatchain
