// SPDX-License-Identifier: MIT
// The write side of the store: the replicated log and the message table, changed in transactions.
// Knows no threads and no queue; see writer.h. All calls belong to one thread. Failures of the
// database are thrown as SqliteError; the transaction must then be rolled back.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/protocol/hlc.h"
#include "common/protocol/json.h"
#include "common/protocol/record.h"
#include "common/util/random.h"
#include "node/service/storage.h"
#include "node/store/name_table.h"
#include "node/store/name_tail.h"
#include "node/store/record_tail.h"
#include "node/store/sqlite.h"
#include "node/sync/log_reader.h"
#include "node/sync/verify.h"

namespace chatchain {

struct Applied {
  size_t records = 0;
  bool stopped = false;  // not the whole run could be taken; a later round brings the rest
};

class Log {
 public:
  struct Options {
    std::string cluster;
    std::string node_id;
    NameTail::Options name_tail;
    NameTable::Options name_table;
    RecordTail::Options record_tail;
  };

  // Reads the heads and mends what a crash of ours cannot have left, but a flipped bit can.
  // `db`, `clock` and `random` must outlive it.
  Log(Database& db, Options options, Hlc& clock, Random& random);

  void Begin();
  bool Commit();  // durable when it returns; true: something was written
  // As if nothing since Begin() had been called; harmless after a Begin() that failed, and after
  // Commit().
  void Rollback();
  // A transaction of its own: puts what waits in memory into the tables, so that the next start
  // finds nothing to read again.
  void Flush();

  // REQUIRES, all below: between Begin() and Commit().

  // Stores a message in our own log, unless it is known.
  Appended Append(const AppendItem& item);

  // Takes what continues the heads here. A run that has another chain at our head is a fork:
  // Freeze().
  Applied Apply(const VerifiedRun& run);

  // Seals epochs of our own, in the live one; as many as still are what the plan says.
  void AppendSeals(const std::vector<SealedHead>& heads);
  // Those are known to be shared from now on, as long as this process lives.
  void MarkShared(const std::vector<Seals::Place>& places);

  // Does what each of them asks for.
  void Heed(const Findings& findings);

  // Freezes an epoch of which two branches exist and announces its messages anew where nothing else
  // vouches for them. Does nothing when it is frozen already, or when the fork was seen above our
  // head: that head has been lowered since. A difference that our own damage explains is repaired
  // instead. An epoch of which nothing is held is frozen as well: a seal may name it.
  void Freeze(const Fork& fork);

  // Lowers every head that vouches for the damaged record, so that it is pulled again; announces
  // intact messages that this uncovers. Does nothing where nothing is damaged (any more).
  void Repair(const CorruptRecord& corrupt);
  // The same for a stored message that does not match its id, whether or not a record names it.
  void RepairMessage(int64_t message_ref);

  // If `epoch` is the live one, the next append begins a new epoch: another process writes it.
  void AbandonLiveEpoch(const EpochKey& epoch);
  // Another process runs under our id, with epochs of its own so far.
  void NoteTwin();

  // The counter of the next epoch will be above this.
  void NoteCounter(uint32_t counter);

  // REQUIRES: outside of a transaction.
  LogStatePtr Snapshot();

  // For readers: what the index by name lacks in its table.
  const NameTail& name_tail() const { return name_tail_; }
  // For those that answer peers.
  const RecordTail& record_tail() const { return record_tail_; }

  uint64_t repaired_records() const { return repaired_records_; }

 private:
  using EpochState = LogState::EpochState;

  struct StoredMessage {
    int64_t ref = 0;
    Stamp stamp = 0;  // its smallest
    MessageId id;
  };

  void LoadEpochs();
  void LoadSeals();
  void FoldInto(LogState* state) const;
  void LoadNameTail();
  void ForgetUndo() noexcept;
  // What a repair still has to settle.
  struct Loose {
    std::vector<int64_t> damaged;    // messages: to be removed, with all that vouches for them
    std::vector<int64_t> uncovered;  // messages that may have lost their last record
    bool orphans = false;            // so may messages that nothing here names
  };

  bool HeadIsLast(const EpochKey& key, EpochState* state);
  EpochState& Touch(const EpochKey& key);  // creates; remembers the state for Rollback()
  void WriteTouched();
  void WriteNames(std::vector<NameTail::Run> runs);
  void MarkNames();
  void WriteNamesMark(int64_t mark);
  // At once, past the tail.
  void WriteNamesOf(int64_t ref, const Message& message, const Place& place);
  const EpochKey& LiveEpoch();  // begins one where there is none

