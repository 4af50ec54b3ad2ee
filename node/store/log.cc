// SPDX-License-Identifier: MIT
#include "node/store/log.h"

#include <algorithm>
#include <limits>

#include "common/protocol/limits.h"
#include "common/util/log.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

void BindOptionalText(Statement* statement, int index, const std::string& text) {
  if (text.empty()) {
    statement->BindNull(index);
  } else {
    statement->BindText(index, text);
  }
}

// As `sender, recipient, room, text, timestamp, key`, from parameter `index` on.
void BindMessage(Statement* statement, int index, const Message& message) {
  statement->BindText(index, message.sender);
  BindOptionalText(statement, index + 1, message.recipient);
  BindOptionalText(statement, index + 2, message.room);
  statement->BindText(index + 3, message.text);
  if (message.timestamp) {
    statement->Bind(index + 4, *message.timestamp);
  } else {
    statement->BindNull(index + 4);
  }
  statement->BindText(index + 5, message.key);
}

int64_t MaxOf(const Database& db, const char* sql) {
  Statement statement(db, sql);
  statement.Step();
  return statement.Int(0);
}

}  // namespace

Message MessageFromRow(const Statement& row, int column) {
  Message message;
  message.sender = row.Text(column);
  message.recipient = row.Text(column + 1);
  message.room = row.Text(column + 2);
  message.text = row.Text(column + 3);
  if (!row.IsNull(column + 4)) message.timestamp = row.Int(column + 4);
  message.key = row.Text(column + 5);
  return message;
}

Log::Log(Database& db, Options options, Hlc& clock, Random& random)
    : db_(db),
      options_(std::move(options)),
      clock_(clock),
      random_(random),
      name_tail_(options_.name_tail),
      name_table_(db, options_.name_table),
      record_tail_(options_.record_tail),
      begin_(db, "BEGIN IMMEDIATE"),
      commit_(db, "COMMIT"),
      find_by_id_(db, "SELECT ref, stamp FROM messages WHERE id=?"),
      find_by_key_(db, "SELECT 1 FROM messages WHERE key=? AND sender=? LIMIT 1"),
      insert_message_(
          db,
          "INSERT INTO messages(ref, id, sender, recipient, room, text, timestamp, key, "
          "stamp) VALUES (?,?,?,?,?,?,?,?,?)"),
      insert_record_(
          db,
          "INSERT INTO records(arrival, epoch, seq, stamp, message, kind, payload, chain) "
          "VALUES (?,?,?,?,?,?,?,?)"),
      insert_place_(db, "INSERT OR IGNORE INTO places(stamp, id, message) VALUES (?,?,?)"),
      lower_stamp_(db, "UPDATE messages SET stamp=?, moved=1 WHERE ref=?"),
      mark_moved_(db, "UPDATE messages SET moved=1 WHERE ref=? AND moved=0"),
      insert_epoch_(
          db, "INSERT INTO epochs(ref, origin, epoch, seq, chain, frozen) VALUES (?,?,?,?,?,?)"),
      update_epoch_(db, "UPDATE epochs SET seq=?, chain=?, frozen=? WHERE ref=?"),
      read_message_(db,
                    "SELECT id, stamp, sender, recipient, room, text, timestamp, key FROM messages "
                    "WHERE ref=?"),
      read_last_(db, "SELECT seq, chain FROM records WHERE epoch=? ORDER BY seq DESC LIMIT 1"),
      read_with_previous_(
          db,
          "SELECT seq, stamp, message, kind, payload, chain FROM records WHERE epoch=? AND "
          "seq BETWEEN ? AND ? ORDER BY seq") {
  // A message may outlive its first record, so its number is taken too.
  last_arrival_ = std::max(MaxOf(db_, "SELECT coalesce(max(arrival), 0) FROM records"),
                           MaxOf(db_, "SELECT coalesce(max(ref), 0) FROM messages"));
  messages_ = MaxOf(db_, "SELECT count(*) FROM messages");
  // What is accepted next comes after what is stored, even if our clock was set back in between.
  // Stamps beyond the bound are left out, so that one of them cannot hide the others.
  Statement latest(db_, "SELECT max(stamp) FROM messages WHERE stamp<?");
  latest.Bind(1, SqlStamp(StampFromMs(clock_.NowMs() + limits::kStampLeadMax_ms)));
  if (latest.Step() && !latest.IsNull(0)) clock_.Observe(StampFromSql(latest.Int(0)));
  LoadNameTail();
  LoadEpochs();
}

