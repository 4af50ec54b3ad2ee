// SPDX-License-Identifier: MIT
#include "node/sync/compare.h"

#include <algorithm>
#include <utility>

#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// Invariant: the logs agree up to `same`, and differ at `differs`.
struct Search {
  EpochKey epoch;
  Seq same = 0;
  Seq differs = 0;

  bool done() const { return differs == same + 1; }
  Seq middle() const { return same + (differs - same) / 2; }
};

}  // namespace

Result<Comparison, std::string> CompareWith(
    ChainPeer& peer, const HeadVector& mine,
    const std::function<std::optional<Hash>(const LogPosition&)>& chain_at) {
  Comparison result;
  // Calls `take` with each position and whether both hold the same there.
  const auto ask = [&](const std::vector<LogPosition>& positions,
                       auto take) -> Result<void, std::string> {
    for (size_t from = 0; from < positions.size(); from += limits::kSyncChainsMax) {
      const auto begin = positions.begin() + static_cast<std::ptrdiff_t>(from);
      const size_t count = std::min(limits::kSyncChainsMax, positions.size() - from);
      const std::vector<LogPosition> page(begin, begin + static_cast<std::ptrdiff_t>(count));
      auto theirs = peer.ChainsAt(page);
      ++result.requests;
      if (!theirs) return Err(std::move(theirs.error()));
      for (size_t i = 0; i < page.size(); ++i) {
        const auto& their = i < theirs->size() ? (*theirs)[i] : std::nullopt;
        const auto own = chain_at(page[i]);
        take(from + i, own && their && *own == *their);
      }
    }
    return {};
  };

  const auto heads = peer.Heads();
  ++result.requests;
  if (!heads) return Err(heads.error());
  std::vector<LogPosition> common;  // the last record that both should hold
  for (const auto& [key, head] : mine) {
    const auto it = heads->find(key);
    const Seq theirs = it == heads->end() ? 0 : it->second.seq;
    if (head.seq > theirs) result.records_here += head.seq - theirs;
    if (theirs > 0) common.push_back({key, std::min(head.seq, theirs)});
  }
  for (const auto& [key, head] : *heads) {
    const auto it = mine.find(key);
    const Seq here = it == mine.end() ? 0 : it->second.seq;
    if (head.seq > here) result.records_there += head.seq - here;
  }

  std::vector<Search> searches;
  std::vector<LogPosition> unknown;
  for (const LogPosition& position : common) {
    // The heads themselves need no further question.
    const Position& here = mine.at(position.epoch);
    const Position& there = heads->at(position.epoch);
    if (here.seq != there.seq) {
      unknown.push_back(position);
    } else if (here.chain != there.chain) {
      searches.push_back({position.epoch, 0, position.seq});
    }
  }
  auto asked = ask(unknown, [&](size_t i, bool same) {
    if (!same) searches.push_back({unknown[i].epoch, 0, unknown[i].seq});
  });
  if (!asked) return Err(std::move(asked.error()));

  while (true) {
    std::vector<LogPosition> middles;
    std::vector<Search*> open;
    for (Search& search : searches) {
      if (search.done()) continue;
      open.push_back(&search);
      middles.push_back({search.epoch, search.middle()});
    }
    if (open.empty()) break;
    asked = ask(middles, [&](size_t i, bool same) {
      (same ? open[i]->same : open[i]->differs) = middles[i].seq;
    });
    if (!asked) return Err(std::move(asked.error()));
  }
  for (const Search& search : searches) result.different.push_back({search.epoch, search.differs});
  std::sort(result.different.begin(), result.different.end(),
            [](const LogPosition& a, const LogPosition& b) { return a.epoch < b.epoch; });
  return result;
}

}  // namespace chatchain
