// SPDX-License-Identifier: MIT
#include "node/store/reader.h"

#include <algorithm>
#include <limits>

#include "node/store/log.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

constexpr const char* kMessageColumns =
    "m.ref, m.stamp, m.moved, m.sender, m.recipient, m.room, m.text, m.timestamp, m.key";
// Columns 0 and 1 are the place, then the above.
constexpr int kRefColumn = 2;
constexpr int kStampColumn = 3;
constexpr int kMovedColumn = 4;
constexpr int kMessageColumn = 5;

// Equal in every row that a walk gives: column, value.
using Equalities = std::vector<std::pair<const char*, const std::string*>>;

// All messages, or those of a name in a role, in order of place.
struct Walk {
  std::optional<NameRole> role;
  Equalities equal;  // with a role, its name is the first

  const std::string& name() const { return *equal.front().second; }
};

const char* ColumnOf(NameRole role) {
  switch (role) {
    case NameRole::kSender: return "m.sender";
    case NameRole::kRecipient: return "m.recipient";
    case NameRole::kRoom: return "m.room";
  }
  return "";
}

// The walks whose union is the filter's answer.
std::vector<Walk> PlanWalks(const Filter& filter) {
  Walk plain;
  const auto demand = [&](NameRole role, const std::string& value) {
    if (value.empty()) return;
    plain.equal.emplace(plain.equal.begin(), ColumnOf(role), &value);
    plain.role = role;
  };
  demand(NameRole::kSender, filter.sender);
  demand(NameRole::kRecipient, filter.recipient);
  demand(NameRole::kRoom, filter.room);

  const std::vector<std::string>& who = filter.participants;
  if (who.empty()) return {plain};
  const auto with = [&](NameRole role, Equalities equal) {
    equal.insert(equal.end(), plain.equal.begin(), plain.equal.end());
    return Walk{role, std::move(equal)};
  };
  if (who.size() == 1 || who[0] == who[1]) {
    return {with(NameRole::kSender, {{"m.sender", &who[0]}}),
            with(NameRole::kRecipient, {{"m.recipient", &who[0]}})};
  }
  return {with(NameRole::kSender, {{"m.sender", &who[0]}, {"m.recipient", &who[1]}}),
          with(NameRole::kSender, {{"m.sender", &who[1]}, {"m.recipient", &who[0]}})};
}

// Where the rows of a walk come from.
enum class Rows {
  kMessages,  // where messages are now
  kNames,     // the same of a name, by its index; the statement gives the message of one entry
  kTail,      // likewise of the newest entries, which the index lacks
  kPlaces,    // where messages were before
};

std::vector<Rows> RowsOf(const Walk& walk) {
  if (walk.role) return {Rows::kNames, Rows::kTail, Rows::kPlaces};
  return {Rows::kMessages, Rows::kPlaces};
}

// Parameters 1 and 2 are the least and the greatest stamp, 3 and 4 the place to go on from; of
// an entry, 1 is the message. From 5 on come the equalities.
constexpr int kFirstEquality = 5;

std::string WalkSql(const Walk& walk, Rows rows, bool descending) {
  std::string ordered_by = "m";
  std::string from;
  switch (rows) {
    case Rows::kMessages: from = " FROM messages m INDEXED BY messages_by_place WHERE "; break;
    case Rows::kNames:
    case Rows::kTail: from = " FROM messages m WHERE m.ref=?1"; break;
    case Rows::kPlaces:
      ordered_by = "p";
      // CROSS JOIN keeps the order of tables: another one would have to sort.
      from = " FROM places p CROSS JOIN messages m ON m.ref=p.message WHERE ";
      break;
  }
  const std::string stamp = ordered_by + ".stamp";
  const std::string id = ordered_by + ".id";
  std::string sql = "SELECT " + stamp + ", " + id + ", " + kMessageColumns + from;
  const bool of_entry = rows == Rows::kNames || rows == Rows::kTail;
  if (!of_entry) {
    sql += stamp + " BETWEEN ?1 AND ?2 AND (" + stamp + ", " + id + ")";
    sql += descending ? " < (?3, ?4)" : " > (?3, ?4)";
  }
  int parameter = kFirstEquality;
  for (const auto& entry : walk.equal) {
    sql += std::string(" AND ") + entry.first + "=?" + std::to_string(parameter++);
  }
  if (of_entry) return sql;
  const std::string direction = descending ? " DESC" : "";
  return sql + " ORDER BY " + stamp + direction + ", " + id + direction;
}

