// SPDX-License-Identifier: MIT
#include "node/sync/serve.h"

#include <algorithm>
#include <map>
#include <set>

namespace chatchain {

namespace {

// What a puller has of an epoch of ours. kDamaged: our own record there cannot be read, or does not
// match its chain, so there is nothing to compare with.
enum class Holding { kNothing, kPrefix, kAll, kAhead, kForked, kDamaged };

// Whether our record at `seq` follows from the one before it.
bool IsSound(const EpochKey& key, Seq seq, const Hash& seed, LogReader& reader) {
  const std::optional<Hash> before = seq == 1 ? std::optional(seed) : reader.ChainAt(key, seq - 1);
  bool sound = false;
  reader.ReadRecords(key, seq, seq, [&](StoredRecord&& stored) {
    const Record& record = stored.wire.record;
    sound = before && NextChain(*before, record) == record.chain;
    return false;
  });
  return sound;
}

Holding Compare(const HeadVector& have, const EpochKey& key, const Position& mine,
                std::string_view cluster, LogReader& reader) {
  const auto it = have.find(key);
  if (it == have.end()) return Holding::kNothing;
  const Position& theirs = it->second;
  if (theirs.seq > mine.seq) return Holding::kAhead;
  const std::optional<Hash> chain =
      theirs.seq == mine.seq ? mine.chain : reader.ChainAt(key, theirs.seq);
  if (chain == theirs.chain) return theirs.seq == mine.seq ? Holding::kAll : Holding::kPrefix;
  // A flipped bit of ours must not look like a branch of theirs: freezing spreads, and is for ever.
  const bool sound = chain && IsSound(key, theirs.seq, ChainSeed(cluster, key), reader);
  return sound ? Holding::kForked : Holding::kDamaged;
}

// Where the answer goes on: behind what the puller is just writing, if that is ours too.
Position StartOf(const SyncRequest& request, const EpochKey& key, const Position& held,
                 const Position& mine, LogReader& reader) {
  const auto it = request.ahead.find(key);
  if (it == request.ahead.end()) return held;
  const Position& ahead = it->second;
  if (ahead.seq <= held.seq || ahead.seq > mine.seq) return held;
  const std::optional<Hash> chain =
      ahead.seq == mine.seq ? mine.chain : reader.ChainAt(key, ahead.seq);
  return chain == ahead.chain ? ahead : held;
}

bool HasOtherCopy(const HeadVector& holds, const StoredRecord& stored, const EpochKey& own_epoch,
                  LogReader& reader) {
  if (stored.message_ref == 0) return false;
  for (const auto& [key, seq] : reader.PositionsOf(stored.message_ref)) {
    if (key != own_epoch && Covers(holds, key, seq)) return true;
  }
  return false;
}

// An epoch of which the puller lacks something, and its part of the page.
struct Wanted {
  const EpochKey* key = nullptr;
  Position held;
  Seq head = 0;      // of what the puller can take
  size_t share = 0;  // records
  Seq sent = 0;      // the last one; 0: none
};

// Divides a page among epochs: each gets what it needs, as long as that is no more than its equal
// part of the rest. So an epoch that the puller cannot take, for whatever reason, never fills the
// page.
void DivideEvenly(size_t limit, std::vector<Wanted>* wanted) {
  std::vector<Wanted*> smallest_first;
  smallest_first.reserve(wanted->size());
  for (Wanted& each : *wanted) smallest_first.push_back(&each);
  std::stable_sort(smallest_first.begin(), smallest_first.end(), [](const auto* a, const auto* b) {
    return a->head - a->held.seq < b->head - b->held.seq;
  });
  size_t left = smallest_first.size();
  for (Wanted* each : smallest_first) {
    const size_t equal_part = (limit + left - 1) / left;
    each->share = static_cast<size_t>(std::min<uint64_t>(each->head - each->held.seq, equal_part));
    limit -= each->share;
    --left;
  }
}

// Appends the records of one epoch after `held`, checking each against the chain, up to its share
// and until `bytes_end` is reached. False when some had to be left for the next page.
bool AppendEpoch(const SyncRequest& request, Wanted& wanted, size_t bytes_end, const Hash& seed,
                 LogReader& reader, Served* served) {
  const EpochKey& key = *wanted.key;
  const Position start{wanted.held.seq, wanted.held.seq == 0 ? seed : wanted.held.chain};
  const Seq last = start.seq + wanted.share;
  if (wanted.share == 0) return last == wanted.head;
  Seq expected = start.seq;
  bool full = last < wanted.head;
  bool corrupt = false;
  const auto has_room = [&] {
    // Something of each epoch, as long as the whole page has room.
    const size_t end = expected == start.seq ? request.max_bytes : bytes_end;
    const bool room = served->records == 0 || served->records_json.size() < end;
    full = full || !room;
    return room;
  };
  const auto begin_record = [&]() -> std::string* {
    if (served->records > 0) served->records_json += ',';
    ++served->records;
    wanted.sent = ++expected;
    return &served->records_json;
  };
  bool room = true;
  Hash chain = reader
                   .ReadRecent(key, start, last,
                               [&](std::string_view json) {
                                 room = has_room();
                                 if (room) begin_record()->append(json);
                                 return room;
                               })
                   .chain;
  if (!room || expected == last) return !full;
  reader.ReadRecords(key, expected + 1, last, [&](StoredRecord&& stored) {
    if (!has_room()) return false;
    Record& record = stored.wire.record;
    if (record.seq != expected + 1 || NextChain(chain, record) != record.chain) {
      corrupt = true;
      return false;
    }
    chain = record.chain;
    if (HasOtherCopy(served->holds, stored, key, reader)) {
      stored.wire.message.reset();
    } else {
      stored.wire.id.reset();
    }
    AppendWireRecord(begin_record(), stored.wire);
    return expected < last;
  });
  if (corrupt || (!full && expected != wanted.head)) {
    served->findings.corrupt.push_back({key, expected + 1});  // or the row is missing
    return true;
  }
  return !full;
}

std::vector<std::pair<LogPosition, Hash>> ChainsAt(const std::vector<LogPosition>& positions,
                                                   const LogState& state, LogReader& reader) {
  std::vector<std::pair<LogPosition, Hash>> chains;
  for (const LogPosition& position : positions) {
    const auto it = state.epochs.find(position.epoch);
    // Above the head there may be records that nobody is shown yet.
    if (it == state.epochs.end() || position.seq > it->second.head.seq) continue;
    if (const auto chain = reader.ChainAt(position.epoch, position.seq)) {
      chains.emplace_back(position, *chain);
    }
  }
  return chains;
}

// What the puller has, as it says it: named, or meant by the seals that stand in what it names.
struct Have {
  HeadVector says;
  std::map<EpochKey, Holding> compared;  // of what it names
  HeadVector proven;                     // of `says`: what counts as held by it
};

Have ReadHave(const SyncRequest& request, const std::set<EpochKey>& refused,
              const ServeContext& context) {
  Have have;
  HeadVector ours;  // what it names and does not seem to have on another branch
  for (const auto& [key, theirs] : request.have) {
    const auto mine = context.state.heads.find(key);
    if (mine == context.state.heads.end() || refused.count(key) > 0) continue;
    const Holding holding =
        Compare(request.have, key, mine->second, context.cluster, context.reader);
    have.compared.emplace(key, holding);
    if (holding == Holding::kForked || holding == Holding::kDamaged) continue;
    ours.emplace(key, theirs);
    // Of our own origin, nobody should be ahead of us: what they hold may be another branch.
    if (holding != Holding::kAhead || key.origin != context.node_id) {
      have.proven.emplace(key, theirs);
    }
  }
  const auto unfold = [&](const HeadVector& named) {
    HeadVector whole = Unfold(named, *context.state.seals);
    std::erase_if(whole, [&](const auto& entry) {
      return named.count(entry.first) == 0 && request.have.count(entry.first) > 0;
    });
    return whole;
  };
  have.says = unfold(ours);
  have.proven = have.proven.size() == ours.size() ? have.says : unfold(have.proven);
  for (const auto& [key, theirs] : request.have) have.says[key] = theirs;
  return have;
}

using Reached = std::map<EpochKey, Seq>;

// How far the puller can take `key` behind `from`: a seal is taken only where the epoch is held
// that it seals, or where that is frozen. `reached`: what it will hold beyond what it says.
Seq TakeableUpTo(const EpochKey& key, Seq from, Seq to, const Have& have, const Reached& reached,
                 const std::set<EpochKey>& refused, const LogState& state) {
  for (const auto& [at, sealed] : state.seals->SealedBy(key, from, to)) {
    if (refused.count(sealed.epoch) > 0 || state.heads.count(sealed.epoch) == 0) continue;
    const auto will = reached.find(sealed.epoch);
    if (will != reached.end() && will->second >= sealed.end.seq) continue;
    if (will == reached.end() && Covers(have.says, sealed.epoch, sealed.end.seq)) continue;
    return at - 1;
  }
  return to;
}

}  // namespace

Served ServeSync(const SyncRequest& request, const ServeContext& context) {
  const LogState& state = context.state;
  Served served;
  Findings& findings = served.findings;
  served.answer.node = context.node_id;
  served.answer.instance = context.instance;
  if (state.live) served.answer.epoch = state.live->epoch;
  if (request.chains) {
    // Whoever compares knows other seals, or none.
    served.answer.heads = state.heads;
    served.answer.chains = ChainsAt(*request.chains, state, context.reader);
    return served;
  }
  served.answer.heads = state.folded;

  // Another process under our id: two nodes were started with the same one.
  findings.twin = request.node == context.node_id && !request.instance.empty() &&
                  request.instance != context.instance;
  if (findings.twin && state.live && request.epoch == state.live->epoch) {
    findings.taken_epoch = state.live;
  }

  for (const EpochKey& key : request.forks) {
    const auto it = state.epochs.find(key);
    if (it != state.epochs.end() && !it->second.frozen) findings.forked.push_back({key, 0});
  }
  const std::set<EpochKey> refused(request.forks.begin(), request.forks.end());
  for (const EpochKey& key : state.forks) {
    // Only the puller that holds or asks for such an epoch needs to hear of it, or that would wait
    // for it to take a seal.
    if (refused.count(key) == 0 && (request.have.count(key) > 0 || !state.seals->Of(key).empty())) {
      served.answer.forks.push_back(key);
    }
  }

  const Have have = ReadHave(request, refused, context);
  std::vector<Wanted> wanted;
  Reached planned;
  bool left_out = false;  // behind a seal that cannot be taken yet
  size_t budget = request.limit / 2;
  for (const auto& [key, head] : state.heads) {
    if (refused.count(key) > 0) continue;
    const auto theirs = have.says.find(key);
    const auto compared = have.compared.find(key);
    const Holding holding = compared != have.compared.end()
                                ? compared->second
                                : Compare(have.says, key, head, context.cluster, context.reader);
    Position held;
    switch (holding) {
      case Holding::kForked:
        served.answer.forks.push_back(key);
        findings.forked.push_back({key, theirs->second.seq});
        continue;
      case Holding::kDamaged: findings.corrupt.push_back({key, theirs->second.seq}); continue;
      case Holding::kAhead:
        if (state.live == key) findings.taken_epoch = key;
        if (have.proven.count(key) > 0) served.holds.emplace(key, theirs->second);
        continue;
      case Holding::kAll:
      case Holding::kPrefix:
        held = theirs->second;
        if (have.proven.count(key) > 0) served.holds.emplace(key, held);
        break;
      case Holding::kNothing: break;
    }
    if (holding == Holding::kAll || (!request.relay && key.origin != context.node_id)) continue;
    const Position start = StartOf(request, key, held, head, context.reader);
    if (start.seq == head.seq) {
      planned[key] = head.seq;
      continue;
    }
    const Seq end = TakeableUpTo(key, start.seq, head.seq, have, planned, refused, state);
    left_out = left_out || end < head.seq;
    // An epoch that this page can bring to its end may be followed by one that seals it.
    const bool whole = end - start.seq <= budget;
    if (whole) budget -= end - start.seq;
    planned[key] = whole ? end : start.seq;
    if (start.seq < end) wanted.push_back({&key, start, end, 0, 0});
  }

  DivideEvenly(request.limit, &wanted);
  size_t shares_left = 0;
  for (const Wanted& each : wanted) shares_left += each.share;
  Reached reached = planned;
  for (const Wanted& each : wanted) reached[*each.key] = each.held.seq;
  for (Wanted& each : wanted) {
    // Bytes are divided as records are; what one epoch leaves over goes to those behind it.
    const size_t used = served.records_json.size();
    const size_t left = request.max_bytes > used ? request.max_bytes - used : 0;
    const size_t bytes_end = used + left / std::max<size_t>(shares_left, 1) * each.share;
    shares_left -= each.share;
    const Seq end =
        TakeableUpTo(*each.key, each.held.seq, each.head, have, reached, refused, state);
    left_out = left_out || end < each.head;
    each.head = end;
    each.share = std::min<size_t>(each.share, end - each.held.seq);
    const Hash seed = ChainSeed(context.cluster, *each.key);
    if (!AppendEpoch(request, each, bytes_end, seed, context.reader, &served)) {
      served.answer.more = true;
    }
    if (each.sent > 0) reached[*each.key] = each.sent;
  }
  if (left_out && served.records > 0) served.answer.more = true;
  return served;
}

bool HasNews(const SyncRequest& request, const LogState& state, std::string_view node_id) {
  const auto counts = [&](const EpochKey& key) {
    return (request.relay || key.origin == node_id) &&
           std::find(request.forks.begin(), request.forks.end(), key) == request.forks.end();
  };
  // Who lacks a part of an epoch that is left out here lacks its seal as well.
  for (const auto& [key, head] : state.folded) {
    if (!counts(key) || Covers(request.have, key, head.seq)) continue;
    const auto meant = Meant(request.have, key, *state.seals);
    if (!meant || meant->seq < head.seq) return true;
  }
  for (const auto& [key, theirs] : request.have) {
    const auto head = state.heads.find(key);
    if (counts(key) && head != state.heads.end() && theirs.seq < head->second.seq) return true;
  }
  return false;
}

}  // namespace chatchain
