// SPDX-License-Identifier: MIT
#include "node/store/writer.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

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
  SteadyTime deadline{};       // of one that was submitted
  Done done;                   // likewise

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
    Done call;
    {
      MutexLock lock(gate->mutex);
      const bool given_up = phase == Phase::kGivenUp;
      phase = Phase::kDone;
      work = nullptr;
      if (given_up) return;
      call = std::move(done);
      if (!call) result = outcome;
    }
    if (call) call(outcome);
  }
  // The deadline has passed. What is to be said; nothing where it is done.
  std::optional<WriteError> GiveUp() REQUIRES(gate->mutex) {
    switch (phase) {
      case Phase::kQueued:
        phase = Phase::kGivenUp;
        return WriteError{WriteError::Kind::kExpired, "the deadline passed before the write began"};
      case Phase::kRunning:
        phase = Phase::kGivenUp;
        return WriteError{
            WriteError::Kind::kUnknown,
            "the disk did not answer in time: the write may be stored or not; a retry "
            "with the same Idempotency-Key is safe"};
      case Phase::kDone:
      case Phase::kGivenUp: break;
    }
    return std::nullopt;
  }
};

namespace {

constexpr int64_t kPageBytes = 4096;

// While it lives, commits are written to the log and not synced.
class DeferredSync {
 public:
  explicit DeferredSync(WalLog& wal) : wal_(wal) { wal_.DeferSync(true); }
  ~DeferredSync() { wal_.DeferSync(false); }
  DeferredSync(const DeferredSync&) = delete;
  DeferredSync& operator=(const DeferredSync&) = delete;

 private:
  WalLog& wal_;
};

void NameThread(const char* name) {
  pthread_setname_np(pthread_self(), name);
}

SqliteError LastError(const Database& db) {
  return {sqlite3_extended_errcode(db.handle()), sqlite3_errmsg(db.handle())};
}

// Of a checkpoint. Anything else passes: readers hold the log, the disk is full and the log may
// still have room, no file can be opened right now. The commits will tell.
bool IsDamage(int code) {
  const int primary = code & 0xff;
  return primary == SQLITE_IOERR || primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

}  // namespace

Writer::Writer(Database& db, Log& log, StateBoard& board, const Clock& clock, Options options)
    : db_(db),
      wal_(db),
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
  writer_ = std::thread([this] { Run(); });
  syncer_ = std::thread([this] { RunSyncer(); });
  checkpointer_ = std::thread([this] { RunCheckpointer(); });
  watchdog_ = std::thread([this] { RunWatchdog(); });
}

Writer::~Writer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_arrived_.NotifyAll();
  writer_.join();
  {
    MutexLock lock(mutex_);
    all_written_ = true;
  }
  sync_arrived_.NotifyAll();
  checkpoint_arrived_.NotifyAll();
  watch_arrived_.NotifyAll();
  syncer_.join();
  checkpointer_.join();
  watchdog_.join();
  if (write_state() == WriteState::kWritable) {
    try {
      log_.Flush();
    } catch (const SqliteError& error) {
      HandleFailure(error);
    }
  }
  if (write_state() == WriteState::kFailed) {
    // Closing would copy the log into the database and delete it; the next start recovers it
    // instead.
    sqlite3_db_config(db_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  sqlite3_wal_hook(db_.handle(), nullptr, nullptr);
}

Result<void, WriteError> Writer::Enqueue(const JobPtr& job) {
  if (write_state() == WriteState::kFailed) {
    return Err(WriteError{WriteError::Kind::kFailed, write_error()});
  }
  bool wake = false;
  bool watch = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return Err(WriteError{WriteError::Kind::kStopping, "the node is stopping"});
    if (queue_.size() >= options_.max_queue) {
      return Err(WriteError{WriteError::Kind::kOverloaded, "too many writes are waiting"});
    }
    wake = queue_.empty();
    job->gate = gate_;
    if (job->done) {
      watch = watched_.empty();
      watched_.push_back(job);
    }
    try {
      queue_.push_back(job);
    } catch (const std::bad_alloc&) {
      if (job->done) watched_.pop_back();
      throw;
    }
  }
  if (wake) work_arrived_.NotifyOne();
  if (watch) watch_arrived_.NotifyOne();
  return {};
}

