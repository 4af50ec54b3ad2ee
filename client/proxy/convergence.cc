// SPDX-License-Identifier: MIT
#include "client/proxy/convergence.h"

#include <algorithm>

namespace chatchain {

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
    const auto held = heads.find(entry.first);
    return held != heads.end() && held->second.seq >= entry.second.seq;
  });
}

}  // namespace chatchain
