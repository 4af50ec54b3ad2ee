// SPDX-License-Identifier: MIT
#include "node/store/sqlite_storage.h"

#include <filesystem>

#include "common/util/log.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

// Longer than any disk takes that works.
constexpr auto kDurableWait = std::chrono::seconds(2);

Problem DiskHangs() {
  return Unavailable("the disk of this node does not answer in time; ask another node");
}

Problem ReadFailed(const SqliteError& error) {
  spdlog::error("reading the database failed: {} (code {})", error.what(), error.extended_code());
  return Unavailable("this node cannot read its database; ask another node");
}

}  // namespace

Result<std::unique_ptr<SqliteStorage>, std::string> SqliteStorage::Open(Options options,
                                                                        const Clock& clock,
                                                                        Hlc& hlc, Random& random) {
  std::unique_ptr<SqliteStorage> storage(new SqliteStorage(std::move(options), clock));
  const Options& set = storage->options_;
  auto lock = DirectoryLock::Take(set.directory);
  if (!lock) return Err(std::move(lock.error()));
  storage->lock_ = std::move(*lock);
  auto db = OpenForWriting(DatabasePath(set.directory), set.cluster, set.cache_mib);
  if (!db) return Err(db.error());
  storage->db_ = std::move(*db);
  try {
    storage->log_ = std::make_unique<Log>(
        *storage->db_, Log::Options{set.cluster, set.node_id, {}, {}, set.record_tail}, hlc,
        random);
  } catch (const SqliteError& error) {
    return Err("cannot read " + DatabasePath(set.directory) + ": " + error.what());
  }
  storage->writer_ =
      std::make_unique<Writer>(*storage->db_, *storage->log_, storage->board_, clock, set.writer);
  storage->readers_ =
      std::make_unique<ReadPool>(DatabasePath(set.directory), set.cache_mib, set.read_connections);
  return storage;
}

SqliteStorage::~SqliteStorage() {
  readers_.reset();
  writer_.reset();
  log_.reset();
  db_.reset();
}

Result<std::vector<Appended>, WriteError> SqliteStorage::Append(
    std::shared_ptr<const std::vector<AppendItem>> items, SteadyTime deadline) {
  // Owned by both sides: the work may outlive this call, see Writer::Execute.
  auto results = std::make_shared<std::vector<Appended>>();
  const size_t weight = items->size();
  auto done = writer_->Execute(
      [items = std::move(items), results](Log& log) {
        results->clear();
        results->reserve(items->size());
        for (const AppendItem& item : *items) {
          results->push_back(log.Append(item));
        }
      },
      deadline, weight);
  if (!done) return Err(std::move(done.error()));
  return std::move(*results);
}

void SqliteStorage::AppendLater(AppendItem item, SteadyTime deadline,
                                std::function<void(Result<Appended, WriteError>)> done) {
  struct Call {
    AppendItem item;
    Appended result;
  };
  const auto call = std::make_shared<Call>(Call{std::move(item), {}});
  writer_->Submit([call](Log& log) { call->result = log.Append(call->item); }, deadline,
                  [call, done = std::move(done)](Result<void, WriteError> committed) {
                    if (committed) {
                      done(call->result);
                    } else {
                      done(Err(std::move(committed.error())));
                    }
                  });
}

// What was read may depend on a commit that is not on disk yet: true once it is.
bool SqliteStorage::AwaitDurable() const {
  return writer_->AwaitDurable(clock_.Steady() + kDurableWait);
}

Problem SqliteStorage::Damaged(const Damage& damage) {
  // In the background: the reader that found it does not wait.
  writer_->Post([damage](Log& log) { RepairDamage(log, damage); });
  return Unavailable(
      "a stored message is damaged here and is being fetched again; ask another node");
}

Try<HistoryPage> SqliteStorage::ReadHistory(const HistoryQuery& query, const LogState& state) {
  try {
    const NameCopies names = CopyNames(log_->name_tail(), *query.filter);
    ReadPage read = readers_->Take()->ReadHistory(query, state, names);
    if (read.damage) return Err(Damaged(*read.damage));
    if (read.moved && !AwaitDurable()) return Err(DiskHangs());
    return std::move(read.page);
  } catch (const SqliteError& error) {
    return Err(ReadFailed(error));
  }
}

Try<FeedPage> SqliteStorage::ReadFeed(const FeedQuery& query, const LogState& state) {
  try {
    ReadFeedPage read = readers_->Take()->ReadFeed(query, state);
    if (read.damage) return Err(Damaged(*read.damage));
    if (read.moved && !AwaitDurable()) return Err(DiskHangs());
    return std::move(read.page);
  } catch (const SqliteError& error) {
    return Err(ReadFailed(error));
  }
}

Try<std::optional<ShownMessage>> SqliteStorage::Find(const MessageId& id) {
  try {
    const LogStatePtr state = State();
    std::optional<Damage> damage;
    bool moved = false;
    auto found = readers_->Take()->Find(id, *state, &damage, &moved);
    if (damage) return Err(Damaged(*damage));
    if (moved && !AwaitDurable()) return Err(DiskHangs());
    return found;
  } catch (const SqliteError& error) {
    return Err(ReadFailed(error));
  }
}

Try<std::vector<std::pair<EpochKey, Seq>>> SqliteStorage::PositionsOf(int64_t message_ref) {
  try {
    const LogStatePtr state = State();
    auto positions =
        WithTables(state, [&](LogReader& reader) { return reader.PositionsOf(message_ref); });
    std::erase_if(positions, [&](const auto& position) {
      return !Covers(state->heads, position.first, position.second);
    });
    return positions;
  } catch (const SqliteError& error) {
    return Err(ReadFailed(error));
  }
}

int64_t SqliteStorage::DiskBytes() const {
  int64_t bytes = 0;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code absent;
    const auto size = std::filesystem::file_size(DatabasePath(options_.directory) + suffix, absent);
    if (!absent) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace chatchain
