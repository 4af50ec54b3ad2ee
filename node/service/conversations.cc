// SPDX-License-Identifier: MIT
#include "node/service/conversations.h"

#include <algorithm>
#include <set>

#include "common/protocol/limits.h"
#include "common/util/sha256.h"

namespace chatchain {

namespace {

constexpr size_t kWalkPage = 1000;

}  // namespace

uint64_t ConversationQuery::Hash() const {
  return Sha256("conversations:" + participant).Prefix64();
}

Try<ConversationQuery> ParseConversationQuery(const QueryParams& params) {
  for (const auto& [name, value] : params) {
    if (name != "participant" && name != "limit" && name != "cursor") {
      return Err(BadRequest("unknown query parameter " + Quoted(name) +
                            "; known: participant, limit, cursor"));
    }
  }
  auto list = ParseListQuery(params);
  if (!list) return Err(std::move(list.error()));
  ConversationQuery query;
  if (list->filter.participants.empty()) return Err(Invalid("participant", "is required"));
  if (list->filter.participants.size() > 1) {
    return Err(BadRequest("the query parameter \"participant\" is given twice"));
  }
  query.participant = std::move(list->filter.participants.front());
  query.limit = list->limit.value_or(limits::kPageDefaultMessages);
  query.cursor = std::move(list->cursor);
  return query;
}

Try<ConversationPage> Conversations::List(const ConversationQuery& query,
                                          const std::optional<Cursor>& cursor,
                                          SteadyTime deadline) {
  if (cursor) catch_up_.Reach(cursor->covers, deadline);
  const LogStatePtr state = storage_.State();
  const TokenVector covers = cursor ? cursor->covers : state->token;

  Filter mine;
  mine.participants = {query.participant};
  HistoryQuery walk;
  walk.filter = &mine;
  walk.descending = true;
  walk.limit = kWalkPage;
  // A first page needs no look at what a token covers.
  if (cursor) walk.covers = &covers;
  std::vector<Conversation> found;
  std::set<std::pair<std::string, std::string>> known;  // with, room
  for (size_t seen = 0; seen < kMaxMessages;) {
    auto page = storage_.ReadHistory(walk, *state);
    if (!page) return Err(std::move(page.error()));
    seen += page->items.size();
    if (!page->items.empty()) walk.after = page->items.back().place;
    for (HistoryItem& item : page->items) {
      const Message& message = item.shown.message;
      const std::string& with = !message.room.empty() || message.recipient != query.participant
                                    ? message.recipient
                                    : message.sender;
      if (!known.emplace(with, message.room).second) continue;
      Conversation conversation{with, message.room, {}};
      conversation.last = std::move(item);
      found.push_back(std::move(conversation));
    }
    if (!page->more) break;
  }

  for (Conversation& conversation : found) {
    if (conversation.room.empty()) continue;
    Filter room;
    room.room = conversation.room;
    HistoryQuery last = walk;
    last.filter = &room;
    last.after.reset();
    last.limit = 1;
    auto page = storage_.ReadHistory(last, *state);
    if (!page) return Err(std::move(page.error()));
    if (!page->items.empty()) conversation.last = std::move(page->items.front());
  }
  std::sort(found.begin(), found.end(), [](const Conversation& a, const Conversation& b) {
    return a.last.place > b.last.place;
  });
  if (cursor) {
    std::erase_if(found,
                  [&](const Conversation& each) { return each.last.place >= cursor->after; });
  }
  ConversationPage page;
  const bool more = found.size() > query.limit;
  if (more) found.resize(query.limit);
  page.conversations = std::move(found);
  if (more) page.next = Cursor{covers, page.conversations.back().last.place, query.Hash()};
  return page;
}

}  // namespace chatchain
