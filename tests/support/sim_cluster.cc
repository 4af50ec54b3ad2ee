// SPDX-License-Identifier: MIT
#include "tests/support/sim_cluster.h"

#include <algorithm>

#include "common/util/encoding.h"
#include "node/sync/serve.h"
#include "node/sync/verify.h"

namespace chatchain::test {

namespace {

constexpr int kMaxHealRounds = 300;

std::string Describe(const EpochKey& key, Seq seq) {
  return ToText(key) + " at " + std::to_string(seq);
}

}  // namespace

SimCluster::SimCluster(uint64_t seed, SimRates rates) : random_(seed), rates_(rates) {
  const size_t count = 3 + random_.Below(3);
  for (size_t i = 0; i < count; ++i) {
    auto node = std::make_unique<Node>();
    node->id = std::to_string(i);
    node->path = dir_.File("disk" + std::to_string(files_++));
    // Clocks hours apart.
    node->clock.wall_ms += static_cast<int64_t>(random_.Below(8)) * 1'800'000;
    Start(*node);
    nodes_.push_back(std::move(node));
  }
}

void SimCluster::Start(Node& node) {
  if (node.process) return;
  node.instance = HexU64(random_.Next());
  node.process = std::make_unique<LogProcess>(node.path, node.id, node.clock, random_);
  // A process that ends leaves its WAL as a crash would; and ends faster.
  sqlite3_db_config(node.process->db->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

void SimCluster::Stop(Node& node) {
  node.writing.clear();
  node.process.reset();
}

void SimCluster::Restart(Node& node) {
  Stop(node);
  Start(node);
}

void SimCluster::RemoveDisk(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
}

void SimCluster::CopyDisk(const std::string& from, const std::string& to) {
  RemoveDisk(to);
  for (const char* suffix : {"", "-wal"}) {
    if (std::filesystem::exists(from + suffix))
      std::filesystem::copy_file(from + suffix, to + suffix);
  }
}

SimCluster::Node* SimCluster::RandomUp() {
  Node& node = *nodes_[random_.Below(nodes_.size())];
  return node.process ? &node : nullptr;
}

void SimCluster::Run(int steps) {
  for (int i = 0; i < steps; ++i) Step();
}

void SimCluster::Step() {
  for (const auto& node : nodes_) node->clock.wall_ms += static_cast<int64_t>(random_.Below(20));
  uint64_t roll = random_.Below(1000);
  const auto happens = [&](const char* name, uint64_t rate) {
    if (roll >= rate) {
      roll -= rate;
      return false;
    }
    ++counts_[name];
    return true;
  };
  Node& node = *nodes_[random_.Below(nodes_.size())];

  if (happens("pull", rates_.pull)) {
    // Answers may be late, and overtake each other.
    if (!in_flight_.empty() && random_.OneIn(3)) {
      const size_t which = random_.Below(in_flight_.size());
      const InFlight arrived = in_flight_[which];
      in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(which));
      Deliver(arrived);
      return;
    }
    Node* server = RandomUp();
    if (node.process && server != nullptr && server != &node) {
      Pull(node, *server, 1 + random_.Below(5));
      const bool late = random_.OneIn(4) && in_flight_.size() < 10;
      if (!late) {
        const InFlight arrived = in_flight_.back();
        in_flight_.pop_back();
        Deliver(arrived);
      }
    }
  } else if (happens("crash", rates_.crash)) {
    if (!node.process) return;
    if (random_.OneIn(2)) {
      node.process->log->Begin();
      node.process->log->Append({MakeMessage("never committed " + std::to_string(keys_++)), {}});
    }
    Restart(node);
  } else if (happens("stop", rates_.stop)) {
    node.process ? Stop(node) : Start(node);
  } else if (happens("snapshot", rates_.snapshot)) {
    node.snapshot =
        dir_.File("snapshot of " + std::filesystem::path(node.path).filename().string());
    CopyDisk(node.path, node.snapshot);
  } else if (happens("restore", rates_.restore)) {
    if (node.snapshot.empty()) return;
    Stop(node);
    CopyDisk(node.snapshot, node.path);
    Start(node);
    ExcuseLost();
  } else if (happens("wipe", rates_.wipe)) {
    Stop(node);
    RemoveDisk(node.path);
    Start(node);
    ExcuseLost();
  } else if (happens("clone", rates_.clone)) {
    if (nodes_.size() >= 6) return;
    auto twin = std::make_unique<Node>();
    twin->id = node.id;
    twin->path = dir_.File("disk" + std::to_string(files_++));
    twin->clock = node.clock;
    CopyDisk(node.path, twin->path);
    Start(*twin);
    nodes_.push_back(std::move(twin));
  } else if (happens("fork", rates_.fork)) {
    Fork(node);
  } else if (happens("damage", rates_.damage)) {
    Damage(node);
  } else {
    Send();
  }
}

void SimCluster::Send() {
  Node* node = RandomUp();
  if (node == nullptr) return;
  const uint64_t roll = random_.Below(1000);
  std::optional<ValidMessage> message;
  std::optional<Stamp> stamp;
  if (!sent_.empty() && roll < rates_.repeat) {
    message = sent_[random_.Below(sent_.size())];
  } else if (!sent_.empty() && roll < rates_.repeat + rates_.reuse) {
    const Message& earlier = sent_[random_.Below(sent_.size())].message();
    message = MakeMessage(earlier.key, "another text", earlier.sender);
  } else {
    const int key = keys_++;
    message = MakeMessage("key" + std::to_string(key), "text " + std::to_string(key),
                          key % 2 == 0 ? "ann" : "carl");
  }
  if (random_.OneIn(2)) {
    stamp = StampFromMs(node->clock.wall_ms - static_cast<int64_t>(random_.Below(100'000)));
  }
  const Appended appended = node->process->Append(*message, stamp);
  if (appended.kind == Appended::Kind::kKeyReused) {
    ++counts_["key reused"];
    return;
  }
  ++counts_[appended.kind == Appended::Kind::kNew ? "sent" : "known"];
  if (appended.kind == Appended::Kind::kNew) {
    const LogStatePtr state = node->process->State();
    const Position head = state->heads.at(*state->live);
    if (!issued_.emplace(std::make_pair(*state->live, head.seq), head.chain).second) {
      problems_.push_back("issued twice: " + Describe(*state->live, head.seq));
    }
  }
  if (allowed_.insert(message->id()).second) sent_.push_back(*message);
  required_.insert(message->id());
}

void SimCluster::Pull(Node& puller, Node& server, size_t limit) {
  const LogStatePtr have = puller.process->State();
  SyncRequest asked;
  asked.cluster = LogProcess::kCluster;
  asked.node = puller.id;
  asked.have = have->heads;
  asked.limit = limit;
  asked.relay = !random_.OneIn(4);
  asked.instance = puller.instance;
  if (have->live) asked.epoch = have->live->epoch;
  asked.forks = have->forks;
  asked.ahead = EndsOf(puller.writing);
  const auto request = DecodeSyncRequest(EncodeSyncRequest(asked));
  if (!request) {
    problems_.push_back("a request cannot be read: " + request.error().detail);
    return;
  }
  Served served = server.process->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    return ServeSync(*request, {*state, reader, LogProcess::kCluster, server.id, server.instance});
  });
  if (!served.findings.empty()) {
    server.process->Do([&](Log& log) { log.Heed(served.findings); });
  }
  const auto index = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const auto& node) { return node.get() == &puller; });
  in_flight_.push_back({static_cast<size_t>(index - nodes_.begin()), puller.instance,
                        EncodeSyncAnswer(served.answer, served.records_json)});
}

void SimCluster::Deliver(const InFlight& arrived) {
  Node& puller = *nodes_[arrived.puller];
  if (!puller.process || puller.instance != arrived.instance) return;
  auto answer = DecodeSyncAnswer(arrived.answer_json);
  if (!answer) {
    problems_.push_back("an answer cannot be read: " + answer.error());
    return;
  }
  Verdict verdict =
      puller.process->WithReader([&](ReadConnection& reader, const LogStatePtr& stored) {
        const LogState state = StateAfter(*stored, EndsOf(puller.writing));
        return VerifyAnswer(std::move(*answer),
                            {state, LogProcess::kCluster, puller.id, puller.instance}, reader);
      });
  counts_["refused"] += static_cast<int>(verdict.refused.size());
  const bool ahead = !puller.writing.empty();
  FinishWriting(puller);
  if (ahead && !verdict.findings.empty()) return;  // looked for again
  if (verdict.findings.empty() && random_.OneIn(2)) {
    puller.writing = std::move(verdict.runs);
    counts_["ahead"] += puller.writing.empty() ? 0 : 1;
    return;
  }
  puller.process->Do([&](Log& log) {
    log.Heed(verdict.findings);
    for (const VerifiedRun& run : verdict.runs) log.Apply(run);
  });
}

// The page that was being written is, or fails.
void SimCluster::FinishWriting(Node& node) {
  const std::vector<VerifiedRun> runs = std::exchange(node.writing, {});
  if (runs.empty() || random_.OneIn(8)) return;
  node.process->Do([&](Log& log) {
    for (const VerifiedRun& run : runs) log.Apply(run);
  });
}

// Rewrites an epoch from some record on: other stamps, and chains that fit.
void SimCluster::Fork(Node& node) {
  if (!node.process) return;
  const LogStatePtr state = node.process->State();
  if (state->heads.empty()) return;
  auto it = state->heads.begin();
  std::advance(it, random_.Below(state->heads.size()));
  const EpochKey key = it->first;
  const int64_t ref = state->epochs.at(key).ref;
  const Seq from = 1 + random_.Below(it->second.seq);

  std::vector<StoredRecord> records;
  node.process->WithReader([&](ReadConnection& reader, const LogStatePtr&) {
    reader.ReadRecords(key, 1, it->second.seq, [&](StoredRecord&& stored) {
      records.push_back(std::move(stored));
      return true;
    });
  });
  // What was damaged before must not become good by this.
  Hash sound = ChainSeed(LogProcess::kCluster, key);
  for (const StoredRecord& stored : records) {
    sound = NextChain(sound, stored.wire.record);
    if (sound != stored.wire.record.chain) return;
  }
  if (records.size() != it->second.seq) return;
  Database& db = *node.process->db;
  Hash chain =
      from == 1 ? ChainSeed(LogProcess::kCluster, key) : records[from - 2].wire.record.chain;
  for (Seq seq = from; seq <= records.size(); ++seq) {
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
  rewritten_.insert(key);
  Restart(node);
}

void SimCluster::Damage(Node& node) {
  if (!node.process) return;
  constexpr const char* kDamages[] = {
      "UPDATE messages SET text=text||'!' WHERE ref=?",
      "UPDATE messages SET sender='eve' WHERE ref=?",
      "UPDATE records SET chain=zeroblob(32) WHERE arrival=?",
      "UPDATE records SET stamp=stamp+1 WHERE arrival=?",
      "DELETE FROM records WHERE arrival=?",
  };
  const size_t which = random_.Below(std::size(kDamages));
  Statement damage(*node.process->db, kDamages[which]);
  const int64_t rows = node.process->Count(which < 2 ? "SELECT max(ref) FROM messages"
                                                     : "SELECT max(arrival) FROM records");
  if (rows == 0) return;
  damage.Bind(1, static_cast<int64_t>(1 + random_.Below(static_cast<uint64_t>(rows)))).Run();
  // Half of them are there before the process is.
  if (random_.OneIn(2)) Restart(node);
  ExcuseLost();
}

bool SimCluster::Held(const MessageId& id) {
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
    std::unique_ptr<Database> opened;
    if (!node->process) opened = std::make_unique<Database>(node->path, SQLITE_OPEN_READWRITE);
    Statement select(
        node->process ? *node->process->db : *opened,
        "SELECT sender, recipient, room, text, timestamp, key FROM messages WHERE id=?");
    select.BindBlob(1, id.view());
    if (!select.Step()) return false;
    const auto valid = Validate(MessageFromRow(select, 0));
    return valid && valid->id() == id;
  });
}