void Log::LoadNameTail() {
  {
    Statement mark(db_, "SELECT value FROM meta WHERE name='names_up_to'");
    if (mark.Step()) names_mark_ = mark.Int(0);
  }
  // Numbers at or below the mark are not given again, even where the messages that had them are
  // gone.
  last_arrival_ = std::max(last_arrival_, names_mark_);
  // With its number: a message that was removed and pulled again has the place that it had before.
  const auto add = [&](NameRole role, std::string_view name, const NameEntry& entry) {
    if (!name_table_.Has(NameKey(role, name), entry)) name_tail_.Add(role, name, entry);
  };
  Statement above(db_, "SELECT ref, stamp, id, sender, recipient, room FROM messages WHERE ref>?");
  above.Bind(1, names_mark_);
  while (above.Step()) {
    NameEntry entry{{StampFromSql(above.Int(1)), {}}, above.Int(0)};
    if (!MessageId::FromBytes(above.Blob(2), &entry.place.id)) continue;  // damage
    add(NameRole::kSender, above.Text(3), entry);
    if (!above.IsNull(4)) add(NameRole::kRecipient, above.Text(4), entry);
    if (!above.IsNull(5)) add(NameRole::kRoom, above.Text(5), entry);
  }
  name_tail_.Committed(last_arrival_);
}

void Log::LoadEpochs() {
  Statement select(db_, "SELECT ref, origin, epoch, seq, chain, frozen FROM epochs");
  std::vector<EpochKey> doubtful;
  while (select.Step()) {
    const EpochKey key{std::string(select.Text(1)), static_cast<Epoch>(select.Int(2))};
    EpochState state;
    state.ref = select.Int(0);
    state.head.seq = static_cast<Seq>(select.Int(3));
    if (!Hash::FromBytes(select.Blob(4), &state.head.chain)) state.head = {};
    state.frozen = select.Int(5) != 0;
    if (!HeadIsLast(key, &state)) doubtful.push_back(key);
    last_epoch_ref_ = std::max(last_epoch_ref_, state.ref);
    if (key.origin == options_.node_id) NoteCounter(static_cast<uint32_t>(key.epoch >> 32));
    epochs_.emplace(key, state);
  }
  select.Reset();
  LoadSeals();
  if (!doubtful.empty()) MendHeads(doubtful);
}

void Log::LoadSeals() {
  Statement select(db_,
                   "SELECT e.origin, e.epoch, r.seq, r.payload FROM records r JOIN epochs e ON "
                   "e.ref=r.epoch WHERE r.kind=? AND e.frozen=0 AND r.seq<=e.seq");
  select.BindText(1, kSealKind);
  while (select.Step()) {
    const EpochKey in{std::string(select.Text(0)), static_cast<Epoch>(select.Int(1))};
    const auto at = static_cast<Seq>(select.Int(2));
    const auto sealed = DecodeSeal(in, select.Blob(3));
    int64_t damaged_message = 0;
    // Vectors are read by them: a flipped bit must not say what others hold.
    if (sealed && RecordIsSound(in, at, &damaged_message)) seals_.Add(*sealed, in, at);
  }
}

Seals& Log::TouchSeals() {
  if (!undo_seals_) undo_seals_ = seals_;
  shown_seals_.reset();
  return seals_;
}

void Log::Begin() {
  changes_at_begin_ = sqlite3_total_changes64(db_.handle());
  // First: when BEGIN fails, Rollback() must not take back what the last transaction made durable.
  ForgetUndo();
  begin_.Run();
}

