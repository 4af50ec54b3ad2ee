// SPDX-License-Identifier: MIT
// Whom somebody has talked with: each conversation once, with its last message, latest first. It is
// read from the participant's newest messages, whose number is bounded; a conversation of which
// none is among them is not listed. Thread-safe; may block.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "node/service/service.h"
#include "node/service/storage.h"

namespace chatchain {

struct ConversationQuery {
  std::string participant;
  size_t limit = 0;
  std::optional<std::string> cursor;  // as text

  uint64_t Hash() const;  // a cursor goes with the same participant
};

// 400 and 422 as for GET /messages.
Try<ConversationQuery> ParseConversationQuery(const QueryParams& params);

struct Conversation {
  std::string with;  // the other one; empty: it is a room
  std::string room;
  HistoryItem last;  // of a room: anybody's
};

struct ConversationPage {
  std::vector<Conversation> conversations;
  std::optional<Cursor> next;
};

class Conversations {
 public:
  // Messages of the participant that are looked at, the newest first.
  static constexpr size_t kMaxMessages = 50'000;

  Conversations(Storage& storage, CatchUp& catch_up) : storage_(storage), catch_up_(catch_up) {}

  Try<ConversationPage> List(const ConversationQuery& query, const std::optional<Cursor>& cursor,
                             SteadyTime deadline);

 private:
  Storage& storage_;
  CatchUp& catch_up_;
};

}  // namespace chatchain