Coverage WholeState(const LogState& state) {
  Coverage coverage;
  for (const auto& [key, head] : state.heads) {
    coverage.up_to[state.epochs.at(key).ref] = head.seq;
  }
  return coverage;
}

}  // namespace

void RepairDamage(Log& log, const Damage& damage) {
  if (damage.record) {
    log.Repair(*damage.record);
  } else {
    log.RepairMessage(damage.message_ref);
  }
}

std::vector<std::string> HistoryStatements(const Filter& filter, bool descending) {
  std::vector<std::string> statements;
  for (const Walk& walk : PlanWalks(filter)) {
    for (const Rows rows : RowsOf(walk)) statements.push_back(WalkSql(walk, rows, descending));
    if (walk.role) statements.insert(statements.end(), {kNameRowsBackSql, kNameRowsOnSql});
  }
  return statements;
}

NameCopies CopyNames(const NameTail& tail, const Filter& filter) {
  NameCopies copies;
  for (const Walk& walk : PlanWalks(filter)) {
    copies.push_back(walk.role ? tail.Copy(*walk.role, walk.name()) : std::vector<NameEntry>{});
  }
  return copies;
}

// One running walk: its rows come in order of place.
class ReadConnection::Source {
 public:
  // `tail`: of Rows::kTail.
  Source(ReadConnection& reader, const Walk& walk, size_t number, Rows rows,
         const HistoryQuery& query, const std::vector<NameEntry>& tail)
      // Walks of one query run at once: each needs statements of its own.
      : statement_(reader.Cached(WalkSql(walk, rows, query.descending) + Mark(number, rows))),
        reset_(statement_),
        descending_(query.descending) {
    const Filter& filter = *query.filter;
    if (filter.since_ms) least_ = StampFromMs(*filter.since_ms);
    if (filter.until_ms) {
      const Stamp end = StampFromMs(*filter.until_ms);
      if (end == 0) {
        empty_ = true;
        return;
      }
      most_ = end - 1;
    }
    // Without a cursor the comparison is always true: nothing lies beyond these ends.
    after_ = descending_ ? Place{std::numeric_limits<Stamp>::max(), {}} : Place{0, {}};
    if (descending_) after_.id.bytes.fill(0xff);
    if (query.after) {
      after_ = *query.after;
      Stamp& end = descending_ ? most_ : least_;
      end = descending_ ? std::min(most_, after_.stamp) : std::max(least_, after_.stamp);
    }
    int parameter = kFirstEquality;
    for (const auto& entry : walk.equal) statement_.BindText(parameter++, *entry.second);
    if (rows == Rows::kTail || rows == Rows::kNames) {
      by_entry_ = true;
      // Where such a place is, all that is asked for lies at it or behind it.
      Place from = after_;
      if (descending_ && most_ < from.stamp) {
        from.stamp = most_;
        from.id.bytes.fill(0xff);
      }
      if (!descending_ && least_ > from.stamp) from = {least_, {}};
      if (rows == Rows::kTail) {
        EnterTail(tail, from);
      } else {
        index_.emplace(reader.Cached(kNameRowsBackSql + Mark(number, rows)),
                       reader.Cached(kNameRowsOnSql + Mark(number, rows)),
                       NameKey(*walk.role, walk.name()), from, descending_);
      }
    } else {
      statement_.Bind(1, SqlStamp(least_)).Bind(2, SqlStamp(most_)).Bind(3, SqlStamp(after_.stamp));
      statement_.BindBlob(4, after_.id.view());
    }
    Advance();
  }

  bool empty() const { return empty_; }
  const Place& place() const { return place_; }
  const Statement& row() const { return statement_; }
  void Advance() {
    empty_ = !(by_entry_ ? StepEntry() : statement_.Step());
    if (empty_) return;
    place_.stamp = StampFromSql(statement_.Int(0));
    // An id of another length is damage: it reads as zero and fails its check.
    if (!MessageId::FromBytes(statement_.Blob(1), &place_.id)) place_.id = {};
  }

 private:
  // What tells the statements of one query apart.
  static std::string Mark(size_t number, Rows rows) {
    return std::string(2 * number + (rows == Rows::kTail ? 1 : 0), ' ');
  }

