// SPDX-License-Identifier: MIT
#include "node/sync/serve.h"

#include <algorithm>

namespace chatchain {

namespace {

// What a puller has of an epoch of ours.
enum class Holding { kNothing, kPrefix, kAll, kAhead, kForked };

Holding Compare(const SyncRequest& request, const EpochKey& key, const Position& mine,
                LogReader& reader) {
  const auto it = request.have.find(key);
  if (it == request.have.end()) return Holding::kNothing;
  const Position& theirs = it->second;
  if (theirs.seq > mine.seq) return Holding::kAhead;
  if (theirs.seq == mine.seq) {
    return theirs.chain == mine.chain ? Holding::kAll : Holding::kForked;
  }
  const auto chain = reader.ChainAt(key, theirs.seq);
  return chain && *chain == theirs.chain ? Holding::kPrefix : Holding::kForked;
}

bool HasOtherCopy(const SyncRequest& request, const StoredRecord& stored, const EpochKey& own_epoch,
                  LogReader& reader) {
  if (stored.message_ref == 0) return false;
  for (const auto& [key, seq] : reader.PositionsOf(stored.message_ref)) {
    if (key != own_epoch && Covers(request.have, key, seq)) return true;
  }
  return false;
}

// Appends the records of one epoch after `held`, checking each against the chain. False when the
// answer is full.
bool AppendEpoch(const SyncRequest& request, const EpochKey& key, const Position& held,
                 const Position& head, const Hash& seed, LogReader& reader, Served* served) {
  Hash chain = held.seq == 0 ? seed : held.chain;
  Seq expected = held.seq;
  bool full = false;
  bool corrupt = false;
  reader.ReadRecords(key, held.seq + 1, head.seq, [&](StoredRecord&& stored) {
    if (served->records >= request.limit ||
        (served->records > 0 && served->records_json.size() >= request.max_bytes)) {
      full = true;
      return false;
    }
    Record& record = stored.wire.record;
    ++expected;
    if (record.seq != expected || NextChain(chain, record) != record.chain) {
      corrupt = true;
      return false;
    }
    chain = record.chain;
    if (HasOtherCopy(request, stored, key, reader)) {
      stored.wire.message.reset();
    } else {
      stored.wire.id.reset();
    }
    if (served->records > 0) served->records_json += ',';
    AppendWireRecord(&served->records_json, stored.wire);
    ++served->records;
    return true;
  });
  if (!full && !corrupt && expected != head.seq) {
    corrupt = true;  // a row is missing
    ++expected;
  }
  if (corrupt) {
    served->corrupt.push_back({key, expected});
  }
  return !full;
}

}  // namespace

Served ServeSync(const SyncRequest& request, const ServeContext& context) {
  const LogState& state = context.state;
  Served served;
  served.answer.node = context.node_id;
  served.answer.instance = context.instance;
  if (state.live) served.answer.epoch = state.live->epoch;
  served.answer.heads = state.heads;

  // Another process under our id: two nodes were started with the same one.
  served.twin = request.node == context.node_id && !request.instance.empty() &&
                request.instance != context.instance;
  served.live_epoch_taken = served.twin && state.live && request.epoch == state.live->epoch;

  for (const EpochKey& key : request.forks) {
    const auto it = state.epochs.find(key);
    if (it != state.epochs.end() && !it->second.frozen) served.forked.push_back({key, 0});
  }
  const auto refused = [&](const EpochKey& key) {
    return std::find(request.forks.begin(), request.forks.end(), key) != request.forks.end();
  };
  for (const EpochKey& key : state.forks) {
    // Only the puller that holds or asks for such an epoch needs to hear of it.
    if (request.have.count(key) > 0) served.answer.forks.push_back(key);
  }

  bool room_left = true;
  for (const auto& [key, head] : state.heads) {
    if (refused(key)) continue;
    const Holding holding = Compare(request, key, head, context.reader);
    if (holding == Holding::kForked) {
      served.answer.forks.push_back(key);
      served.forked.push_back({key, request.have.at(key).seq});
      continue;
    }
    if (holding == Holding::kAhead && state.live == key) served.live_epoch_taken = true;
    if (!request.relay && key.origin != context.node_id) continue;
    if (!room_left || holding == Holding::kAll || holding == Holding::kAhead) continue;
    const Position held = holding == Holding::kPrefix ? request.have.at(key) : Position{};
    room_left = AppendEpoch(request, key, held, head, ChainSeed(context.cluster, key),
                            context.reader, &served);
  }
  served.answer.more = !room_left;
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