void Log::ForgetUndo() noexcept {
  undo_.clear();
  undo_seals_.reset();
  undo_live_ = live_;
  undo_arrival_ = last_arrival_;
  undo_messages_ = messages_;
  undo_names_mark_ = names_mark_;
}

bool Log::Commit() {
  WriteTouched();
  WriteNames(name_tail_.Plan(last_arrival_));
  MarkNames();
  commit_.Run();
  name_tail_.Committed(last_arrival_);
  record_tail_.Committed();
  const bool wrote = sqlite3_total_changes64(db_.handle()) != changes_at_begin_;
  if (wrote || undo_live_ != live_) ++version_;
  ForgetUndo();
  return wrote;
}

void Log::Rollback() {
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    if (it->second) {
      epochs_[it->first] = *it->second;
    } else {
      epochs_.erase(it->first);
    }
  }
  if (undo_seals_) {
    seals_ = std::move(*undo_seals_);
    shown_seals_.reset();
  }
  live_ = undo_live_;
  last_arrival_ = undo_arrival_;
  messages_ = undo_messages_;
  names_mark_ = undo_names_mark_;
  name_tail_.RolledBack();
  record_tail_.RolledBack();
  ForgetUndo();
  // SQLite has rolled back by itself after some errors.
  if (sqlite3_get_autocommit(db_.handle()) == 0) db_.Execute("ROLLBACK");
}

LogState::EpochState& Log::Touch(const EpochKey& key) {
  const auto it = epochs_.find(key);
  const bool touched = std::any_of(undo_.begin(), undo_.end(),
                                   [&](const auto& entry) { return entry.first == key; });
  if (it != epochs_.end()) {
    if (!touched) undo_.emplace_back(key, it->second);
    return it->second;
  }
  undo_.emplace_back(key, std::nullopt);
  EpochState state;
  state.ref = ++last_epoch_ref_;
  state.head.chain = ChainSeed(options_.cluster, key);
  insert_epoch_.Bind(1, state.ref).BindText(2, key.origin).Bind(3, static_cast<int64_t>(key.epoch));
  insert_epoch_.Bind(4, 0).BindBlob(5, state.head.chain.view()).Bind(6, 0).Run();
  return epochs_.emplace(key, state).first->second;
}

void Log::WriteTouched() {
  for (const auto& [key, before] : undo_) {
    const EpochState& state = epochs_.at(key);
    if (before == state) continue;
    update_epoch_.Bind(1, static_cast<int64_t>(state.head.seq))
        .BindBlob(2, state.head.chain.view());
    update_epoch_.Bind(3, state.frozen ? 1 : 0).Bind(4, state.ref).Run();
  }
}

void Log::WriteNames(std::vector<NameTail::Run> runs) {
  for (NameTail::Run& run : runs) {
    // Not what has been removed or moved since it came into the tail: a message that was pulled
    // again may have the same place.
    std::erase_if(run.entries, [this](const NameEntry& entry) {
      if (unsettled_.count(entry.message_ref) == 0) return false;
      const auto stored = Find(entry.place.id);
      return !stored || stored->ref != entry.message_ref || stored->stamp != entry.place.stamp;
    });
    name_table_.Insert(run.key, run.entries);
  }
}

void Log::MarkNames() {
  // A start reads again what lies above the mark; to write it each time would cost a page a commit.
  const int64_t mark_every = options_.name_tail.max_messages / 10;
  const int64_t mark = name_tail_.complete_up_to();
  unsettled_.erase(unsettled_.begin(), unsettled_.upper_bound(mark));
  if (mark >= names_mark_ + mark_every) WriteNamesMark(mark);
}

void Log::WriteNamesMark(int64_t mark) {
  const std::string value = std::to_string(mark);
  Statement write(db_, "INSERT OR REPLACE INTO meta(name, value) VALUES ('names_up_to', ?)");
  write.BindText(1, value).Run();
  names_mark_ = mark;
}

void Log::Flush() {
  if (names_mark_ == last_arrival_) return;
  Begin();
  WriteNames(name_tail_.PlanAll());
  WriteNamesMark(last_arrival_);
  Commit();
}

