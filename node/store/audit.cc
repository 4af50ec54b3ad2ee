// SPDX-License-Identifier: MIT
#include "node/store/audit.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "common/util/log.h"
#include "node/store/log.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

constexpr int64_t kSlice = 2000;                // rows in one snapshot
constexpr size_t kMaxRemembered = 100'000;      // damaged messages that are not told twice
constexpr int kStopEveryInstructions = 10'000;  // of SQLite's machine

class Stopped : public std::exception {};

// One snapshot of the database.
class Snapshot {
 public:
  explicit Snapshot(Database& db) : db_(db) { db_.Execute("BEGIN"); }
  ~Snapshot() {
    if (sqlite3_get_autocommit(db_.handle()) == 0) {
      sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  Database& db_;
};

std::string IdText(std::string_view bytes) {
  MessageId id;
  return MessageId::FromBytes(bytes, &id) ? id.Text() : "with a malformed id";
}

// Reading itself found damage; anything else says nothing about it.
bool IsDamage(const SqliteError& error) {
  return error.corrupt() || error.code() == SQLITE_IOERR;
}

class Auditor {
 public:
  Auditor(Database& db, const AuditOptions& options) : db_(db), options_(options) {
    if (!options_.stop) return;
    sqlite3_progress_handler(
        db_.handle(), kStopEveryInstructions,
        [](void* self) { return static_cast<Auditor*>(self)->options_.stop() ? 1 : 0; }, this);
  }
  ~Auditor() { sqlite3_progress_handler(db_.handle(), 0, nullptr, nullptr); }
  Auditor(const Auditor&) = delete;
  Auditor& operator=(const Auditor&) = delete;

  AuditReport Run() {
    try {
      Guarded("the heads", [&] { ReadHeads(); });
      for (const auto& [key, epoch] : report_.epochs) CheckEpoch(key, epoch);
      CheckMessages();
      Guarded("the file", [&] { CheckFile(); });
    } catch (const SqliteError& error) {
      if (error.code() == SQLITE_INTERRUPT) throw Stopped();
      throw;
    }
    return std::move(report_);
  }

 private:
  using EpochState = LogState::EpochState;

  void Name(std::string what) {
    ++report_.damaged;
    if (report_.named.size() < options_.max_named) report_.named.push_back(std::move(what));
  }

  // What cannot be read is damage, and the rest is worth a look all the same.
  template <typename Work>
  void Guarded(const std::string& what, Work work) {
    try {
      work();
    } catch (const SqliteError& error) {
      if (!IsDamage(error)) throw;
      Name(what + ": reading failed: " + error.what());
    }
  }

  void Told(std::string_view step, uint64_t done) {
    if (options_.stop && options_.stop()) throw Stopped();
    if (!options_.progress) return;
    const double all = static_cast<double>(std::max<uint64_t>(total_, 1));
    options_.progress(step, std::min(1.0, static_cast<double>(done) / all));
  }

  void ReadHeads();
  void CheckEpoch(const EpochKey& key, const EpochState& epoch);
  Seq CheckSlice(const EpochKey& key, const EpochState& epoch, Seq from, Seq to);
  void CheckRecord(const std::string& place, const Statement& row, const EpochKey& key, Seq seq);
  std::optional<Hash> BodyDigest(const std::string& place, const Statement& row, Record* record);
  void CheckMessages();
  int64_t CheckMessagesAbove(int64_t ref, uint64_t done);
  void CheckStamps(const std::string& place, int64_t ref, const MessageId& id, Stamp stamp,
                   bool moved);
  void CheckNames(const std::string& place, const Message& message, int64_t ref,
                  const MessageId& id, Stamp stamp);
  void CheckFile();

  Statement& Cached(const std::string& sql) {
    auto it = statements_.find(sql);
    if (it == statements_.end()) it = statements_.emplace(sql, Statement(db_, sql)).first;
    return it->second;
  }

  Database& db_;
  const AuditOptions& options_;
  std::map<std::string, Statement> statements_;
  AuditReport report_;
  uint64_t total_ = 0;        // records, and numbers of messages
  int64_t last_message_ = 0;  // what comes later is not checked: there is no end of it
  std::unordered_set<int64_t> damaged_messages_;
  // What the next record's chain may follow from: where a chain does not match, either it is wrong
  // itself, or its record is.
  std::vector<Hash> previous_;
};

void Auditor::ReadHeads() {
  const Snapshot snapshot(db_);
  Statement cluster(db_, "SELECT value FROM meta WHERE name='cluster'");
  if (cluster.Step()) {
    report_.cluster = cluster.Text(0);
  } else {
    Name("the database names no cluster");
  }
  Statement last_message(db_, "SELECT coalesce(max(ref), 0) FROM messages");
  if (last_message.Step()) last_message_ = last_message.Int(0);
  total_ = static_cast<uint64_t>(std::max<int64_t>(last_message_, 0));

  std::unordered_set<int64_t> refs;
  Statement epochs(db_,
                   "SELECT ref, origin, epoch, seq, chain, frozen FROM epochs ORDER BY origin");
  Statement last(db_, "SELECT coalesce(max(seq), 0) FROM records WHERE epoch=?");
  while (epochs.Step()) {
    const EpochKey key{std::string(epochs.Text(1)), static_cast<Epoch>(epochs.Int(2))};
    const std::string place = "the head of " + LogSafe(ToText(key));
    EpochState state;
    state.ref = epochs.Int(0);
    state.head.seq = static_cast<Seq>(epochs.Int(3));
    state.frozen = epochs.Int(5) != 0;
    refs.insert(state.ref);
    if (!IsNodeId(key.origin)) Name(place + ": no node can have that id");
    if (!Hash::FromBytes(epochs.Blob(4), &state.head.chain)) Name(place + ": no chain");
    ScopedReset reset(last);
    last.Bind(1, state.ref);
    last.Step();
    const auto end = static_cast<Seq>(last.Int(0));
    if (end != state.head.seq) {
      Name(place + " says " + std::to_string(state.head.seq) + ", its records end at " +
           std::to_string(end));
      state.head.seq = std::max(end, state.head.seq);
    }
    total_ += state.head.seq;
    if (!state.frozen && state.head.seq > 0) report_.heads.emplace(key, state.head);
    report_.epochs.emplace(key, state);
  }
  Statement next(db_, "SELECT epoch, seq FROM records WHERE epoch>? ORDER BY epoch, seq LIMIT 1");
  for (int64_t ref = INT64_MIN;;) {
    ScopedReset reset(next);
    next.Bind(1, ref);
    if (!next.Step()) break;
    ref = next.Int(0);
    if (refs.count(ref) == 0) {
      Name("records of an epoch that has no head (number " + std::to_string(ref) + "), from " +
           std::to_string(next.Int(1)) + " on");
    }
  }
}

void Auditor::CheckEpoch(const EpochKey& key, const EpochState& epoch) {
  previous_ = {ChainSeed(report_.cluster, key)};
  for (Seq from = 1; from <= epoch.head.seq;) {
    Told("records", report_.records);
    const Seq to = std::min(epoch.head.seq, from + kSlice - 1);
    const uint64_t checked = report_.records;
    try {
      from = CheckSlice(key, epoch, from, to);
    } catch (const SqliteError& error) {
      if (!IsDamage(error)) throw;
      const Seq at = from + (report_.records - checked);
      Name(ToText(key) + " at " + std::to_string(at) + ": reading failed: " + error.what());
      // Where the damage ends cannot be told by reading.
      previous_.clear();
      from = to + 1;
    }
  }
  if (!previous_.empty() && epoch.head.seq > 0 &&
      std::find(previous_.begin(), previous_.end(), epoch.head.chain) == previous_.end()) {
    Name("the head of " + ToText(key) + " has another chain than its last record");
  }
}

// Records from..to, as far as they are in the log still. Gives where to go on.
Seq Auditor::CheckSlice(const EpochKey& key, const EpochState& epoch, Seq from, Seq to) {
  const Snapshot snapshot(db_);
  {
    // The node that has the file open may have given up damaged records meanwhile.
    Statement head(db_, "SELECT seq FROM epochs WHERE ref=?");
    head.Bind(1, epoch.ref);
    const Seq now = head.Step() ? static_cast<Seq>(head.Int(0)) : 0;
    if (now < from && report_.heads.count(key) > 0 && report_.heads.at(key).seq > now) {
      previous_.clear();
      return to + 1;
    }
  }
  Statement rows(db_,
                 "SELECT r.seq, r.stamp, r.message, r.kind, r.payload, r.chain, m.id, m.sender, "
                 "m.recipient, m.room, m.text, m.timestamp, m.key FROM records r LEFT JOIN "
                 "messages m ON m.ref=r.message WHERE r.epoch=? AND r.seq BETWEEN ? AND ? ORDER BY "
                 "r.seq");
  rows.Bind(1, epoch.ref).Bind(2, static_cast<int64_t>(from)).Bind(3, static_cast<int64_t>(to));
  Seq expected = from;
  while (rows.Step()) {
    const auto seq = static_cast<Seq>(rows.Int(0));
    if (seq != expected) {
      Name(ToText(key) + " at " + std::to_string(expected) + ": the record is missing" +
           (seq > expected + 1 ? ", and all up to " + std::to_string(seq - 1) : ""));
      previous_.clear();
    }
    CheckRecord(ToText(key) + " at " + std::to_string(seq), rows, key, seq);
    ++report_.records;
    expected = seq + 1;
  }
  if (expected <= to) {
    Name(ToText(key) + " at " + std::to_string(expected) + ": the record is missing" +
         (to > expected ? ", and all up to " + std::to_string(to) : ""));
    previous_.clear();
  }
  return to + 1;
}

// Columns 2 to 4 and 6 to 12. Nothing where the body is damaged, which it has named then.
std::optional<Hash> Auditor::BodyDigest(const std::string& place, const Statement& row,
                                        Record* record) {
  if (row.IsNull(2)) {
    record->kind = row.Text(3);
    if (!IsKind(record->kind) || record->kind == kMessageKind || row.IsNull(4)) {
      Name(place + ": it has neither a message nor a payload of a known form");
      return std::nullopt;
    }
    return Sha256(row.Blob(4));
  }
  if (row.IsNull(6)) {
    Name(place + ": its message is not there");
    return std::nullopt;
  }
  const auto message = Validate(MessageFromRow(row, 7));
  if (!message || message->id().view() != row.Blob(6)) {
    Name(place + ", message " + IdText(row.Blob(6)) + ": the message " +
         (message ? "does not match its id" : "breaks the rules of messages"));
    if (damaged_messages_.size() < kMaxRemembered) damaged_messages_.insert(row.Int(2));
    return std::nullopt;
  }
  return message->digest();
}

void Auditor::CheckRecord(const std::string& place, const Statement& row, const EpochKey& key,
                          Seq seq) {
  Record record;
  record.epoch = key;
  record.seq = seq;
  record.stamp = StampFromSql(row.Int(1));
  Hash chain;
  const bool has_chain = Hash::FromBytes(row.Blob(5), &chain);
  const auto digest = BodyDigest(place, row, &record);
  std::vector<Hash> next;
  if (has_chain) next.push_back(chain);
  if (digest) {
    record.digest = *digest;
    bool matches = previous_.empty();  // what came before is not known
    for (const Hash& previous : previous_) {
      const Hash computed = NextChain(previous, record);
      if (computed == chain) {
        matches = true;
      } else {
        next.push_back(computed);
      }
    }
    if (matches) {
      next = {chain};
    } else {
      const std::string message = row.IsNull(2) ? "" : ", message " + IdText(row.Blob(6));
      Name(place + message + ": the record does not match its chain");
    }
  }
  previous_ = std::move(next);
}

void Auditor::CheckMessages() {
  const uint64_t before = report_.records;
  for (int64_t ref = INT64_MIN;;) {
    Told("messages", before + static_cast<uint64_t>(std::max<int64_t>(ref, 0)));
    int64_t last = ref;
    Guarded("a message after number " + std::to_string(ref),
            [&] { last = CheckMessagesAbove(ref, before); });
    if (last == ref) return;
    ref = last;
  }
}

// Gives the last one that it saw; `ref` where there is none.
int64_t Auditor::CheckMessagesAbove(int64_t ref, uint64_t done) {
  const Snapshot snapshot(db_);
  int64_t names_up_to = 0;
  {
    Statement mark(db_, "SELECT value FROM meta WHERE name='names_up_to'");
    if (mark.Step()) names_up_to = mark.Int(0);
  }
  Statement rows(db_,
                 "SELECT ref, id, stamp, moved, sender, recipient, room, text, timestamp, key FROM "
                 "messages WHERE ref>? AND ref<=? ORDER BY ref LIMIT ?");
  rows.Bind(1, ref).Bind(2, last_message_).Bind(3, kSlice);
  while (rows.Step()) {
    ref = rows.Int(0);
    ++report_.messages;
    MessageId id;
    const std::string place = "message " + IdText(rows.Blob(1));
    if (damaged_messages_.count(ref) > 0) continue;  // named with its record
    auto message = Validate(MessageFromRow(rows, 4));
    if (!message || message->id().view() != rows.Blob(1)) {
      Name(place + ": it does not match its id");
      continue;
    }
    id = message->id();
    const Stamp stamp = StampFromSql(rows.Int(2));
    CheckStamps(place, ref, id, stamp, rows.Int(3) != 0);
    if (ref <= names_up_to) CheckNames(place, message->message(), ref, id, stamp);
  }
  Told("messages", done + static_cast<uint64_t>(std::max<int64_t>(ref, 0)));
  return ref;
}

void Auditor::CheckStamps(const std::string& place, int64_t ref, const MessageId& id, Stamp stamp,
                          bool moved) {
  static const std::string kRecords = "SELECT r.stamp, e.frozen FROM (" +
                                      RecordsOfMessageSql("stamp, epoch") +
                                      ") r JOIN epochs e ON e.ref=r.epoch";
  Statement& records = Cached(kRecords);
  Statement& old_place = Cached("SELECT 1 FROM places WHERE stamp=? AND id=? AND message=?");
  const ScopedReset reset_records(records);
  records.Bind(1, ref);
  bool found = false;
  bool vouched = false;
  bool has_its_stamp = false;
  while (records.Step()) {
    found = true;
    vouched = vouched || records.Int(1) == 0;
    const Stamp its = StampFromSql(records.Int(0));
    if (its == stamp) {
      has_its_stamp = true;
      continue;
    }
    if (its < stamp) {
      Name(place + ": a record of it has an earlier stamp");
      return;
    }
    ScopedReset reset(old_place);
    old_place.Bind(1, records.Int(0)).BindBlob(2, id.view()).Bind(3, ref);
    if (!moved || !old_place.Step()) {
      Name(place + ": it is not found at the place that a record of it gives");
      return;
    }
  }
  if (!found) {
    Name(place + ": no record names it");
  } else if (!vouched) {
    Name(place + ": only forked epochs name it, and it was not announced anew");
  } else if (!has_its_stamp && !moved) {
    // With `moved`, the record that had it was given up by a repair.
    Name(place + ": no record of it has its stamp");
  }
}

void Auditor::CheckNames(const std::string& place, const Message& message, int64_t ref,
                         const MessageId& id, Stamp stamp) {
  Statement& rows = Cached(kNameRowsBackSql);
  const auto check = [&](NameRole role, const char* called, const std::string& name) {
    if (name.empty() || HasName(rows, NameKey(role, name), {{stamp, id}, ref})) return;
    Name(place + ": the index by " + called + " lacks it");
  };
  check(NameRole::kSender, "sender", message.sender);
  check(NameRole::kRecipient, "recipient", message.recipient);
  check(NameRole::kRoom, "room", message.room);
}

void Auditor::CheckFile() {
  Told("file", total_);
  Statement check(db_, "PRAGMA integrity_check(" + std::to_string(options_.max_named + 1) + ")");
  while (check.Step()) {
    if (check.Text(0) != "ok") Name("the file: " + LogSafe(check.Text(0)));
  }
}

}  // namespace

Result<AuditReport, std::string> Audit(Database& db, const AuditOptions& options) {
  try {
    return Auditor(db, options).Run();
  } catch (const Stopped&) {
    return Err(std::string("it was stopped"));
  } catch (const SqliteError& error) {
    return Err(std::string("reading the database failed: ") + error.what());
  }
}

}  // namespace chatchain
