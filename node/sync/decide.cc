// SPDX-License-Identifier: MIT
#include "node/sync/decide.h"

#include <algorithm>
#include <optional>

namespace chatchain {

std::vector<EpochKey> Missing(const TokenVector& wanted, const LogState& state) {
  std::vector<EpochKey> missing;
  for (const auto& [key, mark] : wanted) {
    if (mark.seq == 0) continue;
    const auto it = state.epochs.find(key);
    if (it == state.epochs.end() || (!it->second.frozen && it->second.head.seq < mark.seq)) {
      missing.push_back(key);
    }
  }
  return missing;
}

std::vector<EpochKey> BeyondFork(const TokenVector& wanted, const LogState& state,
                                 LogReader& reader) {
  std::vector<EpochKey> beyond;
  for (const EpochKey& key : state.forks) {
    const auto mark = Meant(wanted, key, *state.seals);
    if (!mark || mark->seq == 0) continue;
    const Position& head = state.epochs.at(key).head;
    // A record that cannot be read, or is gone, does not show that the token stands on our branch.
    std::optional<Hash> chain;
    if (mark->seq == head.seq) {
      chain = head.chain;
    } else if (mark->seq < head.seq) {
      chain = reader.ChainAt(key, mark->seq);
    }
    if (!chain || chain->Prefix64() != mark->chain_prefix) beyond.push_back(key);
  }
  return beyond;
}

bool Reaches(const LogState& state, const HeadVector& ends) {
  return std::all_of(ends.begin(), ends.end(), [&](const auto& entry) {
    const auto it = state.epochs.find(entry.first);
    return it != state.epochs.end() &&
           (it->second.frozen || it->second.head.seq >= entry.second.seq);
  });
}

namespace {

// Whether a peer with these heads has `key` at `seq`. It may where the heads leave the epoch out
// and go further than we do in a greater one: there may be a seal that we do not know.
bool MayHold(const HeadVector& heads, const EpochKey& key, Seq seq, const LogState& state) {
  if (Covers(heads, key, seq)) return true;
  if (heads.count(key) > 0) return false;
  const auto meant = Meant(heads, key, *state.seals);
  if (meant && meant->seq >= seq) return true;
  for (auto it = heads.upper_bound(key); it != heads.end() && it->first.origin == key.origin;
       ++it) {
    if (!Covers(state.heads, it->first, it->second.seq)) return true;
  }
  return false;
}

}  // namespace

ReachVerdict JudgeReach(const TokenVector& wanted, const std::vector<EpochKey>& missing,
                        const LogState& state, const std::vector<ReachPeer>& peers,
                        bool time_is_up) {
  bool all_answered = true;
  bool worth_waiting = false;
  std::vector<bool> held(missing.size(), false);
  for (const ReachPeer& peer : peers) {
    all_answered = all_answered && peer.answered;
    if (!peer.answered && peer.live && !peer.failed) worth_waiting = true;
    for (size_t k = 0; k < missing.size(); ++k) {
      if (!peer.answered || !MayHold(*peer.heads, missing[k], wanted.at(missing[k]).seq, state)) {
        continue;
      }
      held[k] = true;
      worth_waiting = worth_waiting || peer.live;
    }
  }
  ReachVerdict verdict;
  verdict.coming = worth_waiting;
  if (worth_waiting && !time_is_up) {
    verdict.wait = true;
    return verdict;
  }
  for (size_t k = 0; k < missing.size(); ++k) {
    if (all_answered && !held[k]) {
      verdict.lost.push_back(missing[k]);
    } else {
      verdict.behind = true;
    }
  }
  return verdict;
}

int64_t MedianOffset(std::vector<int64_t> offsets_ms) {
  offsets_ms.push_back(0);
  std::sort(offsets_ms.begin(), offsets_ms.end());
  const size_t middle = offsets_ms.size() / 2;
  return offsets_ms.size() % 2 == 1 ? offsets_ms[middle]
                                    : (offsets_ms[middle - 1] + offsets_ms[middle]) / 2;
}

}  // namespace chatchain