void Log::WriteNamesOf(int64_t ref, const Message& message, const Place& place) {
  const auto write = [&](NameRole role, const std::string& name) {
    if (!name.empty()) name_table_.Insert(NameKey(role, name), {{place, ref}});
  };
  write(NameRole::kSender, message.sender);
  write(NameRole::kRecipient, message.recipient);
  write(NameRole::kRoom, message.room);
}

const EpochKey& Log::LiveEpoch() {
  if (!live_) {
    // The random half keeps two copies of one disk apart, which know the same counter.
    const uint64_t counter =
        std::min<uint64_t>(uint64_t{highest_counter_} + 1, std::numeric_limits<uint32_t>::max());
    EpochKey key{options_.node_id, (counter << 32) | (random_.Next() >> 32)};
    while (epochs_.count(key) > 0) key.epoch = (counter << 32) | (random_.Next() >> 32);
    NoteCounter(static_cast<uint32_t>(counter));
    Touch(key);
    live_ = std::move(key);
  }
  return *live_;
}

void Log::AbandonLiveEpoch(const EpochKey& epoch) {
  if (live_ != epoch) return;
  spdlog::error(
      "another process writes our epoch {}: node id {} runs twice; a new epoch begins. "
      "Give each node an id of its own",
      ToText(*live_), options_.node_id);
  record_tail_.Forget(epoch);
  live_.reset();
  id_runs_twice_ = true;
}

void Log::NoteTwin() {
  if (id_runs_twice_) return;
  spdlog::error("another process runs under our node id {}: give each node an id of its own",
                options_.node_id);
  id_runs_twice_ = true;
}

void Log::NoteCounter(uint32_t counter) {
  highest_counter_ = std::max(highest_counter_, counter);
}

std::optional<Log::StoredMessage> Log::Find(const MessageId& id) {
  ScopedReset reset(find_by_id_);
  find_by_id_.BindBlob(1, id.view());
  if (!find_by_id_.Step()) return std::nullopt;
  return StoredMessage{find_by_id_.Int(0), StampFromSql(find_by_id_.Int(1)), id};
}

// To answer "known" for a copy that a repair will remove would lose the message.
std::optional<Log::StoredMessage> Log::FindAndMend(const ValidMessage& message) {
  const auto found = Find(message.id());
  Stamp stamp = 0;
  if (!found || ReadSound(found->ref, &stamp)) return found;
  spdlog::error("the message {} is damaged on disk: it is replaced by the one that came in",
                message.id().Text());
  Statement mend(db_,
                 "UPDATE messages SET id=?, sender=?, recipient=?, room=?, text=?, timestamp=?, "
                 "key=? WHERE ref=?");
  mend.BindBlob(1, message.id().view());
  BindMessage(&mend, 2, message.message());
  mend.Bind(8, found->ref).Run();
  unsettled_.insert(found->ref);
  WriteNamesOf(found->ref, message.message(), {found->stamp, message.id()});
  return found;
}

int64_t Log::InsertMessage(const ValidMessage& valid, Stamp stamp) {
  Statement& insert = insert_message_;
  const int64_t ref = last_arrival_ + 1;  // of the record that the caller inserts next
  const Message& message = valid.message();
  insert.Bind(1, ref).BindBlob(2, valid.id().view());
  BindMessage(&insert, 3, message);
  insert.Bind(9, SqlStamp(stamp)).Run();
  ++messages_;
  const NameEntry entry{{stamp, valid.id()}, ref};
  name_tail_.Add(NameRole::kSender, message.sender, entry);
  if (!message.recipient.empty()) {
    name_tail_.Add(NameRole::kRecipient, message.recipient, entry);
  }
  if (!message.room.empty()) name_tail_.Add(NameRole::kRoom, message.room, entry);
  return ref;
}

