// SPDX-License-Identifier: MIT
#include "node/service/feed.h"

#include <algorithm>

namespace chatchain {

namespace {

// What of `covers` lies beyond `state`. Frozen epochs do not count: nothing of them will come, and
// their messages come under other records.
TokenVector Beyond(const TokenVector& covers, const LogState& state) {
  TokenVector beyond;
  for (const auto& [key, mark] : covers) {
    if (mark.seq == 0) continue;
    const auto it = state.epochs.find(key);
    if (it == state.epochs.end() || (!it->second.frozen && it->second.head.seq < mark.seq)) {
      beyond.emplace_hint(beyond.end(), key, mark);
    }
  }
  return beyond;
}

}  // namespace

Try<FeedPosition> Feed::Decode(const std::optional<std::string>& after) const {
  FeedPosition position;
  if (!after) {
    position.covers = storage_.State()->token;
  } else if (*after != "begin") {
    auto decoded = tokens_.DecodeFeed(*after);
    if (!decoded) return Err(std::move(decoded.error()));
    position.covers = std::move(*decoded);
  }
  return position;
}

void Feed::Reach(FeedPosition* position, SteadyTime deadline) {
  const TokenVector beyond = Beyond(position->covers, *storage_.State());
  position->behind = false;
  if (beyond.empty()) return;
  const CatchUp::Outcome outcome = catch_up_.Reach(beyond, deadline);
  const LogStatePtr state = storage_.State();
  for (const EpochKey& key : outcome.lost) {
    // As far as we hold it the entry still stands; the rest is told as a gap.
    const auto it = state->heads.find(key);
    if (it == state->heads.end()) {
      position->covers.erase(key);
    } else if (it->second.seq < position->covers.at(key).seq) {
      position->covers[key] = {it->second.seq, it->second.chain.Prefix64()};
    } else {
      continue;
    }
    position->gap = true;
  }
  position->behind = !Beyond(position->covers, *state).empty();
  position->hold_back = outcome.coming;
}

Try<FeedAnswer> Feed::Read(const FeedPosition& position, const Filter& filter, size_t max_items,
                           size_t max_bytes, std::optional<int64_t> new_above_ref) {
  const LogStatePtr state = storage_.State();
  FeedAnswer answer;
  answer.version = state->version;
  answer.position = position;
  answer.position.behind = !Beyond(position.covers, *state).empty();
  FeedQuery query;
  query.after = &position.covers;
  query.filter = &filter;
  query.max_items = max_items;
  query.max_bytes = max_bytes;
  query.new_above_ref = new_above_ref;
  query.hold_back = position.hold_back;
  auto page = storage_.ReadFeed(query, *state);
  if (!page) return Err(std::move(page.error()));
  answer.more = page->more;
  answer.steps.reserve(page->items.size());
  FoldedPosition at(position.covers, *state->seals);
  for (FeedItem& item : page->items) {
    at.Advance(item.moved);
    answer.steps.push_back({std::move(item.shown), item.message_ref, Encode(at.folded())});
  }
  if (answer.more || answer.position.behind) {
    at.Advance(page->moved);
    answer.position.covers = at.folded();
    return answer;
  }
  // At the end all that is here is covered, in one form for all who are there.
  answer.position.covers = state->token;
  answer.live_after = state->last_message_ref;
  return answer;
}

}  // namespace chatchain
