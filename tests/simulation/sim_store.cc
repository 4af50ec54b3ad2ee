// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_store.h"

#include <utility>

#include "node/store/schema.h"

namespace chatchain::simulation {

namespace {

// As in production: one batch is at the disk, one waits for it.
constexpr size_t kMaxUnsynced = 2;

const char* NameOf(CrashStep step) {
  switch (step) {
    case CrashStep::kNone: break;
    case CrashStep::kInTransaction: return "in a transaction";
    case CrashStep::kBeforeCommit: return "before a commit";
    case CrashStep::kWritten: return "behind a write";
    case CrashStep::kSynced: return "behind a sync";
    case CrashStep::kPublished: return "before the answers";
    case CrashStep::kCheckpoint: return "behind a checkpoint";
  }
  return "";
}

Problem Unreadable() {
  return Unavailable("this node cannot read its database; ask another node");
}

}  // namespace

SimStore::SimStore(World& world, SimDisk& disk, const std::string& path, const std::string& node_id,
                   Hlc& hlc, Hooks hooks)
    : world_(world), disk_(disk), path_(path), hooks_(std::move(hooks)) {
  auto opened = OpenForWriting(path_, kCluster, 1);
  if (!opened) throw std::runtime_error(opened.error());
  db_ = std::move(*opened);
  // Unless Close() says otherwise, the log stays as a crash would leave it.
  sqlite3_db_config(db_->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  log_ = std::make_unique<Log>(*db_,
                               Log::Options{kCluster,
                                            node_id,
                                            {.flush_entries = 3, .max_messages = 20},
                                            {.max_entries = 4},
                                            {.max_bytes = 20'000}},
                               hlc, world.random());
  wal_ = std::make_unique<WalLog>(*db_);
  state_ = log_->Snapshot();
}

SimStore::~SimStore() = default;

void SimStore::Close() {
  Drain();
  if (write_state_ != WriteState::kWritable) return;
  try {
    log_->Flush();
    sqlite3_db_config(db_->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  } catch (const SqliteError& error) {
    HandleFailure(error);
  }
}

void SimStore::MaybeCrash(CrashStep step) {
  if (crash_at_ == step) {
    crash_at_ = CrashStep::kNone;
    world_.Count(std::string("crash ") + NameOf(step));
    throw Crash{world_.Below(2) == 0};
  }
}

void SimStore::Submit(Work work, Done done) {
  if (write_state_ == WriteState::kFailed) {
    done(Err(WriteError{WriteError::Kind::kFailed, "the disk failed"}));
    return;
  }
  queue_.push_back({std::move(work), std::move(done)});
  ScheduleWrite();
}

void SimStore::ScheduleWrite() {
  if (write_scheduled_ || queue_.empty() || unsynced_.size() >= kMaxUnsynced) return;
  write_scheduled_ = true;
  hooks_.post(static_cast<int64_t>(world_.Below(300)), [this] {
    write_scheduled_ = false;
    if (!queue_.empty() && unsynced_.size() < kMaxUnsynced) Write();
    ScheduleWrite();
  });
}

void SimStore::Write() {
  Written batch;
  while (!queue_.empty()) {
    batch.jobs.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  Result<void, WriteError> outcome;
  if (write_state_ == WriteState::kFailed) {
    outcome = Err(WriteError{WriteError::Kind::kFailed, "the disk failed"});
  } else {
    try {
      log_->Begin();
      for (const Job& job : batch.jobs) {
        job.work(*log_);
        MaybeCrash(CrashStep::kInTransaction);
      }
      MaybeCrash(CrashStep::kBeforeCommit);
      wal_->DeferSync(true);
      batch.changed = log_->Commit();
    } catch (const SqliteError& error) {
      outcome = Err(HandleFailure(error));
    }
    wal_->DeferSync(false);
  }
  if (!outcome) {
    Answer(batch.jobs, outcome);
    return;
  }
  if (batch.changed && write_state_ == WriteState::kDiskFull) {
    write_state_ = WriteState::kWritable;
  }
  batch.state = log_->Snapshot();
  unsynced_.push_back(std::move(batch));
  MaybeCrash(CrashStep::kWritten);
  ScheduleSync();
}

void SimStore::ScheduleSync() {
  if (sync_scheduled_ || unsynced_.empty()) return;
  sync_scheduled_ = true;
  hooks_.post(1 + static_cast<int64_t>(world_.Below(static_cast<uint64_t>(sync_us_))), [this] {
    sync_scheduled_ = false;
    if (!unsynced_.empty()) Sync();
    ScheduleSync();
    ScheduleWrite();
  });
}

void SimStore::Sync() {
  Written batch = std::move(unsynced_.front());
  unsynced_.pop_front();
  Result<void, WriteError> outcome;
  if (sync_failed_) {
    outcome = Err(WriteError{WriteError::Kind::kFailed, "the disk failed"});
  } else if (batch.changed) {
    try {
      wal_->Sync();
    } catch (const SqliteError& error) {
      sync_failed_ = true;
      outcome = Err(Fail(error));
    }
  }
  MaybeCrash(CrashStep::kSynced);
  if (outcome) {
    state_ = std::move(batch.state);
    hooks_.published();
    MaybeCrash(CrashStep::kPublished);
  }
  Answer(batch.jobs, outcome);
}

void SimStore::Drain() {
  while (!queue_.empty() || !unsynced_.empty()) {
    if (!queue_.empty() && unsynced_.size() < kMaxUnsynced) {
      Write();
    } else {
      Sync();
    }
  }
}

void SimStore::Answer(std::vector<Job>& jobs, const Result<void, WriteError>& outcome) {
  for (Job& job : jobs) job.done(outcome);
}

WriteError SimStore::Fail(const SqliteError&) {
  if (disk_.powered_off()) throw Crash{true};
  write_state_ = WriteState::kFailed;
  return {WriteError::Kind::kFailed, "the disk failed"};
}

WriteError SimStore::HandleFailure(const SqliteError& error) {
  if (disk_.powered_off()) throw Crash{true};
  try {
    log_->Rollback();
  } catch (const SqliteError&) {
    return Fail(error);
  }
  if (error.code() == SQLITE_BUSY || error.code() == SQLITE_NOMEM) {
    return {WriteError::Kind::kOverloaded, "the database is busy"};
  }
  if (!error.disk_full()) return Fail(error);
  if (write_state_ != WriteState::kFailed) write_state_ = WriteState::kDiskFull;
  return {WriteError::Kind::kDiskFull, "the disk is full"};
}

void SimStore::Checkpoint() {
  if (write_state_ == WriteState::kFailed) return;
  const int mode = world_.Below(2) == 0 ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
  const int code = sqlite3_wal_checkpoint_v2(db_->handle(), nullptr, mode, nullptr, nullptr);
  if (disk_.powered_off()) throw Crash{true};
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT) {
    Fail(SqliteError(code, "checkpoint"));
  }
  MaybeCrash(CrashStep::kCheckpoint);
}

Result<std::vector<Appended>, WriteError> SimStore::Append(
    std::shared_ptr<const std::vector<AppendItem>> items, SteadyTime) {
  std::vector<Appended> results;
  Result<void, WriteError> outcome;
  Submit(
      [&](Log& log) {
        results.clear();
        for (const AppendItem& item : *items) results.push_back(log.Append(item));
      },
      [&](Result<void, WriteError> committed) { outcome = std::move(committed); });
  Drain();
  if (!outcome) return Err(std::move(outcome.error()));
  return results;
}

void SimStore::AppendLater(AppendItem item, SteadyTime,
                           std::function<void(Result<Appended, WriteError>)> done) {
  const auto result = std::make_shared<Appended>();
  Submit([result, item = std::move(item)](Log& log) { *result = log.Append(item); },
         [result, done = std::move(done)](Result<void, WriteError> committed) {
           if (committed) {
             done(*result);
           } else {
             done(Err(std::move(committed.error())));
           }
         });
}

int64_t SimStore::RefOf(const MessageId& id) {
  Statement select(*db_, "SELECT ref FROM messages WHERE id=?");
  select.BindBlob(1, id.view());
  return select.Step() ? select.Int(0) : 0;
}

Problem SimStore::Damaged(const Damage& damage) {
  Submit([damage](Log& log) { RepairDamage(log, damage); }, [](const Result<void, WriteError>&) {});
  return Unavailable("a stored message is damaged here; ask another node");
}

// What was read may depend on a commit that is not on disk yet: `moved` waits for it.
Try<HistoryPage> SimStore::ReadHistory(const HistoryQuery& query, const LogState& state) {
  try {
    const NameCopies names = CopyNames(log_->name_tail(), *query.filter);
    ReadPage read = WithReader([&](ReadConnection& reader, const LogStatePtr&) {
      return reader.ReadHistory(query, state, names);
    });
    if (read.damage) return Err(Damaged(*read.damage));
    if (read.moved) Drain();
    return std::move(read.page);
  } catch (const SqliteError&) {
    return Err(Unreadable());
  }
}

Try<FeedPage> SimStore::ReadFeed(const FeedQuery& query, const LogState& state) {
  try {
    ReadFeedPage read = WithReader(
        [&](ReadConnection& reader, const LogStatePtr&) { return reader.ReadFeed(query, state); });
    if (read.damage) return Err(Damaged(*read.damage));
    if (read.moved) Drain();
    return std::move(read.page);
  } catch (const SqliteError&) {
    return Err(Unreadable());
  }
}

Try<std::optional<ShownMessage>> SimStore::Find(const MessageId& id) {
  try {
    std::optional<Damage> damage;
    bool moved = false;
    auto found = WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      return reader.Find(id, *state, &damage, &moved);
    });
    if (damage) return Err(Damaged(*damage));
    if (moved) Drain();
    return found;
  } catch (const SqliteError&) {
    return Err(Unreadable());
  }
}

Try<std::vector<std::pair<EpochKey, Seq>>> SimStore::PositionsOf(int64_t message_ref) {
  try {
    return WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      auto positions = reader.PositionsOf(message_ref);
      std::erase_if(positions, [&](const auto& position) {
        return !Covers(state->heads, position.first, position.second);
      });
      return positions;
    });
  } catch (const SqliteError&) {
    return Err(Unreadable());
  }
}

}  // namespace chatchain::simulation
