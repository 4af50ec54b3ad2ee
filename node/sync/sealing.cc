// SPDX-License-Identifier: MIT
#include "node/sync/sealing.h"

#include <algorithm>
#include <optional>

namespace chatchain {

HeadVector HaveFor(const LogState& state, const HeadVector& named) {
  HeadVector have = state.folded;
  for (const auto& [key, theirs] : named) {
    const auto it = state.heads.find(key);
    if (it != state.heads.end()) have.emplace(key, it->second);
  }
  // Beyond us it may hold a seal that we do not know, and leave an epoch out by that; we leave it
  // out by one that it does not hold. It would take us to have nothing of that epoch, and send
  // neither its seal nor what stands behind it before it has sent the whole epoch once more.
  std::optional<HeadVector> meant;
  for (const auto& [key, theirs] : named) {
    if (Covers(state.heads, key, theirs.seq)) continue;
    if (!meant) meant = Unfold(named, *state.seals);
    for (auto it = state.heads.lower_bound({key.origin, 0});
         it != state.heads.end() && it->first < key; ++it) {
      if (meant->count(it->first) == 0) have.insert(*it);
    }
  }
  return have;
}

Sealer::Plan Sealer::Next(const LogState& state, const std::vector<const HeadVector*>& shown,
                          SteadyTime now) {
  Plan plan;
  const Seals& seals = *state.seals;
  const auto all = [&](const auto& has) {
    return std::all_of(shown.begin(), shown.end(),
                       [&](const HeadVector* heads) { return heads != nullptr && has(*heads); });
  };
  for (const Seals::Place& place : seals.Unshared()) {
    if (all([&](const HeadVector& heads) {
          const auto meant = Meant(heads, place.first, seals);
          return meant && meant->seq >= place.second;
        })) {
      plan.shared.push_back(place);
    }
  }

  // A start after which nothing was written needs no epoch, and one only for seals would need one
  // itself.
  if (!state.live) return plan;
  std::map<EpochKey, Still> still;
  for (auto it = state.folded.lower_bound({node_id_, 0});
       it != state.folded.end() && it->first < *state.live; ++it) {
    const auto& [key, head] = *it;
    const auto before = still_.find(key);
    const bool stands = before != still_.end() && before->second.head == head;
    const SteadyTime since = stands ? before->second.since : now;
    still.emplace(key, Still{head, since});
    if (plan.seals.size() == kMaxSeals || now - since < std::chrono::milliseconds(quiet_ms_)) {
      continue;
    }
    if (all([&, &key = key, &head = head](const HeadVector& heads) {
          return Meant(heads, key, seals) == head;
        })) {
      plan.seals.push_back({key, head});
    }
  }
  still_ = std::move(still);
  return plan;
}

}  // namespace chatchain
