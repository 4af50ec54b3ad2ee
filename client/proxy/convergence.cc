// SPDX-License-Identifier: MIT
#include "client/proxy/convergence.h"

#include <algorithm>

namespace chatchain {

namespace {

// A vector may leave out an epoch that is sealed; it names a greater one of that origin then.
bool MayMean(const HeadVector& folded, const EpochKey& key) {
  const auto greater = folded.upper_bound(key);
  return greater != folded.end() && greater->first.origin == key.origin;
}

}  // namespace

Convergence Compare(const std::vector<const HeadVector*>& nodes) {
  std::map<EpochKey, Seq> most;
  for (const HeadVector* heads : nodes) {
    if (heads == nullptr) continue;
    for (const auto& [key, position] : *heads) {
      Seq& seq = most[key];
      seq = std::max(seq, position.seq);
    }
  }
  Convergence result;
  const HeadVector* first = nullptr;
  for (const HeadVector* heads : nodes) {
    if (heads == nullptr) {
      result.lag.push_back(-1);
      continue;
    }
    int64_t lag = 0;
    for (const auto& [key, seq] : most) {
      const auto held = heads->find(key);
      if (held == heads->end() && MayMean(*heads, key)) continue;
      lag += static_cast<int64_t>(seq - (held == heads->end() ? 0 : held->second.seq));
    }
    result.lag.push_back(lag);
    if (first == nullptr) {
      first = heads;
      result.converged = true;
    } else if (*heads != *first) {
      result.converged = false;
    }
  }
  return result;
}

bool Satisfies(const HeadVector& heads, const TokenVector& token) {
  return std::all_of(token.begin(), token.end(), [&](const auto& entry) {
    return Covers(heads, entry.first, entry.second.seq) ||
           (heads.count(entry.first) == 0 && MayMean(heads, entry.first));
  });
}

}  // namespace chatchain
