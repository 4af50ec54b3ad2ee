// SPDX-License-Identifier: MIT
#include "tests/simulation/simulator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "common/util/encoding.h"
#include "node/store/schema.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/sim_client.h"
#include "tests/support/store_test.h"

namespace chatchain::simulation {

void World::Print(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
}

namespace {

constexpr int64_t kNemesisTurn_us = 30'000;
constexpr int64_t kHour_ms = 3'600'000;
// A peer that has more is asked again at once, and one that failed after 2 s at most.
constexpr int kMaxRounds = 100;

const char* NameOf(SimDisk::Fault fault) {
  switch (fault) {
    case SimDisk::Fault::kNone: break;
    case SimDisk::Fault::kWriteError: return "write failed";
    case SimDisk::Fault::kSyncError: return "sync failed";
    case SimDisk::Fault::kReadError: return "read failed";
    case SimDisk::Fault::kFull: return "disk was full";
    case SimDisk::Fault::kPowerOff: return "power went in a call";
  }
  return "";
}

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  ~Simulation();
  SimResult Run();

 private:
  void ScaleRates();
  void Age();
  void WriteAt(SimNode& node);
  void DieWithMore(SimNode& node);
  void CutOff(const SimNode& node);
  // A client sends and reads.
  void Prove(SimClient& client);
  SimNode& AddNode(const std::string& id);
  SimNode& SomeNode() { return *cluster_.nodes[world_.Below(cluster_.nodes.size())]; }
  void Nemesis();
  void NetworkFault();
  void CrashFault();
  void DiskFault();
  void HistoryFault();
  void CopyDisks();
  bool LacksASealIfRestored(SimNode& node) const;
  void ForgetSeal(SimNode& node);
  void Restore(SimNode& node, const std::string& snapshot);
  void Fork(SimNode& node);
  void Damage(SimNode& node);
  void Scrub(SimNode& node);
  void Heal();
  bool Converged();
  void AwaitConvergence(int max_rounds);
  // Lets the world run until `done` holds; false: it never did.
  bool RunUntil(const std::function<bool()>& done, int64_t at_most_us);

