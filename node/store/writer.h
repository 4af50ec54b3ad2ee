// SPDX-License-Identifier: MIT
// Group commit in two steps, on two threads. The writer runs all that is queued in one transaction
// and writes it to the log; the syncer waits until the log is on disk, publishes the new state,
// then answers each caller. While the syncer waits for the disk, the writer is at the next
// transaction, which takes what comes in until the syncer is free for it. So the disk decides how
// many writes share a commit, and the CPU never waits for it.
//
// Nobody is shown a commit before it is on disk: readers go by the published state.
//
// A third thread copies the log into the database, so that the writer has little left to copy when
// it begins the log anew.
//
// Callers block in Execute(); all methods are thread-safe.
//
// After a failed fsync it stops writing for good: what the kernel dropped cannot be written again.
// A full disk is no such failure: the transaction is rolled back, and writing resumes when there is
// space. Nor is a database that another program holds, or a lack of memory: these are answered and
// forgotten.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"
#include "common/util/result.h"
#include "node/store/log.h"
#include "node/store/wal_vfs.h"

namespace chatchain {

// The newest LogState, and the means to wait for the next. Thread-safe.
class StateBoard {
 public:
  LogStatePtr Current() const;
  void Publish(LogStatePtr state);
  // Waits until `ready` holds for the current state, the deadline passes or Interrupt() is called.
  // Gives the state it saw last. `ready` is called without a lock held.
  LogStatePtr WaitUntil(const std::function<bool(const LogState&)>& ready,
                        SteadyTime deadline) const;
  // Ends all waits, present and future.
  void Interrupt();

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  LogStatePtr state_ GUARDED_BY(mutex_);
  bool interrupted_ GUARDED_BY(mutex_) = false;
};

struct WriterStats {
  uint64_t commits = 0;
  uint64_t jobs = 0;
  uint64_t failed_commits = 0;
  uint64_t repaired_records = 0;
  int64_t wal_bytes = 0;
  size_t queued = 0;
};

class Writer {
 public:
  struct Options {
    size_t max_queue = 10'000;         // jobs
    size_t max_batch_weight = 20'000;  // records in one transaction, roughly
    int64_t checkpoint_bytes = 16 << 20;
  };
  // Runs inside the transaction, on the writer thread.
  using Work = std::function<void(Log&)>;

  Writer(Database& db, Log& log, StateBoard& board, const Clock& clock, Options options);
  ~Writer();  // finishes what is queued

  // Blocks until `work` is committed. `work` must own what it touches (shared_ptr): after kUnknown
  // it may still run. `weight`: how many records it may write.
  Result<void, WriteError> Execute(Work work, SteadyTime deadline, size_t weight = 1);

  // The same without a thread that waits: `done` is called exactly once, on any thread, and must
  // not block. Late by up to kWatchInterval where the deadline passes.
  using Done = std::function<void(Result<void, WriteError>)>;
  void Submit(Work work, SteadyTime deadline, Done done, size_t weight = 1);

  // Queues work that nobody waits for; dropped where the queue is full or writing has ended.
  void Post(Work work);

  // Waits until all that was written to the log so far is on disk. False: not by `deadline`. True
  // at once after a failure: nothing more will come.
  bool AwaitDurable(SteadyTime deadline) const;

  WriteState write_state() const { return write_state_.load(); }
  std::string write_error() const;  // of a state that is not kWritable
  WriterStats stats() const;

  static constexpr std::chrono::milliseconds kWatchInterval{50};

 private:
  struct Gate;
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  // A transaction that is written to the log, and who waits for it.
  struct Written {
    std::vector<JobPtr> jobs;
    LogStatePtr state;
    bool changed = false;  // there is something to sync
  };
  enum class Next { kWork, kProbe, kStop };

  void Run();
  void RunSyncer();
  void RunCheckpointer();
  void RunWatchdog();
  Result<void, WriteError> Enqueue(const JobPtr& job);
  Next AwaitWork();
  bool Take(bool first, size_t* weight, std::vector<JobPtr>* jobs);
  void Commit();
  void CountWritten(int64_t batches);
  void Finish(Written&& batch);
  static void Answer(const std::vector<JobPtr>& jobs, const Result<void, WriteError>& outcome);
  // Rolls back and decides what it means for the writes to come. On the writer thread.
  WriteError HandleFailure(const SqliteError& error);
  void SetState(WriteState state);
  // No more writes, ever.
  WriteError Fail(const SqliteError& error);
  void ProbeDisk();
  void RestartWal();

  Database& db_;
  WalLog wal_;
  Log& log_;
  StateBoard& board_;
  const Clock& clock_;
  const Options options_;

  mutable Mutex mutex_;
  CondVar work_arrived_;
  CondVar sync_arrived_;
  CondVar checkpoint_arrived_;
  mutable CondVar finished_;
  CondVar watch_arrived_;
  std::deque<JobPtr> queue_ GUARDED_BY(mutex_);
  std::shared_ptr<Gate> gate_ GUARDED_BY(mutex_);  // of what is queued from now on
  std::deque<JobPtr> watched_
      GUARDED_BY(mutex_);  // submitted; those that are done go from the front
  std::optional<Written> to_sync_ GUARDED_BY(mutex_);
  uint64_t written_ GUARDED_BY(mutex_) = 0;  // batches
  uint64_t durable_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool all_written_ GUARDED_BY(mutex_) = false;  // the writer has ended
  enum class Checkpoint {
    kNone,
    kWanted,
    kRunning,
    kCopied
  } checkpoint_ GUARDED_BY(mutex_) = Checkpoint::kNone;
  std::string write_error_ GUARDED_BY(mutex_);
  WriterStats stats_ GUARDED_BY(mutex_);

  bool sync_failed_ = false;  // of the syncer
  std::atomic<WriteState> write_state_{WriteState::kWritable};
  int wal_pages_ = 0;            // after the last commit; set by SQLite's hook
  int64_t checkpoint_at_bytes_;  // grows while readers hold the WAL
  // Last: they use all of the above.
  std::thread writer_;
  std::thread syncer_;
  std::thread checkpointer_;
  std::thread watchdog_;
};

}  // namespace chatchain