void Log::AddStamp(const StoredMessage& message, Stamp stamp) {
  if (stamp == message.stamp) return;
  insert_place_.Bind(1, SqlStamp(std::max(stamp, message.stamp))).BindBlob(2, message.id.view());
  insert_place_.Bind(3, message.ref).Run();
  if (stamp < message.stamp) {
    lower_stamp_.Bind(1, SqlStamp(stamp)).Bind(2, message.ref).Run();
    unsettled_.insert(message.ref);
    MessageId id;
    Stamp ignored = 0;
    if (const auto moved = ReadMessage(message.ref, &id, &ignored)) {
      WriteNamesOf(message.ref, *moved, {stamp, message.id});
    }
  } else {
    mark_moved_.Bind(1, message.ref).Run();
  }
}

void Log::InsertRecord(int64_t epoch_ref, const Record& record, std::optional<int64_t> message_ref,
                       const std::optional<std::string>& payload) {
  Statement& insert = insert_record_;
  if (message_ref && *message_ref <= last_arrival_) record_tail_.NoteCopy(*message_ref);
  insert.Bind(1, ++last_arrival_).Bind(2, epoch_ref).Bind(3, static_cast<int64_t>(record.seq));
  insert.Bind(4, SqlStamp(record.stamp));
  if (message_ref) {
    insert.Bind(5, *message_ref).BindNull(6).BindNull(7);
  } else {
    insert.BindNull(5).BindText(6, record.kind).BindBlob(7, *payload);
  }
  insert.BindBlob(8, record.chain.view()).Run();
}

Log::Placed Log::PutNext(Record* record) {
  record->epoch = LiveEpoch();
  EpochState& state = Touch(record->epoch);
  const Placed placed{state.ref, state.head.chain};
  record->seq = state.head.seq + 1;
  record->chain = NextChain(state.head.chain, *record);
  state.head = {record->seq, record->chain};
  return placed;
}

Record Log::AppendOwn(const ValidMessage& message, Stamp stamp, int64_t message_ref) {
  Record record;
  record.stamp = stamp;
  record.digest = message.digest();
  const Placed placed = PutNext(&record);
  InsertRecord(placed.epoch_ref, record, message_ref, std::nullopt);
  record_tail_.Add({record, message.message(), std::nullopt, std::nullopt}, placed.chain_before,
                   message_ref);
  return record;
}

void Log::Announce(const Hash& digest, Stamp stamp, int64_t message_ref) {
  Record record;
  record.stamp = stamp;
  record.digest = digest;
  InsertRecord(PutNext(&record).epoch_ref, record, message_ref, std::nullopt);
}

void Log::AppendPayload(std::string_view kind, const std::string& payload) {
  Record record;
  record.kind = kind;
  record.stamp = clock_.Accept(std::nullopt);
  record.digest = Sha256(payload);
  InsertRecord(PutNext(&record).epoch_ref, record, std::nullopt, payload);
}

void Log::AppendSeals(const std::vector<SealedHead>& heads) {
  for (const SealedHead& sealed : heads) {
    const auto it = epochs_.find(sealed.epoch);
    if (!live_ || sealed.epoch.origin != live_->origin || sealed.epoch >= *live_ ||
        it == epochs_.end() || it->second.frozen || it->second.head != sealed.end) {
      continue;
    }
    const std::vector<Seal>& seals = seals_.Of(sealed.epoch);
    if (std::any_of(seals.begin(), seals.end(),
                    [&](const Seal& seal) { return seal.end == sealed.end; })) {
      continue;
    }
    AppendPayload(kSealKind, EncodeSeal(sealed));
    TouchSeals().Add(sealed, *live_, epochs_.at(*live_).head.seq);
  }
}

void Log::MarkShared(const std::vector<Seals::Place>& places) {
  for (const Seals::Place& place : places) TouchSeals().MarkShared(place);
}