void SimCluster::ExcuseLost() {
  std::erase_if(required_, [&](const MessageId& id) { return !Held(id); });
}

// Reads all there is, and repairs what it finds, as readers and pullers would sooner or later.
void SimCluster::Scrub(Node& node) {
  while (true) {
    Findings findings;
    std::optional<chatchain::Damage> damage;
    node.process->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      for (const auto& [key, epoch] : state->epochs) {
        Hash chain = ChainSeed(LogProcess::kCluster, key);
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
          reader.ReadHistory(query, *state, CopyNames(node.process->log->name_tail(), all)).damage;
    });
    if (findings.corrupt.empty() && !damage) return;
    node.process->Do([&](Log& log) {
      log.Heed(findings);
      if (damage) log.RepairMessage(damage->message_ref);
    });
  }
}

void SimCluster::Heal() {
  in_flight_.clear();
  for (const auto& node : nodes_) {
    Start(*node);
    Scrub(*node);
  }
  for (int round = 0; round < kMaxHealRounds; ++round) {
    std::vector<LogStatePtr> before;
    for (const auto& node : nodes_) before.push_back(node->process->State());
    for (const auto& puller : nodes_) {
      for (const auto& server : nodes_) {
        if (puller == server) continue;
        Pull(*puller, *server, 1 + random_.Below(50));
        if (in_flight_.empty()) continue;
        Deliver(in_flight_.back());
        in_flight_.clear();
      }
    }
    bool quiet = true;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const LogStatePtr now = nodes_[i]->process->State();
      quiet = quiet && now->heads == before[i]->heads && now->heads == before[0]->heads &&
              now->forks == before[i]->forks;
    }
    if (quiet && round > 2) return;
  }
}