void Writer::Post(Work work) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  // Refused only where there is nothing to be done: the next reader finds the same again.
  (void)Enqueue(job);
}

Result<void, WriteError> Writer::Execute(Work work, SteadyTime deadline, size_t weight) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->weight = weight;
  if (auto queued = Enqueue(job); !queued) return queued;

  MutexLock lock(job->gate->mutex);
  while (job->phase != Job::Phase::kDone) {
    if (job->gate->changed.WaitUntil(job->gate->mutex, deadline)) continue;
    if (auto error = job->GiveUp()) return Err(std::move(*error));
  }
  return std::move(job->result);
}

void Writer::Submit(Work work, SteadyTime deadline, Done done, size_t weight) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->weight = weight;
  job->deadline = deadline;
  job->done = std::move(done);
  if (auto queued = Enqueue(job); !queued) job->done(std::move(queued));
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

bool Writer::AwaitDurable(SteadyTime deadline) const {
  MutexLock lock(mutex_);
  const uint64_t wanted = written_;
  // A batch that failed is taken out of the count.
  const auto done = [&]() REQUIRES(mutex_) { return durable_ >= std::min(wanted, written_); };
  while (!done() && write_state() != WriteState::kFailed) {
    if (!finished_.WaitUntil(mutex_, deadline)) return done();
  }
  return true;
}

void Writer::Run() {
  NameThread("writer");
  while (true) {
    switch (AwaitWork()) {
      case Next::kWork: Commit(); break;
      case Next::kProbe: ProbeDisk(); break;
      case Next::kStop: return;
    }
  }
}

// kProbe: a second has passed on a full disk.
Writer::Next Writer::AwaitWork() {
  MutexLock lock(mutex_);
  while (queue_.empty()) {
    if (stopping_) return Next::kStop;
    if (write_state() != WriteState::kDiskFull) {
      work_arrived_.Wait(mutex_);
    } else if (!work_arrived_.WaitUntil(mutex_, clock_.Steady() + std::chrono::seconds(1))) {
      return Next::kProbe;
    }
  }
  return Next::kWork;
}