// Its epoch waits until what it seals is here, on that branch.
Log::SealFit Log::FitOf(const SealedHead& sealed) {
  const auto it = epochs_.find(sealed.epoch);
  if (it == epochs_.end()) return SealFit::kWaits;
  const EpochState& state = it->second;
  if (state.frozen) return SealFit::kTaken;
  if (state.head.seq < sealed.end.seq) return SealFit::kWaits;
  Hash chain = state.head.chain;
  if (state.head.seq > sealed.end.seq) {
    Statement select(db_, "SELECT chain FROM records WHERE epoch=? AND seq=?");
    select.Bind(1, state.ref).Bind(2, static_cast<int64_t>(sealed.end.seq));
    if (!select.Step() || !Hash::FromBytes(select.Blob(0), &chain)) return SealFit::kWaits;
  }
  return chain == sealed.end.chain ? SealFit::kTaken : SealFit::kForked;
}

Appended Log::Append(const AppendItem& item) {
  const ValidMessage& message = item.message;
  if (!item.new_key) {
    if (const auto known = FindAndMend(message)) {
      return {Appended::Kind::kKnown, known->stamp, known->ref};
    }
    ScopedReset reset(find_by_key_);
    find_by_key_.BindText(1, message.message().key).BindText(2, message.message().sender);
    if (find_by_key_.Step()) return {Appended::Kind::kKeyReused, 0, 0};
  }
  const Stamp stamp = clock_.Accept(item.stamp);
  const int64_t ref = InsertMessage(message, stamp);
  Record record = AppendOwn(message, stamp, ref);
  return {Appended::Kind::kNew, stamp, ref, std::move(record.epoch), record.seq};
}

std::optional<Log::StoredMessage> Log::FindByDigest(const VerifiedRecord& verified,
                                                    int64_t* damaged_message) {
  *damaged_message = 0;
  const std::string_view digest_part = verified.record.digest.view().substr(0, 16);
  std::optional<StoredMessage> found;
  if (verified.id) {
    found = Find(*verified.id);
  } else {
    // A peer that does not say the id: rare, and the index holds nothing but ids.
    Statement scan(db_, "SELECT ref, stamp FROM messages WHERE substr(id, 7)=? LIMIT 1");
    scan.BindBlob(1, digest_part);
    if (scan.Step()) found = StoredMessage{scan.Int(0), StampFromSql(scan.Int(1)), {}};
  }
  if (!found) return std::nullopt;
  Stamp stamp = 0;
  const auto message = ReadSound(found->ref, &stamp);
  if (!message) *damaged_message = found->ref;
  if (!message || message->digest() != verified.record.digest) return std::nullopt;
  found->id = message->id();
  return found;
}

Applied Log::Apply(const VerifiedRun& run) {
  Applied applied;
  const auto known = epochs_.find(run.epoch);
  if (known != epochs_.end() && known->second.frozen) return applied;
  AbandonLiveEpoch(run.epoch);

  // Another peer may have brought a part of the run in the meantime: go on behind it.
  const Position head = known != epochs_.end()
                            ? known->second.head
                            : Position{0, ChainSeed(options_.cluster, run.epoch)};
  if (head.seq < run.base.seq) {
    applied.stopped = true;
    return applied;
  }
  const size_t skip = head.seq - run.base.seq;
  if (skip > run.records.size()) return applied;
  const Hash& meets = skip == 0 ? run.base.chain : run.records[skip - 1].record.chain;
  if (meets != head.chain) {
    applied.stopped = true;
    Freeze({run.epoch, head.seq});
    return applied;
  }
  if (skip == run.records.size()) return applied;

  const int64_t epoch_ref = Touch(run.epoch).ref;
  int64_t damaged_message = 0;
  std::optional<Fork> fork;
  Position last = head;
  for (auto it = run.records.begin() + static_cast<std::ptrdiff_t>(skip); it != run.records.end();
       ++it) {
    const Record& record = it->record;
    std::optional<int64_t> message_ref;
    if (it->message) {
      if (const auto stored = FindAndMend(*it->message)) {
        message_ref = stored->ref;
        AddStamp(*stored, record.stamp);
      } else {
        message_ref = InsertMessage(*it->message, record.stamp);
      }
    } else if (!it->payload) {
      const auto stored = FindByDigest(*it, &damaged_message);
      if (!stored) {
        spdlog::error("{} at {}: the peer left out a message that is {} here", ToText(run.epoch),
                      record.seq, damaged_message != 0 ? "damaged" : "not");
        applied.stopped = true;
        break;
      }
      message_ref = stored->ref;
      AddStamp(*stored, record.stamp);
    } else if (record.kind == kSealKind) {
      if (const auto sealed = DecodeSeal(run.epoch, *it->payload)) {
        const SealFit fit = FitOf(*sealed);
        if (fit == SealFit::kForked) fork = Fork{sealed->epoch, sealed->end.seq};
        if (fit != SealFit::kTaken) {
          applied.stopped = true;
          break;
        }
        TouchSeals().Add(*sealed, run.epoch, record.seq);
      }
    }
    InsertRecord(epoch_ref, record, message_ref, it->payload);
    clock_.Observe(record.stamp);
    last = {record.seq, record.chain};
    ++applied.records;
  }
  Touch(run.epoch).head = last;
  if (fork) Freeze(*fork);
  // With the heads lowered that vouch for it, the peer sends it whole.
  if (damaged_message != 0) RepairMessage(damaged_message);
  return applied;
}

