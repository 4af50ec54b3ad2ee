// SPDX-License-Identifier: MIT
// The I/O of sync: two threads a peer, one for the periodic rounds (all origins), one for the long
// poll that brings the peer's own new records at once. What they do with an answer is decided in
// node/sync; what they write goes through the store's writer. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/http/client.h"
#include "common/protocol/hlc.h"
#include "common/protocol/sync.h"
#include "common/util/random.h"
#include "node/service/copies.h"
#include "node/service/service.h"
#include "node/store/sqlite_storage.h"
#include "node/sync/schedule.h"
#include "node/sync/sealing.h"

namespace chatchain {

struct PageInFlight;

struct PeerStatus {
  std::string address;
  std::string id;  // empty until it has answered
  enum class State { kUp, kSuspect, kDown } state = State::kSuspect;
  std::optional<int64_t> last_sync_ms;  // Unix ms of the last successful pull
  std::string last_error;               // of the last failed pull since then
  uint64_t lag = 0;                     // records of ours that it has not shown to have
  uint64_t pulls = 0;
  uint64_t failed_pulls = 0;
  uint64_t records = 0;          // taken from it
  uint64_t refused_records = 0;  // that failed a check
};

class SyncDriver final : public CatchUp {
 public:
  struct Options {
    std::string cluster;
    std::string node_id;
    std::string instance;
    std::vector<std::string> peers;
    int64_t interval_ms = 1000;
    size_t page_records = 1000;
    size_t page_bytes = 8 << 20;
    int64_t session_wait_ms = 500;
    int64_t seal_quiet_ms = 10'000;  // see Sealer
  };

  SyncDriver(Options options, SqliteStorage& storage, CopyTracker& copies, Hlc& hlc,
             const Clock& clock, Random& random);
  ~SyncDriver() override;

  void Start();
  // Ends all pulls and waits at once; further Reach() calls return at once.
  void Stop();

  // True once each peer has answered or failed once; answered: a whole first round.
  bool first_round_done() const;
  std::vector<PeerStatus> peers() const;

  Outcome Reach(const TokenVector& wanted, SteadyTime deadline) override;

 private:
  struct Peer;
  struct PullResult {
    bool ok = false;
    bool more = false;
    size_t records = 0;
    bool writing = false;  // a page is in flight: its records count when it is written
    bool retry = false;    // the page was made for a state that did not come to be
    std::string error;
  };

  void RunRounds(Peer& peer);
  void RunLongPolls(Peer& peer);
  PullResult Pull(Peer& peer, bool relay, int64_t wait_ms);
  PullResult TryPull(Peer& peer, bool relay, int64_t wait_ms);
  PageInFlight Write(Verdict&& verdict, size_t weight);
  Result<size_t, std::string> AwaitWritten(Peer& peer);
  Outcome AwaitMissing(const TokenVector& wanted, SteadyTime deadline);
  void NoteOffset(Peer& peer, int64_t offset_ms);
  void PlanSeals() REQUIRES(mutex_);

  const Options options_;
  SqliteStorage& storage_;
  CopyTracker& copies_;
  Hlc& hlc_;
  const Clock& clock_;
  Random& random_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  Sealer sealer_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Peer>> peers_;  // fixed after construction; members see there
};

}  // namespace chatchain