// What the current transaction takes next; `weight`: of what it has. False when it shall be
// committed. The first call gives something.
bool Writer::Take(bool first, size_t* weight, std::vector<JobPtr>* jobs) {
  MutexLock lock(mutex_);
  if (!first) {
    // As long as the commit before this one waits for the syncer, this one could not be synced
    // either: whatever comes meanwhile shares it.
    while (to_sync_ && queue_.empty()) work_arrived_.Wait(mutex_);
    if (!to_sync_) return false;
  }
  const size_t before = jobs->size();
  while (!queue_.empty() &&
         (jobs->empty() || *weight + queue_.front()->weight <= options_.max_batch_weight)) {
    *weight += queue_.front()->weight;
    jobs->push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  if (jobs->size() == before) return false;
  gate_ = std::make_shared<Gate>();
  return true;
}

void Writer::Commit() {
  Written batch;
  std::vector<JobPtr>& jobs = batch.jobs;
  size_t weight = 0;
  Take(/*first=*/true, &weight, &jobs);
  Result<void, WriteError> outcome;
  bool counted = false;
  if (write_state() == WriteState::kFailed) {
    outcome = Err(WriteError{WriteError::Kind::kFailed, write_error()});
  } else {
    try {
      log_.Begin();
      size_t done = 0;
      do {
        for (; done < jobs.size(); ++done) {
          if (jobs[done]->Start()) jobs[done]->work(log_);
        }
      } while (Take(/*first=*/false, &weight, &jobs));
      // From the commit on readers see it, so it must be counted before.
      CountWritten(1);
      counted = true;
      const DeferredSync deferred(wal_);
      batch.changed = log_.Commit();
    } catch (const SqliteError& error) {
      outcome = Err(HandleFailure(error));
    } catch (const std::bad_alloc&) {
      outcome = Err(HandleFailure(SqliteError(SQLITE_NOMEM, "out of memory")));
    }
  }
  if (!outcome) {
    if (counted) CountWritten(-1);
    {
      MutexLock lock(mutex_);
      stats_.jobs += jobs.size();
      ++stats_.failed_commits;
    }
    Answer(jobs, outcome);
    return;
  }
  // What writes nothing proves nothing about the disk.
  if (batch.changed && write_state() == WriteState::kDiskFull) {
    spdlog::info("the disk has space again: writing resumes");
    SetState(WriteState::kWritable);
  }
  batch.state = log_.Snapshot();
  Checkpoint checkpoint = Checkpoint::kNone;
  const int64_t wal_bytes = wal_pages_ * kPageBytes;
  {
    MutexLock lock(mutex_);
    while (to_sync_) work_arrived_.Wait(mutex_);
    to_sync_ = std::move(batch);
    stats_.repaired_records = log_.repaired_records();
    stats_.wal_bytes = wal_bytes;
    if (checkpoint_ == Checkpoint::kNone && wal_bytes >= checkpoint_at_bytes_) {
      checkpoint_ = Checkpoint::kWanted;
      checkpoint_arrived_.NotifyOne();
    }
    checkpoint = checkpoint_;
  }
  sync_arrived_.NotifyOne();
  // Where the disk copies more slowly than we write, the log must not grow without end.
  if (checkpoint == Checkpoint::kCopied ||
      (checkpoint != Checkpoint::kNone &&
       wal_bytes >= checkpoint_at_bytes_ + 2 * options_.checkpoint_bytes)) {
    RestartWal();
  }
}

void Writer::CountWritten(int64_t batches) {
  {
    MutexLock lock(mutex_);
    written_ += static_cast<uint64_t>(batches);
  }
  if (batches < 0) finished_.NotifyAll();
}

void Writer::RunSyncer() {
  NameThread("syncer");
  while (true) {
    Written batch;
    {
      MutexLock lock(mutex_);
      while (!to_sync_) {
        if (all_written_) return;
        sync_arrived_.Wait(mutex_);
      }
      batch = std::move(*to_sync_);
      to_sync_.reset();
    }
    work_arrived_.NotifyOne();
    Finish(std::move(batch));
  }
}

void Writer::Finish(Written&& batch) {
  Result<void, WriteError> outcome;
  if (sync_failed_) {
    outcome = Err(WriteError{WriteError::Kind::kFailed, write_error()});
  } else if (batch.changed) {
    try {
      wal_.Sync();
    } catch (const SqliteError& error) {
      sync_failed_ = true;
      outcome = Err(Fail(error));
    }
  }
  if (outcome) board_.Publish(std::move(batch.state));
  {
    MutexLock lock(mutex_);
    ++durable_;
    stats_.jobs += batch.jobs.size();
    ++(outcome ? stats_.commits : stats_.failed_commits);
  }
  finished_.NotifyAll();
  Answer(batch.jobs, outcome);
}

void Writer::Answer(const std::vector<JobPtr>& jobs, const Result<void, WriteError>& outcome) {
  for (const auto& job : jobs) job->Finish(outcome);
  // The jobs of one gate stand together. Where a batch took only some of them, the others go on
  // waiting.
  const Gate* last = nullptr;
  for (const auto& job : jobs) {
    if (job->gate.get() != last) job->gate->changed.NotifyAll();
    last = job->gate.get();
  }
}

// A failure is for good.
void Writer::SetState(WriteState state) {
  WriteState old = write_state_.load();
  while (old != WriteState::kFailed && !write_state_.compare_exchange_weak(old, state)) {
  }
}

WriteError Writer::Fail(const SqliteError& error) {
  spdlog::critical(
      "writing failed ({}, code {}): this process writes no more. Check the disk, then "
      "restart the node",
      error.what(), error.extended_code());
  MutexLock lock(mutex_);
  write_error_ = std::string("writing to the disk failed (") + error.what() +
                 "): check the disk, then restart the node";
  SetState(WriteState::kFailed);
  finished_.NotifyAll();
  return {WriteError::Kind::kFailed, write_error_};
}

WriteError Writer::HandleFailure(const SqliteError& error) {
  // Another program holds the file for a moment, or memory is short: nothing is wrong with the
  // disk.
  const bool passing = error.code() == SQLITE_BUSY || error.code() == SQLITE_NOMEM;
  const bool full = error.disk_full() || error.extended_code() == SQLITE_IOERR_SHMSIZE;
  try {
    log_.Rollback();
  } catch (const SqliteError&) {
    return Fail(error);
  }
  if (passing) {
    spdlog::error("a write failed and may be repeated: {}", error.what());
    return {WriteError::Kind::kOverloaded, std::string("the database is busy: ") + error.what()};
  }
  if (!full) return Fail(error);
  if (write_state() != WriteState::kDiskFull) {
    spdlog::error(
        "the disk is full ({}): nothing can be stored until there is space; reading goes on",
        error.what());
  }
  MutexLock lock(mutex_);
  if (write_state() != WriteState::kFailed) {
    write_error_ = "the disk is full: free some space, writing resumes by itself";
  }
  SetState(WriteState::kDiskFull);
  return {WriteError::Kind::kDiskFull, write_error_};
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
    SetState(WriteState::kWritable);
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

void Writer::RunCheckpointer() {
  NameThread("checkpointer");
  std::unique_ptr<Database> db;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (checkpoint_ != Checkpoint::kWanted) {
        if (all_written_) return;
        checkpoint_arrived_.Wait(mutex_);
      }
      checkpoint_ = Checkpoint::kRunning;
    }
    try {
      if (db == nullptr) {
        db = std::make_unique<Database>(sqlite3_db_filename(db_.handle(), "main"),
                                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
        db->Execute("SELECT 1 FROM meta");  // until it has read, it knows of no log
      }
      // The second time copies what was written during the first, so that little is left.
      for (int pass = 0; pass < 2 && write_state() != WriteState::kFailed; ++pass) {
        const int code = sqlite3_wal_checkpoint_v2(db->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                                   nullptr, nullptr);
        if (code != SQLITE_OK) throw LastError(*db);
      }
    } catch (const SqliteError& error) {
      if (IsDamage(error.code())) Fail(error);
    }
    {
      MutexLock lock(mutex_);
      checkpoint_ = Checkpoint::kCopied;
    }
    finished_.NotifyAll();
  }
}

// Answers submitted writes whose deadline passes, also while the disk hangs.
void Writer::RunWatchdog() {
  NameThread("watchdog");
  std::vector<JobPtr> late;
  while (true) {
    {
      MutexLock lock(mutex_);
      while (watched_.empty() && !all_written_) watch_arrived_.Wait(mutex_);
      if (all_written_ && durable_ == written_) return;
      watch_arrived_.WaitUntil(mutex_, clock_.Steady() + kWatchInterval);
      const SteadyTime now = clock_.Steady();
      const auto is_done = [](const JobPtr& job) {
        MutexLock gate(job->gate->mutex);
        return job->phase == Job::Phase::kDone || job->phase == Job::Phase::kGivenUp;
      };
      while (!watched_.empty() && is_done(watched_.front())) watched_.pop_front();
      std::copy_if(watched_.begin(), watched_.end(), std::back_inserter(late),
                   [&](const JobPtr& job) { return job->deadline <= now; });
    }
    for (const JobPtr& job : late) {
      std::optional<WriteError> error;
      Done call;
      {
        MutexLock gate(job->gate->mutex);
        error = job->GiveUp();
        if (error) call = std::move(job->done);
      }
      if (error) call(Err(std::move(*error)));
    }
    late.clear();
  }
}

// So that the next commit writes the log from its beginning.
void Writer::RestartWal() {
  {
    MutexLock lock(mutex_);
    while (checkpoint_ != Checkpoint::kCopied) finished_.Wait(mutex_);
    checkpoint_ = Checkpoint::kNone;
  }
  if (write_state() == WriteState::kFailed) return;
  // It waits for readers, whose snapshots are short, for at most that long; else the log grows by a
  // quarter before the next try.
  sqlite3_busy_timeout(db_.handle(), 50);
  const int code =
      sqlite3_wal_checkpoint_v2(db_.handle(), nullptr, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
  sqlite3_busy_timeout(db_.handle(), 5000);
  if (code == SQLITE_OK) {
    checkpoint_at_bytes_ = options_.checkpoint_bytes;
    return;
  }
  checkpoint_at_bytes_ = wal_pages_ * kPageBytes + options_.checkpoint_bytes / 4;
  if (IsDamage(code)) Fail(LastError(db_));
}

}  // namespace chatchain
