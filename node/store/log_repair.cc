// SPDX-License-Identifier: MIT
// The log's answer to what must not be: records that do not match their chain, heads that differ
// from their records, epochs of which two branches exist. A head is lowered below what is damaged,
// a forked epoch is frozen, and intact messages that nothing vouches for any more are announced
// anew.
#include <algorithm>

#include "common/util/log.h"
#include "node/store/log.h"
#include "node/store/schema.h"

namespace chatchain {

void Log::Heed(const Findings& findings) {
  if (findings.twin) NoteTwin();
  NoteCounter(findings.own_counter);
  if (findings.taken_epoch) AbandonLiveEpoch(*findings.taken_epoch);
  for (const Fork& fork : findings.forked) Freeze(fork);
  for (const CorruptRecord& corrupt : findings.corrupt) Repair(corrupt);
}

// A head is written in the transaction of its records, so the two can only differ by damage. What
// the records say is taken over then; false.
bool Log::HeadIsLast(const EpochKey& key, EpochState* state) {
  ScopedReset reset(read_last_);
  read_last_.Bind(1, state->ref);
  Position found{0, ChainSeed(options_.cluster, key)};
  if (read_last_.Step()) {
    found.seq = static_cast<Seq>(read_last_.Int(0));
    Hash::FromBytes(read_last_.Blob(1), &found.chain);
  }
  if (found == state->head) return true;
  spdlog::error("the head of {} says {}, its records end at {}: the records are checked",
                ToText(key), state->head.seq, found.seq);
  state->head = found;
  return false;
}

// A damaged last record must not become a head: to peers it would look like a branch.
void Log::MendHeads(const std::vector<EpochKey>& doubtful) {
  Begin();
  try {
    for (const EpochKey& key : doubtful) {
      Touch(key);
      const Position found = epochs_.at(key).head;
      if (found.seq > 0) Repair({key, found.seq});
      Loose loose{.damaged = {}, .uncovered = {}, .orphans = true};
      LowerSealing(key, &loose);
      Settle(std::move(loose));
      const EpochState& state = epochs_.at(key);
      update_epoch_.Bind(1, static_cast<int64_t>(state.head.seq))
          .BindBlob(2, state.head.chain.view());
      update_epoch_.Bind(3, state.frozen ? 1 : 0).Bind(4, state.ref).Run();
    }
    Commit();
  } catch (...) {
    Rollback();
    throw;
  }
}

bool Log::RecordIsSound(const EpochKey& key, Seq seq, int64_t* damaged_message) {
  *damaged_message = 0;
  Statement& select = read_with_previous_;
  ScopedReset reset(select);
  select.Bind(1, epochs_.at(key).ref).Bind(2, static_cast<int64_t>(seq) - 1);
  select.Bind(3, static_cast<int64_t>(seq));
  Hash previous = ChainSeed(options_.cluster, key);
  while (select.Step()) {
    Hash chain;
    if (!Hash::FromBytes(select.Blob(5), &chain)) return false;
    if (static_cast<Seq>(select.Int(0)) < seq) {
      previous = chain;
      continue;
    }
    Record record;
    record.epoch = key;
    record.seq = seq;
    record.stamp = StampFromSql(select.Int(1));
    if (select.IsNull(2)) {
      record.kind = select.Text(3);
      record.digest = Sha256(select.Blob(4));
    } else {
      Stamp stamp = 0;
      const auto valid = ReadSound(select.Int(2), &stamp);
      if (!valid) {
        *damaged_message = select.Int(2);
        return false;
      }
      record.digest = valid->digest();
    }
    return NextChain(previous, record) == chain;
  }
  return false;
}

void Log::Repair(const CorruptRecord& corrupt) {
  const auto it = epochs_.find(corrupt.epoch);
  if (it == epochs_.end() || corrupt.seq == 0 || corrupt.seq > it->second.head.seq) return;
  int64_t damaged_message = 0;
  if (RecordIsSound(corrupt.epoch, corrupt.seq, &damaged_message)) return;  // repaired meanwhile
  Loose loose;
  if (damaged_message != 0) loose.damaged.push_back(damaged_message);
  LowerHead(corrupt.epoch, corrupt.seq, &loose);
  Settle(std::move(loose));
}

void Log::RepairMessage(int64_t message_ref) {
  Stamp stamp = 0;
  if (ReadSound(message_ref, &stamp)) return;
  Settle({.damaged = {message_ref}, .uncovered = {}});
}

// Takes `damaged` and all above it out of the epoch, and further down what does not hold as a head.
// A seal goes, with all above it, when what it seals does: vectors that cover it would mean records
// that nobody may have any more, and its epoch could not be taken by anybody else.
void Log::LowerHead(const EpochKey& key, Seq damaged, Loose* loose) {
  LowerHeadOnce(key, damaged, loose);
  LowerSealing(key, loose);
}

void Log::LowerSealing(const EpochKey& key, Loose* loose) {
  std::vector<EpochKey> lowered = {key};
  while (!lowered.empty()) {
    const EpochKey lower = std::move(lowered.back());
    lowered.pop_back();
    const EpochState& state = epochs_.at(lower);
    if (state.frozen) continue;
    // Each of them leaves seals_.
    for (const Seal& seal : std::vector<Seal>(seals_.Of(lower))) {
      if (seal.end.seq <= state.head.seq) continue;
      LowerHeadOnce(seal.in, seal.at, loose);
      lowered.push_back(seal.in);
    }
  }
}

void Log::LowerHeadOnce(const EpochKey& key, Seq damaged, Loose* loose) {
  if (live_ == key) live_.reset();
  record_tail_.Forget(key);
  EpochState& state = Touch(key);
  if (state.head.seq < damaged) return;
  // Records that are damaged or gone do not say (truly) which messages they were for.
  loose->orphans = true;
  Statement above(db_,
                  "SELECT DISTINCT message FROM records WHERE epoch=? AND seq>=? AND message IS "
                  "NOT NULL ORDER BY seq");
  Statement remove(db_, "DELETE FROM records WHERE epoch=? AND seq>=?");
  Statement last(db_, "SELECT seq, chain FROM records WHERE epoch=? ORDER BY seq DESC LIMIT 1");
  Seq from = damaged;
  while (true) {
    above.Bind(1, state.ref).Bind(2, static_cast<int64_t>(from));
    while (above.Step()) loose->uncovered.push_back(above.Int(0));
    above.Reset();
    remove.Bind(1, state.ref).Bind(2, static_cast<int64_t>(from)).Run();
    state.head = {0, ChainSeed(options_.cluster, key)};
    last.Bind(1, state.ref);
    if (last.Step()) {
      state.head.seq = static_cast<Seq>(last.Int(0));
      Hash::FromBytes(last.Blob(1), &state.head.chain);
    }
    last.Reset();
    // The new head must hold: nothing could follow a damaged one, and peers would take it for a
    // branch.
    int64_t damaged_message = 0;
    if (state.head.seq == 0 || RecordIsSound(key, state.head.seq, &damaged_message)) break;
    if (damaged_message != 0) loose->damaged.push_back(damaged_message);
    from = state.head.seq;
  }
  TouchSeals().RemoveAbove(key, state.head.seq);
  spdlog::error(
      "the record {} at {} is damaged on disk: its head goes back to {} and it is fetched "
      "again from a peer",
      ToText(key), damaged, state.head.seq);
  ++repaired_records_;
  const auto [first, is_first] = given_up_.emplace(key, state.head.seq + 1);
  if (!is_first) first->second = std::min(first->second, state.head.seq + 1);
}

// A damaged body takes every record of that message with it.
void Log::RemoveMessage(int64_t ref, Loose* loose) {
  std::vector<std::pair<int64_t, Seq>> positions;
  Statement select(db_, "SELECT epoch, min(seq) FROM (" + RecordsOfMessageSql("epoch, seq") +
                            ") GROUP BY epoch");
  select.Bind(1, ref);
  while (select.Step()) positions.emplace_back(select.Int(0), static_cast<Seq>(select.Int(1)));
  select.Reset();
  for (const auto& [epoch_ref, seq] : positions) {
    const auto epoch =
        std::find_if(epochs_.begin(), epochs_.end(),
                     [&, at = epoch_ref](const auto& each) { return each.second.ref == at; });
    if (epoch != epochs_.end()) LowerHead(EpochKey(epoch->first), seq, loose);
  }
  Statement places(db_, "DELETE FROM places WHERE message=?");
  places.Bind(1, ref).Run();
  Statement remove(db_, "DELETE FROM messages WHERE ref=?");
  remove.Bind(1, ref).Run();
  messages_ -= sqlite3_changes(db_.handle());
  unsettled_.insert(ref);
}

// Removes what is damaged; announces in our log, under the stamp that they have, the messages that
// no unfrozen epoch of any log vouches for any more. One may turn out to be damaged itself.
void Log::Settle(Loose loose) {
  Statement covered(db_, "SELECT 1 FROM (" + RecordsOfMessageSql("epoch") +
                             ") r JOIN epochs e ON e.ref=r.epoch WHERE e.frozen=0 LIMIT 1");
  while (!loose.damaged.empty() || !loose.uncovered.empty() || loose.orphans) {
    if (loose.orphans) {
      loose.orphans = false;
      Statement orphans(
          db_,
          "SELECT ref FROM messages m WHERE NOT EXISTS (SELECT 1 FROM records r JOIN epochs e ON "
          "e.ref=r.epoch WHERE r.arrival=m.ref AND r.message=m.ref AND e.frozen=0) AND NOT EXISTS "
          "(SELECT 1 FROM records r INDEXED BY records_by_message JOIN epochs e ON e.ref=r.epoch "
          "WHERE r.message=m.ref AND r.message IS NOT NULL AND r.message<>r.arrival AND "
          "e.frozen=0)");
      while (orphans.Step()) loose.uncovered.push_back(orphans.Int(0));
    }
    while (!loose.damaged.empty()) {
      const int64_t ref = loose.damaged.back();
      loose.damaged.pop_back();
      RemoveMessage(ref, &loose);
      std::erase(loose.uncovered, ref);
    }
    std::vector<int64_t> uncovered;
    uncovered.swap(loose.uncovered);
    for (const int64_t ref : uncovered) {
      {
        ScopedReset reset(covered);
        covered.Bind(1, ref);
        if (covered.Step()) continue;
      }
      Stamp stamp = 0;
      if (const auto message = ReadSound(ref, &stamp)) {
        Announce(message->digest(), stamp, ref);
      } else {
        loose.damaged.push_back(ref);
      }
    }
  }
}

void Log::Freeze(const Fork& fork) {
  const auto it = epochs_.find(fork.epoch);
  if (it == epochs_.end()) {
    if (fork.seen_at != 0) return;
    spdlog::error("the epoch {}, of which nothing is here, is forked (a peer says): it is frozen",
                  ToText(fork.epoch));
    Touch(fork.epoch).frozen = true;
    return;
  }
  if (it->second.frozen || fork.seen_at > it->second.head.seq) return;
  int64_t damaged_message = 0;
  if (fork.seen_at != 0 && !RecordIsSound(fork.epoch, fork.seen_at, &damaged_message)) {
    Repair({fork.epoch, fork.seen_at});
    return;
  }
  spdlog::error("the epoch {} is forked{}: it is frozen, its messages are announced anew",
                ToText(fork.epoch),
                fork.seen_at == 0 ? std::string(" (a peer says)")
                                  : " at or before " + std::to_string(fork.seen_at));
  AbandonLiveEpoch(fork.epoch);
  EpochState& state = Touch(fork.epoch);
  state.frozen = true;
  // Its seals count no more: vectors do not name it, and so cannot cover them.
  TouchSeals().RemoveAbove(fork.epoch, 0);
  // Settle() reads the flag from the table.
  update_epoch_.Bind(1, static_cast<int64_t>(state.head.seq)).BindBlob(2, state.head.chain.view());
  update_epoch_.Bind(3, 1).Bind(4, state.ref).Run();
  Loose loose;
  Statement all(db_,
                "SELECT DISTINCT message FROM records WHERE epoch=? AND message IS NOT NULL "
                "ORDER BY seq");
  all.Bind(1, state.ref);
  while (all.Step()) loose.uncovered.push_back(all.Int(0));
  Settle(std::move(loose));
}

}  // namespace chatchain
