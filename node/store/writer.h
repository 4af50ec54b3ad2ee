// SPDX-License-Identifier: MIT
// The writer thread: takes all that is queued, runs it in one transaction with one fsync, publishes
// the new state, then answers each. Callers block in Execute(); all methods are thread-safe.
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
#include <string>
#include <thread>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"
#include "common/util/result.h"
#include "node/store/log.h"

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

  // Queues work that nobody waits for; dropped where the queue is full or writing has ended.
  void Post(Work work);

  WriteState write_state() const { return write_state_.load(); }
  std::string write_error() const;  // of a state that is not kWritable
  WriterStats stats() const;

 private:
  struct Gate;
  struct Job;

  void Run();
  Result<void, WriteError> Enqueue(std::shared_ptr<Job> job);
  bool Take(std::deque<std::shared_ptr<Job>>* batch);
  static void Answer(const std::vector<std::shared_ptr<Job>>& jobs,
                     const Result<void, WriteError>& outcome);
  void Commit(std::deque<std::shared_ptr<Job>>* batch);
  // Rolls back and decides what it means for the writes to come.
  WriteError HandleFailure(const SqliteError& error);
  void ProbeDisk();
  void Checkpoint();

  Database& db_;
  Log& log_;
  StateBoard& board_;
  const Clock& clock_;
  const Options options_;

  mutable Mutex mutex_;
  CondVar work_arrived_;
  std::deque<std::shared_ptr<Job>> queue_ GUARDED_BY(mutex_);
  std::shared_ptr<Gate> gate_ GUARDED_BY(mutex_);  // of what is queued from now on
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::string write_error_ GUARDED_BY(mutex_);
  WriterStats stats_ GUARDED_BY(mutex_);

  std::atomic<WriteState> write_state_{WriteState::kWritable};
  int wal_pages_ = 0;            // after the last commit; set by SQLite's hook
  int64_t checkpoint_at_bytes_;  // grows while readers hold the WAL
  std::thread thread_;           // last: it uses all of the above
};

}  // namespace chatchain
