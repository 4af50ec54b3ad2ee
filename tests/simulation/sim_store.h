// SPDX-License-Identifier: MIT
// The store of one simulated process: the production's log, readers and schema on a simulated disk.
// It stands in for SqliteStorage and its threads (node/store/writer.h): the same calls in the same
// order, one event at a time. Commits are written without a sync; a later event syncs them,
// publishes the state and answers; meanwhile the next transaction may be written.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/protocol/hlc.h"
#include "node/service/storage.h"
#include "node/store/log.h"
#include "node/store/reader.h"
#include "node/store/wal_vfs.h"
#include "tests/simulation/sim_api.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/world.h"

namespace chatchain::simulation {

// Thrown where the process ends in the middle of something.
struct Crash {
  bool power = false;
};

// Where a process may be made to end.
enum class CrashStep {
  kNone,
  kInTransaction,  // some of its work is done
  kBeforeCommit,
  kWritten,     // to the log, not synced
  kSynced,      // not published
  kPublished,   // nobody has been answered
  kCheckpoint,  // after a checkpoint
};
inline constexpr uint64_t kCrashSteps = 6;

class SimStore final : public Storage {
 public:
  static constexpr const char* kCluster = kSimulatedCluster;

  using Work = std::function<void(Log&)>;
  using Done = std::function<void(Result<void, WriteError>)>;
  struct Hooks {
    // Runs the function as an event of the process, after so many microseconds.
    std::function<void(int64_t, std::function<void()>)> post;
    std::function<void()> published;
  };

  // Throws SqliteError, or std::runtime_error with the operator's line.
  SimStore(World& world, SimDisk& disk, const std::string& path, const std::string& node_id,
           Hlc& hlc, Hooks hooks);
  ~SimStore() override;

  // A clean end: nothing is left to do for the next start.
  void Close();

  void Submit(Work work, Done done);
  void Checkpoint();
  void CrashAt(CrashStep step) { crash_at_ = step; }
  // How long a sync takes.
  void set_sync_us(int64_t sync_us) { sync_us_ = sync_us; }

  LogStatePtr State() const override { return state_; }
  WriteState write_state() const override { return write_state_; }
  Result<std::vector<Appended>, WriteError> Append(
      std::shared_ptr<const std::vector<AppendItem>> items, SteadyTime deadline) override;
  void AppendLater(AppendItem item, SteadyTime deadline,
                   std::function<void(Result<Appended, WriteError>)> done) override;
  Try<HistoryPage> ReadHistory(const HistoryQuery& query, const LogState& state) override;
  Try<FeedPage> ReadFeed(const FeedQuery& query, const LogState& state) override;
  Try<std::optional<ShownMessage>> Find(const MessageId& id) override;
  Try<std::vector<std::pair<EpochKey, Seq>>> PositionsOf(int64_t message_ref) override;

  // With a snapshot of the published state. Throws SqliteError.
  template <typename Read>
  auto WithReader(Read read) {
    if (!reader_) reader_ = std::make_unique<ReadConnection>(path_, 1);
    struct End {
      std::unique_ptr<ReadConnection>& reader;
      ~End() {
        try {
          reader->EndSnapshot();
        } catch (const SqliteError&) {
          reader.reset();
        }
      }
    };
    reader_->BeginSnapshot();
    End end{reader_};
    reader_->UseState(state_);
    return read(*reader_, state_);
  }

  Log& log() { return *log_; }
  int64_t RefOf(const MessageId& id);  // 0: not here
  // For whoever spoils what is stored. REQUIRES: nothing is unsynced; see Drain().
  Database& db() { return *db_; }
  // Writes and syncs all that waits.
  void Drain();

 private:
  struct Job {
    Work work;
    Done done;
  };
  struct Written {
    std::vector<Job> jobs;
    LogStatePtr state;
    bool changed = false;
  };

  void MaybeCrash(CrashStep step);
  void ScheduleWrite();
  void Write();
  void ScheduleSync();
  void Sync();
  static void Answer(std::vector<Job>& jobs, const Result<void, WriteError>& outcome);
  WriteError HandleFailure(const SqliteError& error);
  WriteError Fail(const SqliteError& error);
  Problem Damaged(const Damage& damage);

  World& world_;
  SimDisk& disk_;
  const std::string path_;
  const Hooks hooks_;
  std::unique_ptr<Database> db_;
  std::unique_ptr<WalLog> wal_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<ReadConnection> reader_;
  LogStatePtr state_;
  WriteState write_state_ = WriteState::kWritable;
  bool sync_failed_ = false;
  std::deque<Job> queue_;
  std::deque<Written> unsynced_;
  bool write_scheduled_ = false;
  bool sync_scheduled_ = false;
  int64_t sync_us_ = 500;
  CrashStep crash_at_ = CrashStep::kNone;
};

}  // namespace chatchain::simulation