  // There may be many; they are in order, and stay where they are.
  void EnterTail(const std::vector<NameEntry>& tail, const Place& from) {
    const auto at = std::lower_bound(
        tail.begin(), tail.end(), from,
        [](const NameEntry& entry, const Place& place) { return entry.place < place; });
    const auto before = static_cast<size_t>(at - tail.begin());
    entries_ = &tail;
    next_ = descending_ ? tail.size() - std::min(before + 1, tail.size()) : before;
  }

  bool NextRow() {
    if (!index_) return false;
    // Nothing that is asked for lies behind such a row.
    if (row_ && (descending_ ? row_->begin.stamp < least_ : row_->begin.stamp > most_))
      return false;
    row_ = index_->Next();
    if (!row_) return false;
    entries_ = &row_->entries;
    next_ = 0;
    return true;
  }

  // Entries of a damaged row may be anywhere: none is given twice or out of order all the same,
  // since a message confirms its place.
  bool IsAsked(const Place& place) const {
    return place.stamp >= least_ && place.stamp <= most_ &&
           (descending_ ? place < after_ : after_ < place);
  }

  bool StepEntry() {
    statement_.Reset();
    do {
      const size_t all = entries_ == nullptr ? 0 : entries_->size();
      while (next_ < all) {
        const NameEntry& entry = (*entries_)[descending_ ? all - 1 - next_ : next_];
        ++next_;
        if (!IsAsked(entry.place)) continue;
        statement_.Bind(1, entry.message_ref);
        if (statement_.Step() && StampFromSql(statement_.Int(0)) == entry.place.stamp &&
            statement_.Blob(1) == entry.place.id.view()) {
          after_ = entry.place;
          return true;
        }
        statement_.Reset();
      }
    } while (NextRow());
    return false;
  }

  Statement& statement_;
  ScopedReset reset_;
  const bool descending_;
  Stamp least_ = 0;
  Stamp most_ = std::numeric_limits<Stamp>::max();
  Place after_;  // the place to go on from
  bool by_entry_ = false;
  std::optional<NameRows> index_;
  std::optional<NameRow> row_;                       // of the index
  const std::vector<NameEntry>* entries_ = nullptr;  // of the tail or of row_
  size_t next_ = 0;                                  // how many of them have had their turn
  Place place_;
  bool empty_ = false;
};

ReadConnection::ReadConnection(const std::string& path, int cache_mib)
    : db_(OpenForReading(path, cache_mib)) {}

void ReadConnection::BeginSnapshot() {
  Cached("BEGIN").Run();
}

void ReadConnection::EndSnapshot() {
  state_.reset();
  if (sqlite3_get_autocommit(db_->handle()) == 0) Cached("COMMIT").Run();
}

Statement& ReadConnection::Cached(const std::string& sql) {
  auto it = statements_.find(sql);
  if (it == statements_.end()) it = statements_.emplace(sql, Statement(*db_, sql)).first;
  return it->second;
}

std::optional<Stamp> ReadConnection::CoveredStamp(int64_t message_ref, const Coverage& coverage) {
  static const std::string kSql = RecordsOfMessageSql("epoch, seq, stamp");
  Statement& select = Cached(kSql);
  ScopedReset reset(select);
  select.Bind(1, message_ref);
  std::optional<Stamp> least;
  while (select.Step()) {
    if (!coverage.Covers(select.Int(0), static_cast<Seq>(select.Int(1)))) continue;
    const Stamp stamp = StampFromSql(select.Int(2));
    if (!least || stamp < *least) least = stamp;
  }
  return least;
}

