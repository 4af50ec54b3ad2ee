// SPDX-License-Identifier: MIT
#include "node/store/writer.h"

#include <pthread.h>

#include <utility>
#include <vector>

#include "common/util/log.h"

namespace chatchain {

LogStatePtr StateBoard::Current() const {
  MutexLock lock(mutex_);
  return state_;
}

void StateBoard::Publish(LogStatePtr state) {
  {
    MutexLock lock(mutex_);
    state_ = std::move(state);
  }
  changed_.NotifyAll();
}

LogStatePtr StateBoard::WaitUntil(const std::function<bool(const LogState&)>& ready,
                                  SteadyTime deadline) const {
  LogStatePtr seen = Current();
  while (!ready(*seen)) {
    MutexLock lock(mutex_);
    while (state_ == seen) {
      if (interrupted_ || !changed_.WaitUntil(mutex_, deadline)) return state_;
    }
    seen = state_;
  }
  return seen;
}

void StateBoard::Interrupt() {
  {
    MutexLock lock(mutex_);
    interrupted_ = true;
  }
  changed_.NotifyAll();
}

// Where callers wait whose writes were queued between two commits. The next commit takes them all,
// so one system call wakes them all; one for each would cost the writer more than storing a message
// does.
struct Writer::Gate {
  Mutex mutex;
  CondVar changed;
};

struct Writer::Job {
  Work work;
  size_t weight = 1;
  std::shared_ptr<Gate> gate;  // set when it is queued

  enum class Phase { kQueued, kRunning, kDone, kGivenUp };
  Phase phase GUARDED_BY(gate->mutex) = Phase::kQueued;
  Result<void, WriteError> result GUARDED_BY(gate->mutex);

  // False when the caller has given up.
  bool Start() {
    MutexLock lock(gate->mutex);
    if (phase == Phase::kGivenUp) return false;
    phase = Phase::kRunning;
    return true;
  }
  void Finish(const Result<void, WriteError>& outcome) {
    MutexLock lock(gate->mutex);
    phase = Phase::kDone;
    result = outcome;
  }
};

Writer::Writer(Database& db, Log& log, StateBoard& board, const Clock& clock, Options options)
    : db_(db),
      log_(log),
      board_(board),
      clock_(clock),
      options_(options),
      gate_(std::make_shared<Gate>()),
      checkpoint_at_bytes_(options.checkpoint_bytes) {
  board_.Publish(log_.Snapshot());
  stats_.repaired_records = log_.repaired_records();  // what opening the log has mended
  sqlite3_wal_hook(
      db_.handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Writer*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  thread_ = std::thread([this] { Run(); });
}

Writer::~Writer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_arrived_.NotifyAll();
  thread_.join();
  if (write_state() == WriteState::kWritable) {
    try {
      log_.Flush();
    } catch (const SqliteError& error) {
      HandleFailure(error);
    }
  }
  sqlite3_wal_hook(db_.handle(), nullptr, nullptr);
}

Result<void, WriteError> Writer::Enqueue(std::shared_ptr<Job> job) {
  if (write_state() == WriteState::kFailed) {
    return Err(WriteError{WriteError::Kind::kFailed, write_error()});
  }
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return Err(WriteError{WriteError::Kind::kStopping, "the node is stopping"});
    if (queue_.size() >= options_.max_queue) {
      return Err(WriteError{WriteError::Kind::kOverloaded, "too many writes are waiting"});
    }
    wake = queue_.empty();
    job->gate = gate_;
    queue_.push_back(std::move(job));
  }
  if (wake) work_arrived_.NotifyOne();
  return {};
}

void Writer::Post(Work work) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  // Refused only where there is nothing to be done: the next reader finds the same again.
  (void)Enqueue(std::move(job));
}

