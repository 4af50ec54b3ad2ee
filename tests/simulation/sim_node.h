// SPDX-License-Identifier: MIT
// One simulated node: a machine (a disk, a clock) and, while it runs, a process with the
// production's service, feed, store and sync decisions. It stands in for App, SyncDriver and the
// HTTP routes: the same calls, as events.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/query.h"
#include "node/service/feed.h"
#include "node/service/service.h"
#include "node/sync/schedule.h"
#include "tests/simulation/sim_api.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/sim_network.h"
#include "tests/simulation/sim_store.h"
#include "tests/simulation/world.h"

namespace chatchain::simulation {

class Ledger;
class SimNode;

// What all nodes of a simulation share.
struct Cluster {
  World& world;
  SimNetwork& network;
  SimVfs& vfs;
  Ledger& ledger;
  int64_t interval_ms = 1000;
  size_t page_records = 20;
  int64_t seal_quiet_ms = 0;
  std::vector<std::unique_ptr<SimNode>> nodes;  // their index is their endpoint
  NodePorts ports;                              // the same
  std::function<void()> before_seals;           // a node is about to write some
};

class SimNode final : public Clock, public NodePort {
 public:
  // Cut off from reality: everything after `slot` may be changed by the nemesis.
  SimNode(Cluster& cluster, int slot, std::string id, std::string disk);
  ~SimNode() override;

  int slot() const override { return slot_; }
  const std::string& id() const { return id_; }
  std::string name() const;
  bool up() const { return process_ != nullptr; }
  uint64_t life() const { return life_; }
  SimDisk& disk() { return cluster_.vfs.disk(disk_name_); }
  const std::string& disk_name() const { return disk_name_; }
  SimStore& store();                    // REQUIRES: up()
  const std::string& instance() const;  // REQUIRES: up()

  int64_t WallMs() const override;
  SteadyTime Steady() const override { return cluster_.world.Steady(); }
  void JumpClock(int64_t ms) { offset_ms_ += ms; }
  void set_drift_ppm(int64_t ppm);

  // False: its disk does not let it.
  bool Start();
  void Stop();             // cleanly
  void Crash(bool power);  // what waits is lost
  // REQUIRES: !up()
  void set_id(std::string id) { id_ = std::move(id); }
  void set_sync_us(int64_t sync_us);

  // Runs `work` with what a crash of the process needs around it.
  void Guard(const std::function<void()>& work);
  // As an event of the process that runs now; nothing if it ends before.
  void Post(int64_t delay_us, std::function<void()> work);

  // Requests. `reply` runs at most once.
  // `spoilt`: the request is not what its sender wrote.
  void OnSync(const std::string& request, bool spoilt,
              std::function<void(std::optional<std::string>)> reply);
  void OnWrite(const std::vector<WriteItem>& items, int copies,
               std::function<void(WriteAnswer)> reply) override;
  void OnRead(const ReadRequest& request, std::function<void(ReadAnswer)> reply) override;

  // Each peer has answered, or failed, once.
  bool Ready() const;
  // Pulls all nodes of the cluster, also those that came after its start.
  void WatchPeers();

 private:
  struct Process;
  struct Peer;
  struct Round;

  void Published();
  void ScheduleRound(Peer& peer);
  void StartRound(Peer& peer);
  void FinishRound(Peer& peer, Round round);
  void FailRound(Peer& peer);
  void TakePage(Peer& peer, const Verdict& verdict, bool may_write_behind, Round round);
  void OnRoundAnswer(Peer& peer, const std::string& answer, int64_t sent_ms);
  void AwaitWritten(Peer& peer, std::function<void(std::optional<size_t>)> then);
  void PlanSeals();
  void StartLongPoll(Peer& peer);
  void OnLongPollAnswer(Peer& peer, const std::optional<std::string>& answer, SteadyTime begun);
  std::string SyncRequestFor(const Peer& peer, bool relay, int64_t wait_ms) const;
  void NoteOffset(Peer& peer, int64_t offset_ms);
  void Reach(const TokenVector& wanted, std::function<void(const CatchUp::Outcome&)> then);
  void CheckReaders();
  void CheckLongPolls();
  void AwaitCopies();
  void CountSeals(const TokenVector& session);
  void Answer(const ReadRequest& request, const std::function<void(ReadAnswer)>& reply);

  Cluster& cluster_;
  const int slot_;
  std::string id_;
  const std::string disk_name_;
  int64_t offset_ms_ = 0;
  int64_t drift_ppm_ = 0;
  int64_t drift_from_us_ = 0;
  int64_t sync_us_ = 500;
  uint64_t life_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace chatchain::simulation
