// SPDX-License-Identifier: MIT
// The read side of the store: connections with snapshots of their own, beside the writer.
// ReadPool is thread-safe; a ReadConnection belongs to one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/protocol/json.h"
#include "common/protocol/query.h"
#include "common/protocol/token.h"
#include "common/util/mutex.h"
#include "node/service/storage.h"
#include "node/store/name_tail.h"
#include "node/store/sqlite.h"
#include "node/sync/log_reader.h"

namespace chatchain {

class Log;

// Which records a token covers here, by the store's short names of epochs.
struct Coverage {
  std::unordered_map<int64_t, Seq> up_to;

  bool Covers(int64_t epoch_ref, Seq seq) const {
    const auto it = up_to.find(epoch_ref);
    return it != up_to.end() && seq <= it->second;
  }
};

// A stored message that does not match its id, or a record that does not match its chain: it is not
// served.
struct Damage {
  int64_t message_ref = 0;
  std::optional<CorruptRecord> record = std::nullopt;
};

// What is done about it, in a transaction of the writer.
void RepairDamage(Log& log, const Damage& damage);

// A page, or the reason why it is not to be served.
struct ReadPage {
  HistoryPage page;
  std::optional<Damage> damage;
  // A message of it has several stamps, of which one may belong to a commit that is not on disk
  // yet.
  bool moved = false;
};

struct ReadFeedPage {
  FeedPage page;
  std::optional<Damage> damage;
  bool moved = false;  // as in ReadPage
};

// What the tail of the index by name holds for a query: a list for each of its walks.
using NameCopies = std::vector<std::vector<NameEntry>>;
NameCopies CopyNames(const NameTail& tail, const Filter& filter);

class ReadConnection final : public LogReader {
 public:
  ReadConnection(const std::string& path, int cache_mib);

  // One snapshot for all calls in between. It contains at least every state published before.
  void BeginSnapshot();
  void EndSnapshot();

  // REQUIRES: `state` was published before CopyNames() gave `names`, that before the snapshot
  // began.
  ReadPage ReadHistory(const HistoryQuery& query, const LogState& state, const NameCopies& names);
  // What `state` has, published before the snapshot began. `moved`: see ReadPage.
  std::optional<ShownMessage> Find(const MessageId& id, const LogState& state,
                                   std::optional<Damage>* damage, bool* moved);
  // REQUIRES: `state` was published before the snapshot began.
  ReadFeedPage ReadFeed(const FeedQuery& query, const LogState& state);  // feed_reader.cc

  // LogReader. REQUIRES: UseState() with the state whose epochs are meant.
  void UseState(LogStatePtr state);
  std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) override;
  void ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                   const std::function<bool(StoredRecord&&)>& take) override;
  std::vector<std::pair<EpochKey, Seq>> PositionsOf(int64_t message_ref) override;

 private:
  class Source;

  Statement& Cached(const std::string& sql);
  // `apart`: where the token is on another branch of a fork than we are.
  Coverage MakeCoverage(const TokenVector& token, const LogState& state,
                        std::vector<EpochKey>* apart = nullptr);
  std::optional<int64_t> FirstUncovered(const Coverage& covered, const std::set<int64_t>& held_back,
                                        const LogState& state);
  std::optional<Hash> ChainBefore(const EpochKey& key, int64_t epoch_ref, Seq seq);
  std::optional<Stamp> CoveredStamp(int64_t message_ref, const Coverage& coverage);

  std::unique_ptr<Database> db_;
  std::map<std::string, Statement> statements_;
  LogStatePtr state_;
  std::map<int64_t, EpochKey> keys_by_ref_;  // of state_
};

// What ReadHistory() prepares for such a query, for a look at its plans.
std::vector<std::string> HistoryStatements(const Filter& filter, bool descending);

class ReadPool {
 public:
  ReadPool(std::string path, int cache_mib, size_t max_connections);

  // A connection with a snapshot, given back when the Lease ends. Blocks while all are in use.
  class Lease {
   public:
    Lease(ReadPool& pool, std::unique_ptr<ReadConnection> connection)
        : pool_(pool), connection_(std::move(connection)) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ReadConnection* operator->() { return connection_.get(); }
    ReadConnection& operator*() { return *connection_; }

   private:
    ReadPool& pool_;
    std::unique_ptr<ReadConnection> connection_;
  };
  // Throws SqliteError.
  Lease Take();

 private:
  const std::string path_;
  const int cache_mib_;
  Mutex mutex_;
  CondVar returned_;
  std::vector<std::unique_ptr<ReadConnection>> idle_ GUARDED_BY(mutex_);
  size_t free_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