  std::optional<StoredMessage> Find(const MessageId& id);
  // The stored copy of `message`; one that was damaged is whole again.
  std::optional<StoredMessage> FindAndMend(const ValidMessage& message);
  // `damaged_message`: the copy that was meant, where it does not match its id; else 0.
  std::optional<StoredMessage> FindByDigest(const VerifiedRecord& record, int64_t* damaged_message);
  int64_t InsertMessage(const ValidMessage& message, Stamp stamp);
  void AddStamp(const StoredMessage& message, Stamp stamp);
  void InsertRecord(int64_t epoch_ref, const Record& record, std::optional<int64_t> message_ref,
                    const std::optional<std::string>& payload);
  struct Placed {
    int64_t epoch_ref = 0;
    Hash chain_before;
  };
  // Makes `record` the next one of the live epoch: gives it its position and chain.
  Placed PutNext(Record* record);
  // A message that is new here; the record.
  Record AppendOwn(const ValidMessage& message, Stamp stamp, int64_t message_ref);
  // One that is stored.
  void Announce(const Hash& digest, Stamp stamp, int64_t message_ref);
  void AppendPayload(std::string_view kind, const std::string& payload);
  // Of a seal that a run brings.
  enum class SealFit { kTaken, kWaits, kForked };
  SealFit FitOf(const SealedHead& sealed);
  // As they are from now on; Rollback() takes it back.
  Seals& TouchSeals();
  void LowerHead(const EpochKey& key, Seq damaged, Loose* loose);
  void LowerHeadOnce(const EpochKey& key, Seq damaged, Loose* loose);
  // Lowers what holds a seal of `key` beyond its head.
  void LowerSealing(const EpochKey& key, Loose* loose);
  void RemoveMessage(int64_t ref, Loose* loose);
  void Settle(Loose loose);
  void MendHeads(const std::vector<EpochKey>& doubtful);
  // The message, if it matches its id.
  std::optional<ValidMessage> ReadSound(int64_t ref, Stamp* stamp);
  bool RecordIsSound(const EpochKey& key, Seq seq, int64_t* damaged_message);
  std::optional<Message> ReadMessage(int64_t ref, MessageId* id, Stamp* stamp);

  Database& db_;
  const Options options_;
  Hlc& clock_;
  Random& random_;

  std::map<EpochKey, EpochState> epochs_;
  std::optional<EpochKey> live_;
  std::vector<std::pair<EpochKey, std::optional<EpochState>>> undo_;  // first touch first
  std::optional<EpochKey> undo_live_;
  uint32_t highest_counter_ = 0;
  int64_t last_epoch_ref_ = 0;
  int64_t last_arrival_ = 0;
  int64_t messages_ = 0;
  int64_t undo_arrival_ = 0;
  int64_t undo_messages_ = 0;
  int64_t changes_at_begin_ = 0;
  bool id_runs_twice_ = false;
  uint64_t version_ = 0;
  uint64_t repaired_records_ = 0;
  std::map<EpochKey, Seq> given_up_;  // see LogState::damaged; some of it may be back

  Seals seals_;  // in epochs that are not frozen
  std::optional<Seals> undo_seals_;
  std::shared_ptr<const Seals> shown_seals_;  // a copy for readers; null after a change
  LogStatePtr shown_;                         // the last snapshot

  NameTail name_tail_;
  NameTable name_table_;
  int64_t names_mark_ = 0;  // NameTail::complete_up_to(), as it is stored
  int64_t undo_names_mark_ = 0;
  // Messages that were moved, mended or removed while the tail may hold entries of them.
  std::set<int64_t> unsettled_;

  RecordTail record_tail_;

  Statement begin_;
  Statement commit_;
  Statement find_by_id_;
  Statement find_by_key_;
  Statement insert_message_;
  Statement insert_record_;
  Statement insert_place_;
  Statement lower_stamp_;
  Statement mark_moved_;
  Statement insert_epoch_;
  Statement update_epoch_;
  Statement read_message_;
  Statement read_last_;
  Statement read_with_previous_;
};

// Reads `ref`'s columns as `sender, recipient, room, text, timestamp, key` starting at `column`.
Message MessageFromRow(const Statement& row, int column);

}  // namespace chatchain
