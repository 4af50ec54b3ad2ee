// SPDX-License-Identifier: MIT
// The feed's side of the reader: records in the order of their arrival.
#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "common/protocol/filter.h"
#include "node/store/log.h"
#include "node/store/reader.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

// Records that one page passes at most, whether or not they are given: filters may leave out all.
constexpr size_t kMaxPassed = 5000;

struct EpochOfRef {
  const EpochKey* key = nullptr;
  const LogState::EpochState* state = nullptr;
  // What of it the position covers cannot be told: it is not named, and a seal of it may lie in
  // what is not here yet. Nothing of it is given until that has come.
  bool held_back = false;
};

// The greatest epoch of each origin of which the position goes beyond `state`.
std::map<std::string, Epoch> BeyondOf(const TokenVector& position, const LogState& state) {
  std::map<std::string, Epoch> beyond;
  for (const auto& [key, mark] : position) {
    const auto it = state.epochs.find(key);
    if (it == state.epochs.end() ? mark.seq > 0
                                 : !it->second.frozen && it->second.head.seq < mark.seq) {
      Epoch& greatest = beyond[key.origin];
      greatest = std::max(greatest, key.epoch);
    }
  }
  return beyond;
}

}  // namespace

// The arrival of the earliest record that is not covered; none where all are.
std::optional<int64_t> ReadConnection::FirstUncovered(const Coverage& covered,
                                                      const std::set<int64_t>& held_back,
                                                      const LogState& state) {
  Statement& select = Cached("SELECT arrival FROM records WHERE epoch=? AND seq=?");
  std::optional<int64_t> first;
  for (const auto& [key, head] : state.heads) {
    const int64_t ref = state.epochs.at(key).ref;
    const auto it = covered.up_to.find(ref);
    const Seq up_to = it == covered.up_to.end() ? 0 : it->second;
    if (up_to >= head.seq || held_back.count(ref) > 0) continue;
    ScopedReset reset(select);
    select.Bind(1, ref).Bind(2, static_cast<int64_t>(up_to + 1));
    if (!select.Step()) continue;
    if (!first || select.Int(0) < *first) first = select.Int(0);
  }
  return first;
}

// What the record at `seq` follows; nothing where that cannot be read.
std::optional<Hash> ReadConnection::ChainBefore(const EpochKey& key, int64_t epoch_ref, Seq seq) {
  if (seq == 1) {
    Statement& cluster = Cached("SELECT value FROM meta WHERE name='cluster'");
    ScopedReset reset(cluster);
    if (!cluster.Step()) return std::nullopt;
    return ChainSeed(cluster.Text(0), key);
  }
  Statement& select = Cached("SELECT chain FROM records WHERE epoch=? AND seq=?");
  ScopedReset reset(select);
  select.Bind(1, epoch_ref).Bind(2, static_cast<int64_t>(seq - 1));
  Hash chain;
  if (!select.Step() || !Hash::FromBytes(select.Blob(0), &chain)) return std::nullopt;
  return chain;
}