Result<void, WriteError> Writer::Execute(Work work, SteadyTime deadline, size_t weight) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->weight = weight;
  if (auto queued = Enqueue(job); !queued) return queued;

  MutexLock lock(job->gate->mutex);
  while (job->phase != Job::Phase::kDone) {
    if (job->gate->changed.WaitUntil(job->gate->mutex, deadline)) continue;
    if (job->phase == Job::Phase::kDone) break;
    if (job->phase == Job::Phase::kQueued) {
      job->phase = Job::Phase::kGivenUp;
      return Err(
          WriteError{WriteError::Kind::kExpired, "the deadline passed before the write began"});
    }
    return Err(
        WriteError{WriteError::Kind::kUnknown,
                   "the disk did not answer in time: the write may be stored or not; a retry "
                   "with the same Idempotency-Key is safe"});
  }
  return std::move(job->result);
}

std::string Writer::write_error() const {
  MutexLock lock(mutex_);
  return write_error_;
}

WriterStats Writer::stats() const {
  MutexLock lock(mutex_);
  WriterStats stats = stats_;
  stats.queued = queue_.size();
  return stats;
}

void Writer::Run() {
  pthread_setname_np(pthread_self(), "writer");
  std::deque<std::shared_ptr<Job>> batch;
  while (Take(&batch)) {
    if (batch.empty()) {
      ProbeDisk();
    } else {
      Commit(&batch);
    }
    batch.clear();
  }
}