std::vector<MessageId> SimCluster::Walk(Node& node, bool descending, size_t limit,
                                        std::vector<std::string>* problems) {
  std::vector<MessageId> ids;
  node.process->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    const Filter all;
    const TokenVector covers = ToTokenVector(state->heads);
    HistoryQuery query;
    query.filter = &all;
    query.limit = limit;
    query.descending = descending;
    while (true) {
      const ReadPage read =
          reader.ReadHistory(query, *state, CopyNames(node.process->log->name_tail(), all));
      if (read.damage) {
        problems->push_back("node " + node.id + ": damaged after healing");
        return;
      }
      for (const HistoryItem& item : read.page.items) ids.push_back(item.shown.id);
      if (!read.page.more) return;
      query.after = read.page.items.back().place;
      query.covers = &covers;
    }
  });
  return ids;
}

void SimCluster::CheckNode(Node& node, const std::vector<MessageId>& expected_order,
                           std::vector<std::string>* problems) {
  const std::string name = "node " + node.id + " (" + node.instance + ")";
  const auto add = [&](const std::string& what) { problems->push_back(name + ": " + what); };
  const std::vector<MessageId> walked = Walk(node, false, SIZE_MAX, problems);
  const std::set<MessageId> shown(walked.begin(), walked.end());
  if (shown.size() != walked.size()) add("a message is shown twice");
  for (const MessageId& id : required_) {
    if (shown.count(id) == 0) add("lost " + id.Text());
  }
  for (const MessageId& id : shown) {
    if (allowed_.count(id) == 0) add("never acknowledged: " + id.Text());
  }
  if (walked != expected_order) add("another order than the first node's");
  if (Walk(node, false, 3, problems) != walked) add("pages differ from the whole");
  std::vector<MessageId> backwards = Walk(node, true, 3, problems);
  std::reverse(backwards.begin(), backwards.end());
  if (backwards != walked) add("backwards differs from forwards");
  if (node.process->State()->messages != static_cast<int64_t>(walked.size()))
    add("counted wrongly");

  node.process->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    for (const auto& [key, epoch] : state->epochs) {
      Hash chain = ChainSeed(LogProcess::kCluster, key);
      Seq seq = 0;
      reader.ReadRecords(key, 1, INT64_MAX, [&, &key = key](StoredRecord&& stored) {
        const Record& record = stored.wire.record;
        chain = NextChain(chain, record);
        if (record.seq != ++seq || record.chain != chain) {
          add("the chain breaks: " + Describe(key, seq));
          return false;
        }
        return true;
      });
      if (epoch.head != Position{seq, chain}) add("the head is wrong: " + ToText(key));
      if (epoch.frozen || rewritten_.count(key) > 0) continue;
      for (Seq at = 1; at <= seq; ++at) {
        const auto issued = issued_.find({key, at});
        if (issued != issued_.end() && reader.ChainAt(key, at) != issued->second) {
          add("not what was issued: " + Describe(key, at));
        }
      }
    }
  });
}

std::vector<std::string> SimCluster::Problems() {
  std::vector<std::string> problems = problems_;
  const Hash digest = VectorDigest(nodes_[0]->process->State()->heads);
  const std::vector<MessageId> order = Walk(*nodes_[0], false, SIZE_MAX, &problems);
  for (const auto& node : nodes_) {
    if (VectorDigest(node->process->State()->heads) != digest) {
      problems.push_back("node " + node->id + ": another digest");
    }
    CheckNode(*node, order, &problems);
  }
  return problems;
}

}  // namespace chatchain::test