  SimOptions options_;
  World world_;
  Rates rates_;
  SimVfs vfs_;
  SimNetwork network_;
  Ledger ledger_;
  Cluster cluster_;
  std::vector<std::unique_ptr<SimProxy>> proxies_;
  std::vector<std::unique_ptr<SimClient>> clients_;
  std::vector<std::string> snapshots_;      // disks
  std::map<std::string, int> snapshot_of_;  // the node's slot
  struct BeforeSeals {
    std::string disk;
    std::shared_ptr<const Seals> seals;  // that the disk has
  };
  std::map<int, BeforeSeals> before_seals_;  // by slot
  std::vector<SimNode*> core_;               // the nodes that live in the end
  bool healing_ = false;
  int disks_ = 0;
  uint64_t aged_steps_ = 0;
};

Simulation::Simulation(const SimOptions& options)
    : options_(options),
      world_(options.seed, options.trace),
      rates_(options.rates),
      vfs_(world_.random()),
      network_(world_, (ScaleRates(), rates_)),
      ledger_(world_),
      cluster_{world_, network_, vfs_, ledger_, 1000, 20, 0, {}, {}, {}} {
  ledger_.set_cluster(&cluster_);
  cluster_.before_seals = [this] { CopyDisks(); };
  constexpr int64_t kIntervals_ms[] = {200, 500, 1000};
  constexpr size_t kPages[] = {2, 7, 50};
  cluster_.interval_ms = kIntervals_ms[world_.Below(std::size(kIntervals_ms))];
  cluster_.page_records = kPages[world_.Below(std::size(kPages))];
  const size_t nodes = options.nodes > 0 ? options.nodes : 3 + world_.Below(3);
  for (size_t i = 0; i < nodes; ++i) {
    AddNode(std::to_string(i)).JumpClock(static_cast<int64_t>(world_.Below(600)) - 300);
  }
  for (const auto& node : cluster_.nodes) node->Start();
  for (int i = 0; i < 2; ++i) {
    proxies_.push_back(std::make_unique<SimProxy>(world_, network_, cluster_.ports,
                                                  static_cast<int>(kMaxNodes) + i));
  }
  for (int i = 0; i < 3; ++i) {
    clients_.push_back(std::make_unique<SimClient>(cluster_, ledger_, proxies_, rates_,
                                                   "c" + std::to_string(i),
                                                   static_cast<int>(kMaxNodes) + 2 + i));
  }
  if (options.restarts > 0) Age();
  for (const auto& client : clients_) {
    world_.Post(static_cast<int64_t>(world_.Below(50'000)), [this, turn = client.get()] {
      if (!healing_) turn->Turn();
    });
  }
  world_.Post(kNemesisTurn_us, [this] { Nemesis(); });
}

// Connections close before the disks go.
Simulation::~Simulation() {
  clients_.clear();
  proxies_.clear();
  cluster_.nodes.clear();
}

// Each seed knows only some of the faults, and those that it knows more or less often: a fault that
// many others hide shows up alone somewhere.
void Simulation::ScaleRates() {
  const std::string_view kinds_of_clients[] = {"repeat", "reuse", "batch", "acks",  "read",
                                               "list",   "walk",  "poll",  "astray"};
  for (const auto& [name, rate] : RatesByName(&rates_)) {
    if (std::find(std::begin(kinds_of_clients), std::end(kinds_of_clients), name) !=
        std::end(kinds_of_clients)) {
      continue;
    }
    if (name == "forget_seal") continue;  // wherever disks are restored at all
    constexpr uint64_t kScales[] = {0, 0, 1, 2, 4};
    const uint64_t scale = kScales[world_.Below(std::size(kScales))];
    if (name == "start" || name == "heal_network") continue;
    *rate = *rate * scale / 2;
  }
}

SimNode& Simulation::AddNode(const std::string& id) {
  cluster_.nodes.push_back(std::make_unique<SimNode>(
      cluster_, static_cast<int>(cluster_.nodes.size()), id, "disk" + std::to_string(disks_++)));
  cluster_.ports.push_back(cluster_.nodes.back().get());
  for (const auto& node : cluster_.nodes) node->WatchPeers();
  return *cluster_.nodes.back();
}

void Simulation::Nemesis() {
  if (healing_) return;
  NetworkFault();
  CrashFault();
  DiskFault();
  HistoryFault();
  world_.Post(kNemesisTurn_us + static_cast<int64_t>(world_.Below(kNemesisTurn_us)),
              [this] { Nemesis(); });
}

void Simulation::NetworkFault() {
  const auto happens = [&](const char* name, uint64_t rate) {
    if (!world_.Happens(rate)) return false;
    world_.Count(name);
    world_.Trace("fault", name);
    return true;
  };
  // Proxies and clients are on a side as well.
  const int endpoints = static_cast<int>(kMaxNodes) + 5;
  if (happens("partition", rates_.partition)) {
    std::vector<bool> side;
    for (int i = 0; i < endpoints; ++i) side.push_back(world_.Below(2) == 0);
    for (int a = 0; a < endpoints; ++a) {
      for (int b = 0; b < endpoints; ++b) {
        if (side[static_cast<size_t>(a)] != side[static_cast<size_t>(b)]) network_.Cut(a, b);
      }
    }
  }
  const auto node = [&] { return static_cast<int>(world_.Below(cluster_.nodes.size())); };
  if (happens("one_way", rates_.one_way)) network_.Cut(node(), node());
  if (happens("slow_link", rates_.slow_link)) {
    network_.SlowDown(node(), node(), 100'000 + static_cast<int64_t>(world_.Below(2'000'000)));
  }
  if (happens("flap", rates_.flap)) {
    const int which = node();
    for (int i = 0; i < 5; ++i) {
      world_.Post(i * 200'000, [this, which, i] {
        for (int other = 0; other < endpoints; ++other) {
          if (i % 2 == 0 && !healing_) {
            network_.Cut(which, other);
            network_.Cut(other, which);
          } else {
            network_.Join(which, other);
            network_.Join(other, which);
          }
        }
      });
    }
  }
  if (happens("heal_network", rates_.heal_network)) network_.HealLinks();
  if (happens("proxy_death", rates_.proxy_death)) proxies_[world_.Below(proxies_.size())]->Die();
  for (const auto& proxy : proxies_) {
    if (!proxy->up() && world_.Below(10) == 0) proxy->Start();
  }
}

void Simulation::CrashFault() {
  const auto happens = [&](const char* name, uint64_t rate) {
    if (!world_.Happens(rate)) return false;
    world_.Count(name);
    world_.Trace("fault", name);
    return true;
  };
  SimNode& node = SomeNode();
  if (node.up()) {
    if (happens("kill", rates_.kill)) node.Crash(false);
  }
  if (node.up() && happens("power", rates_.power)) node.Crash(true);
  if (node.up() && happens("power_later", rates_.power_later)) {
    node.disk().Arm(SimDisk::Fault::kPowerOff, world_.Below(40));
  }
  if (node.up() && happens("crash_step", rates_.crash_step)) {
    node.store().CrashAt(static_cast<CrashStep>(1 + world_.Below(kCrashSteps)));
  }
  if (node.up() && happens("stop", rates_.stop)) node.Stop();
  if (node.up() && world_.Below(20) == 0) {
    node.Guard([&] { node.store().Checkpoint(); });
  }
  SimNode& other = SomeNode();
  if (!other.up() && happens("start", rates_.start)) other.Start();
}

void Simulation::DiskFault() {
  const auto happens = [&](const char* name, uint64_t rate) {
    if (!world_.Happens(rate)) return false;
    world_.Count(name);
    world_.Trace("fault", name);
    return true;
  };
  SimNode& node = SomeNode();
  if (happens("disk_full", rates_.disk_full)) {
    node.disk().Arm(SimDisk::Fault::kFull, world_.Below(40));
  }
  if (node.up() && happens("disk_error", rates_.disk_error)) {
    constexpr SimDisk::Fault kErrors[] = {SimDisk::Fault::kWriteError, SimDisk::Fault::kSyncError,
                                          SimDisk::Fault::kReadError};
    node.disk().Arm(kErrors[world_.Below(std::size(kErrors))], world_.Below(30));
  }
  if (happens("slow_disk", rates_.slow_disk)) {
    node.set_sync_us(world_.Below(2) == 0 ? 500 : 300'000);
  }
  for (const auto& each : cluster_.nodes) {
    if (each->disk().full() && world_.Below(15) == 0) each->disk().Free();
    // An operator restarts a node that writes no more.
    if (each->up() && each->store().write_state() == WriteState::kFailed && world_.Below(15) == 0) {
      each->Crash(false);
    }
  }
  if (happens("clock_jump", rates_.clock_jump)) {
    node.JumpClock((static_cast<int64_t>(world_.Below(9)) - 4) * kHour_ms);
    const int64_t drift_ppm = (static_cast<int64_t>(world_.Below(3)) - 1) * 100'000;
    node.set_drift_ppm(drift_ppm);
    if (drift_ppm != 0) world_.Count("clock drift");
  }
}

void Simulation::HistoryFault() {
  const auto happens = [&](const char* name, uint64_t rate) {
    if (!world_.Happens(rate)) return false;
    world_.Count(name);
    world_.Trace("fault", name);
    return true;
  };
  SimNode& node = SomeNode();
  if (happens("snapshot", rates_.snapshot) && !node.disk().empty()) {
    const std::string name = "snapshot" + std::to_string(disks_++);
    vfs_.disk(name).CopyFrom(node.disk());
    snapshots_.push_back(name);
    if (snapshots_.size() > 6) snapshots_.erase(snapshots_.begin());
    snapshot_of_[name] = node.slot();
  }
  const auto snapshot = [&](bool own) -> std::optional<std::string> {
    std::vector<std::string> fit;
    for (const std::string& name : snapshots_) {
      if ((snapshot_of_[name] == node.slot()) == own) fit.push_back(name);
    }
    if (fit.empty()) return std::nullopt;
    return fit[world_.Below(fit.size())];
  };
  if (world_.Happens(rates_.restore)) {
    if (const auto from = snapshot(true)) {
      world_.Count("restore");
      world_.Trace("fault", "restore", *from + " at " + node.name());
      Restore(node, *from);
    }
  }
  if (world_.Happens(rates_.restore_elsewhere)) {
    if (const auto from = snapshot(false)) {
      world_.Count("restore_elsewhere");
      world_.Trace("fault", "restore_elsewhere", *from + " at " + node.name());
      Restore(node, *from);
    }
  }
  if (LacksASealIfRestored(node) && happens("forget_seal", rates_.forget_seal)) ForgetSeal(node);
  if (happens("wipe", rates_.wipe)) {
    if (node.up()) node.Crash(true);
    node.disk().Wipe();
    ledger_.Destroyed(node);
    node.Start();
  }
  if (happens("new_id", rates_.new_id)) {
    if (node.up()) node.Crash(true);
    node.disk().Wipe();
    ledger_.Destroyed(node);
    node.set_id(SomeNode().id());
    node.Start();
  }
  if (cluster_.nodes.size() < kMaxNodes && happens("clone", rates_.clone)) {
    SimNode& twin = AddNode(node.id());
    twin.disk().CopyFrom(node.disk());
    if (ledger_.damaged(node)) ledger_.Damaged(twin);
    twin.Start();
  }
  if (node.up() && happens("fork", rates_.fork)) Fork(node);
  if (node.up() && happens("damage", rates_.damage)) Damage(node);
}

// By chance a backup is hardly ever just older than a seal on which tokens count, so there is one
// of every node from before the latest seals.
void Simulation::CopyDisks() {
  if (healing_ || rates_.restore == 0) return;
  for (const auto& node : cluster_.nodes) {
    if (!node->up()) continue;
    BeforeSeals& before = before_seals_[node->slot()];
    before.disk = "before-seals" + std::to_string(node->slot());
    before.seals = node->store().State()->seals;
    vfs_.disk(before.disk).CopyFrom(node->disk());
  }
}

bool Simulation::LacksASealIfRestored(SimNode& node) const {
  const auto before = before_seals_.find(node.slot());
  return node.up() && before != before_seals_.end() &&
         ledger_.HidesFrom(*before->second.seals, node.store().State()->token);
}

void Simulation::ForgetSeal(SimNode& node) {
  // Half of them cannot learn it anew at once.
  if (world_.Below(2) == 0) CutOff(node);
  Restore(node, before_seals_.at(node.slot()).disk);
}

void Simulation::Restore(SimNode& node, const std::string& snapshot) {
  if (node.up()) node.Crash(true);
  node.disk().CopyFrom(vfs_.disk(snapshot));
  ledger_.Destroyed(node);
  // A snapshot may have been taken of a disk that was spoilt.
  if (ledger_.any_damage()) ledger_.Damaged(node);
  node.Start();
}

// Rewrites an epoch from some record on: other stamps, and chains that fit.
void Simulation::Fork(SimNode& node) {
  node.Guard([&] { node.store().Drain(); });
  if (!node.up() || node.store().write_state() != WriteState::kWritable) return;
  const LogStatePtr state = node.store().State();
  if (state->heads.empty()) return;
  auto it = state->heads.begin();
  std::advance(it, static_cast<std::ptrdiff_t>(world_.Below(state->heads.size())));
  const EpochKey key = it->first;
  const Seq end = it->second.seq;
  const int64_t ref = state->epochs.at(key).ref;
  const Seq from = 1 + world_.Below(end);
  bool rewritten = false;
  node.Guard([&] {
    std::vector<StoredRecord> records;
    node.store().WithReader([&](ReadConnection& reader, const LogStatePtr&) {
      reader.ReadRecords(key, 1, end, [&](StoredRecord&& stored) {
        records.push_back(std::move(stored));
        return true;
      });
    });
    // What was damaged before must not become good by this.
    Hash sound = ChainSeed(SimStore::kCluster, key);
    for (const StoredRecord& stored : records) {
      sound = NextChain(sound, stored.wire.record);
      if (sound != stored.wire.record.chain) return;
    }
    if (records.size() != end) return;
    rewritten = true;
    Database& db = node.store().db();
    db.Execute("BEGIN IMMEDIATE");
    Hash chain =
        from == 1 ? ChainSeed(SimStore::kCluster, key) : records[from - 2].wire.record.chain;
    for (Seq seq = from; seq <= end; ++seq) {
      Record& record = records[seq - 1].wire.record;
      if (seq == from) record.stamp += 1;
      chain = NextChain(chain, record);
      Statement update(db, "UPDATE records SET stamp=?, chain=? WHERE epoch=? AND seq=?");
      update.Bind(1, SqlStamp(record.stamp)).BindBlob(2, chain.view()).Bind(3, ref);
      update.Bind(4, static_cast<int64_t>(seq)).Run();
    }
    // The message's own columns, as if that stamp had always been there.
    const int64_t message = records[from - 1].message_ref;
    Statement place(db,
                    "INSERT OR IGNORE INTO places SELECT r.stamp, m.id, m.ref FROM messages m JOIN "
                    "records r ON r.message=m.ref WHERE m.ref=?");
    place.Bind(1, message).Run();
    Statement least(db,
                    "UPDATE messages SET moved=1, stamp=(SELECT min(stamp) FROM records WHERE "
                    "message=ref) WHERE ref=?");
    least.Bind(1, message).Run();
    Statement epoch(db, "UPDATE epochs SET chain=? WHERE ref=?");
    epoch.BindBlob(1, chain.view()).Bind(2, ref).Run();
    db.Execute("COMMIT");
  });
  if (!rewritten) return;
  ledger_.Rewritten(node, key);
  if (node.up()) node.Crash(false);
  node.Start();
}

void Simulation::Damage(SimNode& node) {
  constexpr const char* kDamages[] = {
      "UPDATE messages SET text=text||'!' WHERE ref=?",
      "UPDATE messages SET sender='eve' WHERE ref=?",
      "UPDATE records SET chain=zeroblob(32) WHERE arrival=?",
      "UPDATE records SET stamp=stamp+1 WHERE arrival=?",
      "DELETE FROM records WHERE arrival=?",
  };
  const size_t which = world_.Below(std::size(kDamages));
  node.Guard([&] {
    node.store().Drain();
    Database& db = node.store().db();
    int64_t rows = 0;
    {
      Statement count(db, which < 2 ? "SELECT coalesce(max(ref), 0) FROM messages"
                                    : "SELECT coalesce(max(arrival), 0) FROM records");
      count.Step();
      rows = count.Int(0);
    }
    if (rows == 0) return;
    Statement damage(db, kDamages[which]);
    damage.Bind(1, static_cast<int64_t>(1 + world_.Below(static_cast<uint64_t>(rows)))).Run();
  });
  ledger_.Damaged(node);
  // Half of them are there before the process is.
  if (node.up() && world_.Below(2) == 0) {
    node.Crash(false);
    node.Start();
  }
}

// Reads all there is, and repairs what it finds, as readers and pullers would sooner or later.
void Simulation::Scrub(SimNode& node) {
  for (int round = 0; round < 50 && node.up(); ++round) {
    Findings findings;
    std::optional<chatchain::Damage> damage;
    node.store().Drain();
    node.store().WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      for (const auto& [key, epoch] : state->epochs) {
        Hash chain = ChainSeed(SimStore::kCluster, key);
        Seq seq = 0;
        bool corrupt = false;
        reader.ReadRecords(key, 1, epoch.head.seq, [&](StoredRecord&& stored) {
          chain = NextChain(chain, stored.wire.record);
          corrupt = stored.wire.record.seq != seq + 1 || chain != stored.wire.record.chain;
          if (!corrupt) ++seq;
          return !corrupt;
        });
        if (seq < epoch.head.seq) findings.corrupt.push_back({key, seq + 1});
      }
      const Filter all;
      HistoryQuery query;
      query.filter = &all;
      query.limit = SIZE_MAX;
      damage =
          reader.ReadHistory(query, *state, CopyNames(node.store().log().name_tail(), all)).damage;
    });
    if (findings.corrupt.empty() && !damage) return;
    // What nobody has spoilt is in order, always.
    if (!ledger_.damaged(node)) {
      world_.Violation("chains", node.name() + " has written what does not fit");
      return;
    }
    node.store().Submit(
        [&](Log& log) {
          log.Heed(findings);
          if (damage) log.RepairMessage(damage->message_ref);
        },
        [](const Result<void, WriteError>&) {});
    node.store().Drain();
  }
}

bool Simulation::RunUntil(const std::function<bool()>& done, int64_t at_most_us) {
  const int64_t end_us = world_.now_us() + at_most_us;
  while (!done()) {
    if (world_.idle() || world_.now_us() > end_us) return false;
    world_.Step();
  }
  return true;
}

// Faults end. In safety everybody comes back; in liveness only the core does.
void Simulation::Heal() {
  healing_ = true;
  for (const auto& client : clients_) client->Rest();
  network_.Calm();
  rates_.proxy_death = 0;
  for (const auto& proxy : proxies_) proxy->Start();
  std::vector<SimNode*> all;
  for (const auto& node : cluster_.nodes) all.push_back(node.get());
  if (options_.mode == Mode::kLiveness) {
    const size_t survivors = world_.Below(3) == 0 ? 1 : 1 + world_.Below(all.size());
    for (size_t i = 0; i < survivors; ++i) {
      std::swap(all[i], all[i + world_.Below(all.size() - i)]);
    }
    all.resize(survivors);
  }
  core_ = all;
  std::set<int> slots;
  for (const auto& node : cluster_.nodes) {
    node->disk().Arm(SimDisk::Fault::kNone, 0);
    node->disk().Free();
    node->set_sync_us(500);
    const bool lives = std::find(core_.begin(), core_.end(), node.get()) != core_.end();
    if (!lives) {
      if (node->up()) node->Crash(true);
      continue;
    }
    slots.insert(node->slot());
    if (node->up()) {
      node->store().CrashAt(CrashStep::kNone);
      if (node->store().write_state() != WriteState::kWritable) node->Crash(false);
    }
    if (!node->Start()) world_.Violation("opens", node->name() + " does not start");
  }
  if (options_.mode == Mode::kLiveness) ledger_.LimitTo(slots);
  for (SimNode* node : core_) {
    if (node->up()) Scrub(*node);
  }
  ledger_.NoteBranches();
  ledger_.Scrubbed();
}

// As an operator would see it: by the digests.
bool Simulation::Converged() {
  const LogStatePtr first = core_.front()->store().State();
  const Hash digest = VectorDigest(first->heads);
  bool converged = true;
  for (SimNode* node : core_) {
    const LogStatePtr state = node->store().State();
    const bool same = VectorDigest(state->heads) == digest;
    if (same != (state->heads == first->heads)) {
      world_.Violation("digests", node->name() +
                                      (same ? " has the same, and" : " has another, and not") +
                                      " another log than " + core_.front()->name());
    }
    converged = converged && same && node->Ready();
  }
  return converged;
}

void Simulation::AwaitConvergence(int max_rounds) {
  const int64_t round_us = cluster_.interval_ms * 1000;
  int quiet = 0;
  for (int round = 0; round < max_rounds; ++round) {
    const int64_t end_us = world_.now_us() + round_us;
    while (!world_.idle() && world_.now_us() < end_us) world_.Step();
    quiet = Converged() ? quiet + 1 : 0;
    if (quiet == 3 || !world_.violations().empty()) return;
  }
  std::string what;
  for (SimNode* node : core_) {
    const LogStatePtr state = node->store().State();
    what += " " + node->name() + ":";
    for (const auto& [key, head] : state->heads) {
      what += " " + ToText(key) + "@" + std::to_string(head.seq);
    }
    for (const EpochKey& key : state->forks) what += " !" + ToText(key);
    what += node->Ready() ? ";" : " (not ready);";
  }
  world_.Violation("convergence", "not after " + std::to_string(max_rounds) + " rounds:" + what);
}

void Simulation::WriteAt(SimNode& node) {
  const ValidMessage message = test::MakeMessage("old-" + std::to_string(world_.steps()));
  ledger_.Attempted(message);
  bool answered = false;
  node.OnWrite({{message, 0}}, 1,
               [&](const WriteAnswer& answer) { answered = answer.items.front().status == 201; });
  if (!RunUntil([&] { return answered; }, 1'000'000)) {
    world_.Violation("liveness", node.name() + " does not take a message");
  }
}

// With a message that nobody else has.
void Simulation::DieWithMore(SimNode& node) {
  CutOff(node);
  WriteAt(node);
  node.Crash(world_.Below(2) == 0);
  network_.HealLinks();
}

void Simulation::CutOff(const SimNode& node) {
  for (const auto& other : cluster_.nodes) {
    network_.Cut(node.slot(), other->slot());
    network_.Cut(other->slot(), node.slot());
  }
}

void Simulation::Prove(SimClient& client) {
  bool proven = false;
  client.Prove([&] { proven = true; });
  if (!RunUntil([&] { return proven; }, 20'000'000)) {
    world_.Violation("liveness", "a client has no answer");
  }
}

void Simulation::Age() {
  network_.Calm();
  const int64_t round_us = cluster_.interval_ms * 1000;
  // On the whole, all have seen an epoch before the next one of its origin but one.
  const uint64_t pause_us = static_cast<uint64_t>(round_us) / 2;
  const uint64_t long_dead = options_.restarts / 20 + 3;  // restarts of others
  SimNode* dead = nullptr;
  uint64_t dead_until = 0;
  size_t turn = 0;
  for (uint64_t i = 0; i < options_.restarts && world_.violations().empty(); ++i, ++turn) {
    SimNode& node = *cluster_.nodes[turn % cluster_.nodes.size()];
    if (dead == nullptr && world_.Below(long_dead) == 0) {
      dead = &node;
      dead_until = i + 2 + world_.Below(2 * long_dead);
      DieWithMore(node);
      world_.Count("long dead");
    }
    if (dead != nullptr && i >= dead_until) {
      dead->Start();
      dead = nullptr;
    }
    if (&node == dead) {
      --i;
      continue;
    }
    switch (world_.Below(3)) {
      case 0: node.Stop(); break;
      case 1: node.Crash(false); break;
      default: node.Crash(true); break;
    }
    node.Start();
    // An epoch is there from its first record on: some starts leave none.
    if (world_.Below(2) == 0) WriteAt(node);
    if (world_.Below(16) == 0) Prove(*clients_[world_.Below(clients_.size())]);
    RunUntil([] { return false; }, static_cast<int64_t>(world_.Below(pause_us)));
  }
  if (dead != nullptr) dead->Start();
  RunUntil([] { return false; }, 3 * round_us);
  network_.set_rates(rates_);
  aged_steps_ = world_.steps();
}

SimResult Simulation::Run() {
  while (world_.steps() < aged_steps_ + options_.steps && !world_.idle() &&
         world_.violations().empty()) {
    world_.Step();
  }
  if (world_.violations().empty()) {
    Heal();
    RunUntil(
        [&] {
          return std::none_of(clients_.begin(), clients_.end(),
                              [](const auto& client) { return client->busy(); });
        },
        10'000'000);
  }
  if (world_.violations().empty()) {
    AwaitConvergence(kMaxRounds);
  }
  if (world_.violations().empty()) {
    int proven = 0;
    for (const auto& client : clients_) client->Prove([&] { ++proven; });
    if (!RunUntil([&] { return proven == static_cast<int>(clients_.size()); }, 20'000'000)) {
      world_.Violation("liveness", "a client has no answer");
    }
    AwaitConvergence(kMaxRounds);
  }
  if (world_.violations().empty()) {
    std::vector<int> slots;
    for (const SimNode* node : core_) slots.push_back(node->slot());
    ledger_.CheckHealed(core_);
    for (const auto& client : clients_) client->FinishStreams(slots);
  }
  SimResult result;
  result.violations = world_.violations();
  result.steps = world_.steps();
  result.messages = ledger_.required().size();
  result.virtual_ms = world_.now_us() / 1000;
  result.counts = world_.counts();
  for (const auto& client : clients_) {
    result.token_bytes = std::max(result.token_bytes, client->token_bytes());
  }
  for (SimNode* node : core_) {
    if (node->up()) result.epochs = std::max(result.epochs, node->store().State()->heads.size());
  }
  for (const auto& [name, disk] : vfs_.disks()) {
    for (const auto& [fault, times] : disk.fired()) result.counts[NameOf(fault)] += times;
  }
  for (SimNode* node : core_) {
    if (node->up()) {
      world_.Trace("digest", node->name(), VectorDigest(node->store().State()->heads).Hex());
    }
  }
  result.hash = world_.hash();
  return result;
}

}  // namespace

SimResult Simulate(const SimOptions& options) {
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::off);  // damage and forks are what it is about
  SimResult result = Simulation(options).Run();
  spdlog::set_level(level);
  return result;
}

}  // namespace chatchain::simulation
