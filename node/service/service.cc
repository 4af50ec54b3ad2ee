// SPDX-License-Identifier: MIT
#include "node/service/service.h"

#include <algorithm>

namespace chatchain {

namespace {

// An answer that says "not in time" must itself be in time.
constexpr auto kAnswerMargin = std::chrono::milliseconds(50);

// What of `vector` this state holds: positions further on are lowered to ours. An epoch of which it
// holds nothing goes on being named: left out, a seal could speak for it.
TokenVector Within(const TokenVector& vector, const LogState& state) {
  TokenVector within;
  for (const auto& [key, mark] : vector) {
    Mark& ours = within[key];
    const auto it = state.epochs.find(key);
    if (mark.seq == 0 || it == state.epochs.end() || it->second.head.seq == 0) continue;
    const Position& head = it->second.head;
    // On which branch of a fork it stands cannot be told here, except at our head. What it covered
    // was announced anew where nothing else vouches for it, and the feed brings that.
    if (it->second.frozen && (mark.seq != head.seq || mark.chain_prefix != head.chain.Prefix64())) {
      continue;
    }
    ours = mark.seq <= head.seq ? mark : Mark{head.seq, head.chain.Prefix64()};
  }
  return within;
}

// Adds to a session's token all that `state` holds, in its folded form.
void JoinState(TokenVector* session, const LogState& state) {
  TokenVector joined = state.token;
  for (const auto& [key, mark] : *session) {
    if (Covers(state.heads, key, mark.seq)) continue;
    Mark& mine = joined[key];
    if (mark.seq > mine.seq) mine = mark;
  }
  *session = std::move(joined);
}

Try<Sent> ToSent(const ValidMessage& message, const Appended& outcome) {
  if (outcome.kind == Appended::Kind::kKeyReused) {
    Problem problem = MakeProblem(422, "key-reused",
                                  "Idempotency-Key: this sender has used it for another message");
    problem.errors.push_back({"key", "was used by this sender for another message"});
    return Err(std::move(problem));
  }
  Sent sent;
  sent.kind = outcome.kind == Appended::Kind::kKnown ? Sent::Kind::kReplayed : Sent::Kind::kCreated;
  sent.shown = {message.id(), message.message(), outcome.stamp};
  return sent;
}

}  // namespace

Problem WriteProblem(const WriteError& error) {
  Problem problem = Unavailable(error.detail);
  switch (error.kind) {
    case WriteError::Kind::kDiskFull: problem.type = "disk-full"; break;
    case WriteError::Kind::kFailed: problem.type = "read-only"; break;
    case WriteError::Kind::kOverloaded: problem.type = "overloaded"; break;
    case WriteError::Kind::kExpired:
    case WriteError::Kind::kUnknown: problem.type = "timeout"; break;
    case WriteError::Kind::kStopping: problem.type = "draining"; break;
  }
  return problem;
}

std::vector<Try<Sent>> Service::Send(std::vector<AppendItem> items, int copies_needed,
                                     SteadyTime deadline) {
  std::vector<Try<Sent>> results;
  results.reserve(items.size());
  const auto shared = std::make_shared<const std::vector<AppendItem>>(std::move(items));
  const uint64_t arrivals = copies_.arrivals();
  const auto appended = storage_.Append(shared, deadline);
  if (!appended) {
    for (size_t i = 0; i < shared->size(); ++i)
      results.push_back(Err(WriteProblem(appended.error())));
    return results;
  }
  for (size_t i = 0; i < shared->size(); ++i) {
    Try<Sent> sent = ToSent((*shared)[i].message, (*appended)[i]);
    if (sent && copies_needed > 0) {
      sent->copies =
          WaitForCopies((*appended)[i], arrivals, copies_needed, deadline - kAnswerMargin);
      if (sent->copies < copies_needed) sent->kind = Sent::Kind::kNotEnoughCopies;
    }
    results.push_back(std::move(sent));
  }
  return results;
}

void Service::SendLater(AppendItem item, SteadyTime deadline, std::function<void(Try<Sent>)> done) {
  ValidMessage message = item.message;
  storage_.AppendLater(std::move(item), deadline,
                       [message = std::move(message),
                        done = std::move(done)](Result<Appended, WriteError> appended) {
                         if (appended) {
                           done(ToSent(message, *appended));
                         } else {
                           done(Err(WriteProblem(appended.error())));
                         }
                       });
}

int Service::WaitForCopies(const Appended& message, uint64_t arrivals, int needed,
                           SteadyTime deadline) {
  // What is new has one record, ours. The log is asked where it may have others: while many write,
  // that would cost more than all else here.
  std::vector<std::pair<EpochKey, Seq>> positions;
  bool known = message.kind == Appended::Kind::kNew;
  if (known) positions.emplace_back(message.epoch, message.seq);
  while (true) {
    const uint64_t version = copies_.version();
    if (const uint64_t now = copies_.arrivals(); !known || now != arrivals) {
      auto found = storage_.PositionsOf(message.message_ref);
      known = found.has_value();
      arrivals = now;
      if (known) positions = std::move(*found);
    }
    const int count = known ? copies_.Count(positions) : 1;
    if (count >= needed) return count;
    if (copies_.WaitForChange(version, deadline)) continue;
    // A fork may have had it announced anew meanwhile.
    const auto found = storage_.PositionsOf(message.message_ref);
    return std::max(count, found ? copies_.Count(*found) : 1);
  }
}

SessionAnswer Service::CurrentSession(const SessionRequest& session) const {
  SessionAnswer answer;
  if (session.token) answer.token = *session.token;
  JoinState(&answer.token, *storage_.State());
  return answer;
}

Try<SessionAnswer> Service::EnterSession(const SessionRequest& session, const TokenVector* also,
                                         SteadyTime deadline) {
  TokenVector wanted = session.token.value_or(TokenVector{});
  if (also != nullptr) Join(&wanted, *also);
  SessionAnswer answer;
  if (wanted.empty()) return answer;
  const CatchUp::Outcome outcome = catch_up_.Reach(wanted, deadline - kAnswerMargin);
  if (outcome.behind && session.strict) {
    return Err(
        MakeProblem(412, "stale",
                    "ChatChain-Session: this node does not hold all that the token covers, and "
                    "ChatChain-Consistency asks for nothing older"));
  }
  answer.stale = outcome.behind;
  answer.lost = !outcome.lost.empty();
  answer.token = session.token.value_or(TokenVector{});
  for (const EpochKey& key : outcome.lost) answer.token.erase(key);
  return answer;
}

Try<HistoryAnswer> Service::History(const ListQuery& query, const std::optional<Cursor>& cursor,
                                    size_t limit, const SessionRequest& session,
                                    SteadyTime deadline) {
  auto entered = EnterSession(session, cursor ? &cursor->covers : nullptr, deadline);
  if (!entered) return Err(std::move(entered.error()));
  const LogStatePtr state = storage_.State();

  HistoryQuery history;
  history.filter = &query.filter;
  history.descending = query.descending;
  history.limit = limit;
  TokenVector covers = state->token;
  HistoryAnswer answer;
  answer.version = state->version;
  answer.session = std::move(*entered);
  if (cursor) {
    // What this node cannot give must not count as given: the feed behind the last page brings it.
    covers = Within(cursor->covers, *state);
    // A record that is missing here may be what gave a message its place, and another one puts it
    // later in history: on the way back, where the walk has been already. It would be in no page,
    // and the token of the last page would cover it.
    if (query.descending && covers != cursor->covers) {
      if (answer.session.stale) {
        return Err(
            Unavailable("this node lacks a part of what the cursor covers: ask another node, or "
                        "begin the walk again"));
      }
      return Err(BadRequest("cursor: a part of what it covers is gone; begin the walk again"));
    }
    history.after = cursor->after;
    history.covers = &covers;
  }
  auto page = storage_.ReadHistory(history, *state);
  if (!page) return Err(std::move(page.error()));
  // As for what is missing, above: the feed behind the last page brings it.
  if (query.descending && !page->apart.empty()) {
    return Err(
        Unavailable("this node has another branch of what the cursor covers: ask another "
                    "node, or begin the walk again"));
  }
  for (const EpochKey& key : page->apart) covers[key] = {};
  answer.page = std::move(*page);
  // Stamps are shown as they are now, which may be earlier than `state` had them: the token covers
  // that.
  JoinState(&answer.session.token, *storage_.State());
  if (answer.page.more) {
    answer.next = Cursor{std::move(covers), answer.page.items.back().place, query.Hash()};
  } else {
    answer.after = std::move(covers);
  }
  return answer;
}

Try<HistoryPage> Service::MoreHistory(const ListQuery& query, const Cursor& cursor, size_t limit) {
  HistoryQuery history;
  history.filter = &query.filter;
  history.descending = query.descending;
  history.after = cursor.after;
  history.limit = limit;
  history.covers = &cursor.covers;
  return storage_.ReadHistory(history, *storage_.State());
}

Try<Service::Found> Service::Find(const MessageId& id, const SessionRequest& session,
                                  SteadyTime deadline) {
  auto entered = EnterSession(session, nullptr, deadline);
  if (!entered) return Err(std::move(entered.error()));
  Found found;
  found.session = std::move(*entered);
  auto shown = storage_.Find(id);
  if (!shown) return Err(std::move(shown.error()));
  found.shown = std::move(*shown);
  // The token afterwards: it must cover what was seen.
  JoinState(&found.session.token, *storage_.State());
  return found;
}

}  // namespace chatchain