ReadPage ReadConnection::ReadHistory(const HistoryQuery& query, const LogState& state,
                                     const NameCopies& names) {
  ReadPage result;
  HistoryPage& page = result.page;
  std::optional<Coverage> covered;
  if (query.covers != nullptr) covered = MakeCoverage(*query.covers, state, &page.apart);
  std::vector<std::unique_ptr<Source>> sources;
  const std::vector<Walk> walks = PlanWalks(*query.filter);
  for (size_t i = 0; i < walks.size(); ++i) {
    for (const Rows rows : RowsOf(walks[i])) {
      if (rows == Rows::kTail && names[i].empty()) continue;
      sources.push_back(std::make_unique<Source>(*this, walks[i], i, rows, query, names[i]));
    }
  }

  std::optional<Coverage> whole_state;  // made only if a message has moved
  const auto state_stamp = [&](int64_t ref) {
    if (!whole_state) whole_state = WholeState(state);
    return CoveredStamp(ref, *whole_state);
  };

  std::optional<Place> last;
  while (true) {
    Source* next = nullptr;
    for (const auto& source : sources) {
      if (source->empty()) continue;
      if (next == nullptr ||
          (query.descending ? source->place() > next->place() : source->place() < next->place())) {
        next = source.get();
      }
    }
    if (next == nullptr) break;
    const Place place = next->place();
    const Statement& row = next->row();
    const int64_t ref = row.Int(kRefColumn);
    const bool moved = row.Int(kMovedColumn) != 0;
    bool give = last != place;  // a message to oneself is found by two walks
    if (give) {
      if (!covered && !moved) {
        give = ref <= state.last_message_ref;
      } else {
        give = (covered ? CoveredStamp(ref, *covered) : state_stamp(ref)) == place.stamp;
      }
    }
    if (give && page.items.size() == query.limit) {
      page.more = true;
      break;
    }
    if (give) {
      HistoryItem item;
      item.place = place;
      item.shown = {place.id, MessageFromRow(row, kMessageColumn),
                    StampFromSql(row.Int(kStampColumn))};
      // The row may be ahead of the state, and the session's token covers no more than that: at
      // another node, the same message would then be shown later than here.
      if (moved) item.shown.stamp = state_stamp(ref).value_or(item.shown.stamp);
      if (IdOf(item.shown.message) != place.id) {
        result.damage = Damage{ref};
        return result;
      }
      page.items.push_back(std::move(item));
      result.moved = result.moved || moved;
      last = place;
    }
    next->Advance();
  }
  return result;
}

std::optional<ShownMessage> ReadConnection::Find(const MessageId& id, const LogState& state,
                                                 std::optional<Damage>* damage, bool* moved) {
  static const std::string kSql =
      std::string("SELECT m.stamp, m.id, ") + kMessageColumns + " FROM messages m WHERE m.id=?";
  Statement& select = Cached(kSql);
  ScopedReset reset(select);
  select.BindBlob(1, id.view());
  if (!select.Step() || select.Int(kRefColumn) > state.last_message_ref) return std::nullopt;
  *moved = select.Int(kMovedColumn) != 0;
  ShownMessage shown{id, MessageFromRow(select, kMessageColumn), StampFromSql(select.Int(0))};
  if (IdOf(shown.message) != id) {
    *damage = Damage{select.Int(kRefColumn)};
    return std::nullopt;
  }
  if (*moved) {
    const auto stamp = CoveredStamp(select.Int(kRefColumn), WholeState(state));
    shown.stamp = stamp.value_or(shown.stamp);
  }
  return shown;
}

Coverage ReadConnection::MakeCoverage(const TokenVector& token, const LogState& state,
                                      std::vector<EpochKey>* apart) {
  Coverage coverage;
  for (const auto& [key, mark] : token) {
    if (mark.seq == 0) continue;
    const auto it = state.epochs.find(key);
    if (it == state.epochs.end()) continue;
    const LogState::EpochState& epoch = it->second;
    // On another branch of a fork the token says nothing about our records.
    if (mark.seq <= epoch.head.seq) {
      std::optional<Hash> chain = epoch.head.chain;
      if (mark.seq < epoch.head.seq) {
        Statement& select = Cached("SELECT chain FROM records WHERE epoch=? AND seq=?");
        ScopedReset reset(select);
        select.Bind(1, epoch.ref).Bind(2, static_cast<int64_t>(mark.seq));
        Hash found;
        chain = select.Step() && Hash::FromBytes(select.Blob(0), &found) ? std::optional(found)
                                                                         : std::nullopt;
      }
      if (!chain || chain->Prefix64() != mark.chain_prefix) {
        if (apart != nullptr) apart->push_back(key);
        continue;
      }
    }
    coverage.up_to[epoch.ref] = mark.seq;
  }
  // What it leaves out; greater epochs first, since the seals stand there.
  const auto& by_epoch = state.seals->by_epoch();
  for (auto it = by_epoch.rbegin(); it != by_epoch.rend(); ++it) {
    if (token.count(it->first) > 0) continue;
    Seq up_to = 0;
    for (const Seal& seal : it->second) {
      if (coverage.Covers(state.epochs.at(seal.in).ref, seal.at)) {
        up_to = std::max(up_to, seal.end.seq);
      }
    }
    const auto epoch = state.epochs.find(it->first);
    if (up_to > 0 && epoch != state.epochs.end()) coverage.up_to[epoch->second.ref] = up_to;
  }
  return coverage;
}

