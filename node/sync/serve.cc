// SPDX-License-Identifier: MIT
#include "node/sync/serve.h"

#include <algorithm>

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

Holding Compare(const SyncRequest& request, const EpochKey& key, const Position& mine,
                const Hash& seed, LogReader& reader) {
  const auto it = request.have.find(key);
  if (it == request.have.end()) return Holding::kNothing;
  const Position& theirs = it->second;
  if (theirs.seq > mine.seq) return Holding::kAhead;
  const std::optional<Hash> chain =
      theirs.seq == mine.seq ? mine.chain : reader.ChainAt(key, theirs.seq);
  if (chain == theirs.chain) return theirs.seq == mine.seq ? Holding::kAll : Holding::kPrefix;
  // A flipped bit of ours must not look like a branch of theirs: freezing spreads, and is for ever.
  return chain && IsSound(key, theirs.seq, seed, reader) ? Holding::kForked : Holding::kDamaged;
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
  Seq head = 0;
  size_t share = 0;  // records
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
bool AppendEpoch(const SyncRequest& request, const Wanted& wanted, size_t bytes_end,
                 const Hash& seed, LogReader& reader, Served* served) {
  const EpochKey& key = *wanted.key;
  Hash chain = wanted.held.seq == 0 ? seed : wanted.held.chain;
  Seq expected = wanted.held.seq;
  const Seq last = wanted.held.seq + wanted.share;
  bool full = last < wanted.head;
  bool corrupt = false;
  if (wanted.share == 0) return !full;
  reader.ReadRecords(key, wanted.held.seq + 1, last, [&](StoredRecord&& stored) {
    const size_t bytes = served->records_json.size();
    // Something of each epoch, as long as the whole page has room.
    const bool first_of_epoch = expected == wanted.held.seq;
    if (served->records > 0 && bytes >= (first_of_epoch ? request.max_bytes : bytes_end)) {
      full = true;
      return false;
    }
    Record& record = stored.wire.record;
    if (record.seq != expected + 1 || NextChain(chain, record) != record.chain) {
      corrupt = true;
      return false;
    }
    ++expected;
    chain = record.chain;
    if (HasOtherCopy(served->holds, stored, key, reader)) {
      stored.wire.message.reset();
    } else {
      stored.wire.id.reset();
    }
    if (served->records > 0) served->records_json += ',';
    AppendWireRecord(&served->records_json, stored.wire);
    ++served->records;
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

}  // namespace

Served ServeSync(const SyncRequest& request, const ServeContext& context) {
  const LogState& state = context.state;
  Served served;
  Findings& findings = served.findings;
  served.answer.node = context.node_id;
  served.answer.instance = context.instance;
  if (state.live) served.answer.epoch = state.live->epoch;
  served.answer.heads = state.heads;
  if (request.chains) {
    served.answer.chains = ChainsAt(*request.chains, state, context.reader);
    return served;
  }

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
  const auto refused = [&](const EpochKey& key) {
    return std::find(request.forks.begin(), request.forks.end(), key) != request.forks.end();
  };
  for (const EpochKey& key : state.forks) {
    // Only the puller that holds or asks for such an epoch needs to hear of it.
    if (request.have.count(key) > 0) served.answer.forks.push_back(key);
  }

  std::vector<Wanted> wanted;
  for (const auto& [key, head] : state.heads) {
    if (refused(key)) continue;
    const Holding holding =
        Compare(request, key, head, ChainSeed(context.cluster, key), context.reader);
    Position held;
    switch (holding) {
      case Holding::kForked:
        served.answer.forks.push_back(key);
        findings.forked.push_back({key, request.have.at(key).seq});
        continue;
      case Holding::kDamaged: findings.corrupt.push_back({key, request.have.at(key).seq}); continue;
      case Holding::kAhead:
        if (state.live == key) findings.taken_epoch = key;
        // Of our own origin, nobody should be ahead of us: what they hold may be another branch.
        if (key.origin != context.node_id) served.holds.emplace(key, request.have.at(key));
        continue;
      case Holding::kAll:
      case Holding::kPrefix:
        held = request.have.at(key);
        served.holds.emplace(key, held);
        break;
      case Holding::kNothing: break;
    }
    if (holding == Holding::kAll || (!request.relay && key.origin != context.node_id)) continue;
    const Position start = StartOf(request, key, held, head, context.reader);
    if (start.seq < head.seq) wanted.push_back({&key, start, head.seq, 0});
  }

  DivideEvenly(request.limit, &wanted);
  size_t shares_left = 0;
  for (const Wanted& each : wanted) shares_left += each.share;
  for (const Wanted& each : wanted) {
    // Bytes are divided as records are; what one epoch leaves over goes to those behind it.
    const size_t used = served.records_json.size();
    const size_t left = request.max_bytes > used ? request.max_bytes - used : 0;
    const size_t bytes_end = used + left / std::max<size_t>(shares_left, 1) * each.share;
    shares_left -= each.share;
    const Hash seed = ChainSeed(context.cluster, *each.key);
    if (!AppendEpoch(request, each, bytes_end, seed, context.reader, &served)) {
      served.answer.more = true;
    }
  }
  return served;
}

bool HasNews(const SyncRequest& request, const LogState& state, std::string_view node_id) {
  for (const auto& [key, head] : state.heads) {
    if (!request.relay && key.origin != node_id) continue;
    if (std::find(request.forks.begin(), request.forks.end(), key) != request.forks.end()) continue;
    if (!Covers(request.have, key, head.seq)) return true;
  }
  return false;
}

}  // namespace chatchain