ReadFeedPage ReadConnection::ReadFeed(const FeedQuery& query, const LogState& state) {
  ReadFeedPage result;
  FeedPage& page = result.page;
  Coverage covered = MakeCoverage(*query.after, state);
  std::unordered_map<int64_t, EpochOfRef> epochs;
  std::set<int64_t> held_back;
  const std::map<std::string, Epoch> beyond = BeyondOf(*query.after, state);
  for (const auto& [key, epoch] : state.epochs) {
    const auto greatest = beyond.find(key.origin);
    const bool held = query.hold_back && greatest != beyond.end() && key.epoch < greatest->second &&
                      query.after->count(key) == 0;
    if (held) held_back.insert(epoch.ref);
    epochs[epoch.ref] = {&key, &epoch, held};
    // On which branch of a fork the token stands beyond our end cannot be told.
    const auto it = covered.up_to.find(epoch.ref);
    if (epoch.frozen && it != covered.up_to.end() && it->second > epoch.head.seq) {
      covered.up_to.erase(it);
    }
  }
  const auto first = FirstUncovered(covered, held_back, state);
  if (!first) return result;

  // Bodies are read one by one: most of a page may be covered, or known by another record.
  Statement& records = Cached(
      "SELECT arrival, epoch, seq, message, chain, stamp FROM records WHERE arrival>=? ORDER BY "
      "arrival");
  static const std::string kOthers = RecordsOfMessageSql("epoch, seq");
  Statement& others = Cached(kOthers);
  Statement& bodies = Cached(
      "SELECT id, stamp, sender, recipient, room, text, timestamp, key, moved FROM messages WHERE "
      "ref=?");
  std::optional<int64_t> new_above_ref = query.new_above_ref;
  const auto known_by_another = [&](int64_t message_ref) {
    if (new_above_ref) {
      if (message_ref <= *new_above_ref) return true;
      // Messages are numbered in the order of their first records: another one may follow here.
      new_above_ref = message_ref;
      return false;
    }
    ScopedReset reset(others);
    others.Bind(1, message_ref);
    while (others.Step()) {
      if (covered.Covers(others.Int(0), static_cast<Seq>(others.Int(1)))) return true;
    }
    return false;
  };

  ScopedReset reset(records);
  records.Bind(1, *first);
  size_t passed = 0;
  size_t bytes = 0;
  while (records.Step()) {
    const auto epoch = epochs.find(records.Int(1));
    const Seq seq = static_cast<Seq>(records.Int(2));
    // Committed after `state`, and so is all that follows.
    if (epoch == epochs.end() || seq > epoch->second.state->head.seq) break;
    if (epoch->second.state->frozen || epoch->second.held_back ||
        covered.Covers(epoch->first, seq)) {
      continue;
    }
    if (passed == kMaxPassed || page.items.size() == query.max_items || bytes >= query.max_bytes) {
      page.more = true;
      break;
    }
    const EpochKey& key = *epoch->second.key;
    Hash chain;
    Hash::FromBytes(records.Blob(4), &chain);  // zeros, which match nothing, where it is malformed
    std::optional<ShownMessage> shown;
    const int64_t message_ref = records.IsNull(3) ? 0 : records.Int(3);
    if (message_ref != 0 && !known_by_another(message_ref)) {
      ScopedReset reset_body(bodies);
      bodies.Bind(1, message_ref);
      shown.emplace();
      const bool found = bodies.Step() && MessageId::FromBytes(bodies.Blob(0), &shown->id);
      if (found) {
        shown->stamp = StampFromSql(bodies.Int(1));
        shown->message = MessageFromRow(bodies, 2);
        result.moved = result.moved || bodies.Int(8) != 0;
      }
      std::optional<Damage> damage;
      if (!found || IdOf(shown->message) != shown->id) {
        damage = Damage{message_ref};
      } else {
        // The position after it goes to a client: it must be one.
        Record record;
        record.epoch = key;
        record.seq = seq;
        record.stamp = StampFromSql(records.Int(5));
        record.digest = Sha256(CanonicalBytes(shown->message));
        const auto before = ChainBefore(key, epoch->first, seq);
        if (!before || NextChain(*before, record) != chain) {
          damage = Damage{message_ref, CorruptRecord{key, seq}};
        }
      }
      if (damage) {
        page.more = !page.items.empty();  // what was read so far first
        if (!page.more) result.damage = damage;
        return result;
      }
      if (!Matches(*query.filter, shown->message, shown->stamp)) shown.reset();
    }
    covered.up_to[epoch->first] = seq;
    page.moved[key] = {seq, chain.Prefix64()};
    ++passed;
    if (shown) {
      bytes += shown->message.text.size();
      page.items.push_back({std::move(*shown), message_ref, std::move(page.moved)});
      page.moved.clear();
    }
  }
  return result;
}

}  // namespace chatchain