void ReadConnection::UseState(LogStatePtr state) {
  state_ = std::move(state);
  keys_by_ref_.clear();
  for (const auto& [key, epoch] : state_->epochs) keys_by_ref_[epoch.ref] = key;
}

std::optional<Hash> ReadConnection::ChainAt(const EpochKey& epoch, Seq seq) {
  const auto it = state_->epochs.find(epoch);
  if (it == state_->epochs.end()) return std::nullopt;
  if (it->second.head.seq == seq) return it->second.head.chain;
  Statement& select = Cached("SELECT chain FROM records WHERE epoch=? AND seq=?");
  ScopedReset reset(select);
  select.Bind(1, it->second.ref).Bind(2, static_cast<int64_t>(seq));
  Hash chain;
  if (!select.Step() || !Hash::FromBytes(select.Blob(0), &chain)) return std::nullopt;
  return chain;
}

void ReadConnection::ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                                 const std::function<bool(StoredRecord&&)>& take) {
  const auto it = state_->epochs.find(epoch);
  if (it == state_->epochs.end()) return;
  Statement& select = Cached(
      "SELECT r.seq, r.stamp, r.message, r.kind, r.payload, r.chain, m.id, m.sender, m.recipient, "
      "m.room, m.text, m.timestamp, m.key FROM records r LEFT JOIN messages m ON m.ref=r.message "
      "WHERE r.epoch=? AND r.seq BETWEEN ? AND ? ORDER BY r.seq");
  ScopedReset reset(select);
  select.Bind(1, it->second.ref)
      .Bind(2, static_cast<int64_t>(from))
      .Bind(3, static_cast<int64_t>(to));
  while (select.Step()) {
    StoredRecord stored;
    Record& record = stored.wire.record;
    record.epoch = epoch;
    record.seq = static_cast<Seq>(select.Int(0));
    record.stamp = StampFromSql(select.Int(1));
    // Another length leaves zeros, which match no chain.
    Hash::FromBytes(select.Blob(5), &record.chain);
    if (select.IsNull(2)) {
      record.kind = select.Text(3);
      stored.wire.payload = std::string(select.Blob(4));
      record.digest = Sha256(*stored.wire.payload);
    } else {
      stored.message_ref = select.Int(2);
      stored.wire.id.emplace();
      MessageId::FromBytes(select.Blob(6), &*stored.wire.id);
      stored.wire.message = MessageFromRow(select, 7);
      record.digest = Sha256(CanonicalBytes(*stored.wire.message));
    }
    if (!take(std::move(stored))) return;
  }
}

std::vector<std::pair<EpochKey, Seq>> ReadConnection::PositionsOf(int64_t message_ref) {
  static const std::string kSql = RecordsOfMessageSql("epoch, seq");
  Statement& select = Cached(kSql);
  ScopedReset reset(select);
  select.Bind(1, message_ref);
  std::vector<std::pair<EpochKey, Seq>> positions;
  while (select.Step()) {
    const auto key = keys_by_ref_.find(select.Int(0));
    if (key == keys_by_ref_.end()) continue;
    positions.emplace_back(key->second, static_cast<Seq>(select.Int(1)));
  }
  return positions;
}

ReadPool::ReadPool(std::string path, int cache_mib, size_t max_connections)
    : path_(std::move(path)), cache_mib_(cache_mib), free_(max_connections) {}

ReadPool::Lease ReadPool::Take() {
  std::unique_ptr<ReadConnection> connection;
  {
    MutexLock lock(mutex_);
    while (free_ == 0) returned_.Wait(mutex_);
    --free_;
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  try {
    if (!connection) connection = std::make_unique<ReadConnection>(path_, cache_mib_);
    connection->BeginSnapshot();
  } catch (...) {
    MutexLock lock(mutex_);
    ++free_;
    returned_.NotifyOne();
    throw;
  }
  return Lease(*this, std::move(connection));
}

ReadPool::Lease::~Lease() {
  bool reusable = true;
  try {
    connection_->EndSnapshot();
  } catch (const SqliteError&) {
    reusable = false;  // a fresh connection may do better
  }
  MutexLock lock(pool_.mutex_);
  ++pool_.free_;
  if (reusable) pool_.idle_.push_back(std::move(connection_));
  pool_.returned_.NotifyOne();
}

}  // namespace chatchain
