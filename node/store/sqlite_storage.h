// SPDX-License-Identifier: MIT
// Storage on one SQLite file: joins the log, its writer thread and the read connections.
// Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "common/util/random.h"
#include "node/service/storage.h"
#include "node/store/data_dir.h"
#include "node/store/reader.h"
#include "node/store/writer.h"

namespace chatchain {

class SqliteStorage final : public Storage {
 public:
  struct Options {
    std::string directory;  // created if absent; locked while open
    std::string cluster;
    std::string node_id;
    int cache_mib = 16;
    size_t read_connections = 4;
    RecordTail::Options record_tail;
    Writer::Options writer;
  };

  // The error is one line for the operator and says what to do.
  static Result<std::unique_ptr<SqliteStorage>, std::string> Open(Options options,
                                                                  const Clock& clock, Hlc& hlc,
                                                                  Random& random);
  ~SqliteStorage() override;

  LogStatePtr State() const override { return board_.Current(); }
  WriteState write_state() const override { return writer_->write_state(); }
  Result<std::vector<Appended>, WriteError> Append(
      std::shared_ptr<const std::vector<AppendItem>> items, SteadyTime deadline) override;
  void AppendLater(AppendItem item, SteadyTime deadline,
                   std::function<void(Result<Appended, WriteError>)> done) override;
  Try<HistoryPage> ReadHistory(const HistoryQuery& query, const LogState& state) override;
  Try<FeedPage> ReadFeed(const FeedQuery& query, const LogState& state) override;
  Try<std::optional<ShownMessage>> Find(const MessageId& id) override;
  Try<std::vector<std::pair<EpochKey, Seq>>> PositionsOf(int64_t message_ref) override;

  // What sync needs beyond Storage.
  StateBoard& board() { return board_; }
  Writer& writer() { return *writer_; }
  // `read` with a reader of what is stored, as of `state`, which State() gave. Throws SqliteError.
  template <typename Read>
  auto WithTables(const LogStatePtr& state, Read read) {
    auto lease = readers_->Take();
    lease->UseState(state);
    return read(static_cast<LogReader&>(*lease));
  }
  // `read` with a reader of the log as of `state`, which State() gave. Throws SqliteError.
  template <typename Read>
  auto WithLog(const LogStatePtr& state, Read read) {
    std::unique_ptr<ReadPool::Lease> lease;
    // What is in memory needs no snapshot of the tables.
    TailReader reader(log_->record_tail(), [&]() -> LogReader& {
      lease = std::unique_ptr<ReadPool::Lease>(new ReadPool::Lease(readers_->Take()));
      (*lease)->UseState(state);
      return **lease;
    });
    return read(static_cast<LogReader&>(reader));
  }
  // Bytes of the database and its WAL on disk.
  int64_t DiskBytes() const;

 private:
  SqliteStorage(Options options, const Clock& clock)
      : options_(std::move(options)), clock_(clock) {}
  bool AwaitDurable() const;
  Problem Damaged(const Damage& damage);

  const Options options_;
  const Clock& clock_;
  std::unique_ptr<DirectoryLock> lock_;  // given up last
  StateBoard board_;
  std::unique_ptr<Database> db_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<ReadPool> readers_;
};

}  // namespace chatchain