// False when it is time to stop. An empty batch: a second has passed on a full disk.
bool Writer::Take(std::deque<std::shared_ptr<Job>>* batch) {
  MutexLock lock(mutex_);
  while (queue_.empty()) {
    if (stopping_) return false;
    if (write_state() != WriteState::kDiskFull) {
      work_arrived_.Wait(mutex_);
    } else if (!work_arrived_.WaitUntil(mutex_, clock_.Steady() + std::chrono::seconds(1))) {
      return true;
    }
  }
  size_t weight = 0;
  while (!queue_.empty() &&
         (batch->empty() || weight + queue_.front()->weight <= options_.max_batch_weight)) {
    weight += queue_.front()->weight;
    batch->push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  gate_ = std::make_shared<Gate>();
  return true;
}

void Writer::Answer(const std::vector<std::shared_ptr<Job>>& jobs,
                    const Result<void, WriteError>& outcome) {
  for (const auto& job : jobs) job->Finish(outcome);
  // The jobs of one gate stand together. Where a batch took only some of them, the others go on
  // waiting.
  const Gate* last = nullptr;
  for (const auto& job : jobs) {
    if (job->gate.get() != last) job->gate->changed.NotifyAll();
    last = job->gate.get();
  }
}

void Writer::Commit(std::deque<std::shared_ptr<Job>>* batch) {
  std::vector<std::shared_ptr<Job>> started;
  Result<void, WriteError> outcome;
  if (write_state() == WriteState::kFailed) {
    outcome = Err(WriteError{WriteError::Kind::kFailed, write_error()});
    started.assign(batch->begin(), batch->end());
  } else {
    try {
      log_.Begin();
      for (const auto& job : *batch) {
        if (!job->Start()) continue;
        started.push_back(job);
        job->work(log_);
      }
      // What writes nothing proves nothing about the disk.
      if (log_.Commit() && write_state() == WriteState::kDiskFull) {
        spdlog::info("the disk has space again: writing resumes");
        write_state_.store(WriteState::kWritable);
      }
    } catch (const SqliteError& error) {
      outcome = Err(HandleFailure(error));
      started.assign(batch->begin(), batch->end());
    } catch (const std::bad_alloc&) {
      outcome = Err(HandleFailure(SqliteError(SQLITE_NOMEM, "out of memory")));
      started.assign(batch->begin(), batch->end());
    }
  }
  if (outcome) board_.Publish(log_.Snapshot());
  {
    MutexLock lock(mutex_);
    stats_.jobs += started.size();
    ++(outcome ? stats_.commits : stats_.failed_commits);
    stats_.repaired_records = log_.repaired_records();
    stats_.wal_bytes = int64_t{wal_pages_} * 4096;
  }
  Answer(started, outcome);
  if (outcome && int64_t{wal_pages_} * 4096 >= checkpoint_at_bytes_) Checkpoint();
}

WriteError Writer::HandleFailure(const SqliteError& error) {
  // Another program holds the file for a moment, or memory is short: nothing is wrong with the
  // disk.
  const bool passing = error.code() == SQLITE_BUSY || error.code() == SQLITE_NOMEM;
  const bool full = error.disk_full() || error.extended_code() == SQLITE_IOERR_SHMSIZE;
  bool rolled_back = true;
  try {
    log_.Rollback();
  } catch (const SqliteError&) {
    rolled_back = false;
  }
  if (passing && rolled_back) {
    spdlog::error("a write failed and may be repeated: {}", error.what());
    return {WriteError::Kind::kOverloaded, std::string("the database is busy: ") + error.what()};
  }
  MutexLock lock(mutex_);
  if (full && rolled_back) {
    if (write_state() != WriteState::kDiskFull) {
      spdlog::error(
          "the disk is full ({}): nothing can be stored until there is space; reading goes on",
          error.what());
    }
    write_error_ = "the disk is full: free some space, writing resumes by itself";
    write_state_.store(WriteState::kDiskFull);
    return {WriteError::Kind::kDiskFull, write_error_};
  }
  spdlog::critical(
      "writing failed ({}, code {}): this process writes no more. Check the disk, then "
      "restart the node",
      error.what(), error.extended_code());
  write_error_ = std::string("writing to the disk failed (") + error.what() +
                 "): check the disk, then restart the node";
  write_state_.store(WriteState::kFailed);
  // Closing would copy the WAL into the database and delete it; the next start recovers it instead.
  sqlite3_db_config(db_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  return {WriteError::Kind::kFailed, write_error_};
}

// A write of some size that changes nothing: the way to learn that there is space again.
void Writer::ProbeDisk() {
  try {
    db_.Execute("BEGIN IMMEDIATE");
    db_.Execute("INSERT OR REPLACE INTO meta(name, value) VALUES ('probe', hex(zeroblob(65536)))");
    db_.Execute("DELETE FROM meta WHERE name='probe'");
    db_.Execute("INSERT OR REPLACE INTO meta(name, value) VALUES ('probe', hex(randomblob(8)))");
    db_.Execute("COMMIT");
    spdlog::info("the disk has space again: writing resumes");
    write_state_.store(WriteState::kWritable);
  } catch (const SqliteError& error) {
    if (sqlite3_get_autocommit(db_.handle()) == 0) {
      try {
        db_.Execute("ROLLBACK");
      } catch (const SqliteError& rollback) {
        HandleFailure(rollback);
      }
    }
    if (!error.disk_full()) HandleFailure(error);
  }
}

void Writer::Checkpoint() {
  int pages = 0;
  int done = 0;
  // RESTART: the next commit writes the WAL from its beginning. It waits for readers, whose
  // snapshots are short, for at most that long; else the WAL grows by a quarter before the next
  // try.
  sqlite3_busy_timeout(db_.handle(), 50);
  const int code =
      sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_RESTART, &pages, &done);
  sqlite3_busy_timeout(db_.handle(), 5000);
  if (code == SQLITE_OK) {
    checkpoint_at_bytes_ = options_.checkpoint_bytes;
    return;
  }
  checkpoint_at_bytes_ = int64_t{wal_pages_} * 4096 + options_.checkpoint_bytes / 4;
  // A full disk: the WAL may still have room, and the commits will tell.
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_FULL) return;
  HandleFailure(SqliteError(sqlite3_extended_errcode(db_.handle()), sqlite3_errmsg(db_.handle())));
}

}  // namespace chatchain