std::optional<Message> Log::ReadMessage(int64_t ref, MessageId* id, Stamp* stamp) {
  ScopedReset reset(read_message_);
  read_message_.Bind(1, ref);
  if (!read_message_.Step() || !MessageId::FromBytes(read_message_.Blob(0), id))
    return std::nullopt;
  *stamp = StampFromSql(read_message_.Int(1));
  return MessageFromRow(read_message_, 2);
}

std::optional<ValidMessage> Log::ReadSound(int64_t ref, Stamp* stamp) {
  MessageId id;
  auto message = ReadMessage(ref, &id, stamp);
  if (!message) return std::nullopt;
  auto valid = Validate(std::move(*message));
  if (!valid || valid->id() != id) return std::nullopt;
  return std::move(*valid);
}

// Folding looks at every seal of a life of years, and hardly any commit changes what it comes to:
// then the heads that have moved since the last snapshot are all that differs.
void Log::FoldInto(LogState* state) const {
  std::vector<EpochKey> moved;
  bool anew = shown_ == nullptr || shown_->seals != state->seals;
  if (!anew) {
    auto before = shown_->heads.begin();
    for (const auto& [key, head] : state->heads) {
      const bool known = before != shown_->heads.end() && before->first == key;
      if (!known || before->second != head) moved.push_back(key);
      if (known) ++before;
    }
    // One that was there is not: each of the others has been passed.
    anew = before != shown_->heads.end() ||
           std::any_of(moved.begin(), moved.end(),
                       [&](const EpochKey& key) { return !seals_.Of(key).empty(); });
  }
  if (anew) return Fold(state);
  state->folded = shown_->folded;
  state->token = shown_->token;
  for (const EpochKey& key : moved) {
    const Position& head = state->heads.at(key);
    state->folded[key] = head;
    state->token[key] = {head.seq, head.chain.Prefix64()};
  }
}

LogStatePtr Log::Snapshot() {
  auto state = std::make_shared<LogState>();
  state->epochs = epochs_;
  for (const auto& [key, epoch] : epochs_) {
    if (epoch.frozen) {
      state->forks.push_back(key);
    } else if (epoch.head.seq > 0) {
      state->heads.emplace_hint(state->heads.end(), key, epoch.head);
    }
  }
  std::erase_if(given_up_, [&](const auto& each) {
    const auto it = epochs_.find(each.first);
    return it == epochs_.end() || it->second.frozen || it->second.head.seq >= each.second;
  });
  if (!shown_seals_) shown_seals_ = std::make_shared<const Seals>(seals_);
  state->seals = shown_seals_;
  FoldInto(state.get());
  for (const auto& [key, seq] : given_up_) state->damaged.push_back({key, seq});
  state->live = live_;
  state->id_runs_twice = id_runs_twice_;
  state->last_message_ref = last_arrival_;
  state->messages = messages_;
  state->version = version_;
  shown_ = state;
  return state;
}

}  // namespace chatchain
