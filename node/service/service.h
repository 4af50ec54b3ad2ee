// SPDX-License-Identifier: MIT
// What accepting and reading mean, apart from HTTP, SQLite and the network: idempotency, copies,
// session tokens, walks over history. Thread-safe; calls block until their answer is known or the
// deadline comes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/query.h"
#include "common/protocol/token.h"
#include "node/service/copies.h"
#include "node/service/storage.h"

namespace chatchain {

// Brings this node to a state that a client has seen elsewhere.
class CatchUp {
 public:
  struct Outcome {
    bool behind = false;         // something of the token is still missing
    bool coming = false;         // a live peer has something of that, or may have
    std::vector<EpochKey> lost;  // every known peer was asked for these, none has them
  };
  virtual ~CatchUp() = default;
  // Pulls at once from live peers; waits 500 ms at most, and never for what no live peer has.
  virtual Outcome Reach(const TokenVector& wanted, SteadyTime deadline) = 0;
};

// The session headers of a request.
struct SessionRequest {
  std::optional<TokenVector> token;
  bool strict = false;
};

// The session headers of an answer.
struct SessionAnswer {
  TokenVector token;
  bool stale = false;
  bool lost = false;
};

struct Sent {
  enum class Kind { kCreated, kReplayed, kNotEnoughCopies };
  Kind kind = Kind::kCreated;
  ShownMessage shown;
  int copies = 0;  // 0: not asked for
};

struct HistoryAnswer {
  HistoryPage page;
  std::optional<Cursor> next;  // absent on the last page
  TokenVector after;           // on the last page: what a feed continues from
  uint64_t version = 0;        // of the state that it shows
  SessionAnswer session;
};

class Service {
 public:
  Service(Storage& storage, CatchUp& catch_up, CopyTracker& copies)
      : storage_(storage), catch_up_(catch_up), copies_(copies) {}

  // Stores all in one commit. `copies_needed`: 0 when the client did not ask. One result an item,
  // in order.
  std::vector<Try<Sent>> Send(std::vector<AppendItem> items, int copies_needed,
                              SteadyTime deadline);

  // The same for one message of which no copies are asked for, without a thread that waits: `done`
  // is called exactly once, on any thread, and must not block.
  void SendLater(AppendItem item, SteadyTime deadline, std::function<void(Try<Sent>)> done);

  // A page of a walk. `cursor`: absent for the first page.
  Try<HistoryAnswer> History(const ListQuery& query, const std::optional<Cursor>& cursor,
                             size_t limit, const SessionRequest& session, SteadyTime deadline);
  // The next page of a walk within one answer: no waiting, no session.
  Try<HistoryPage> MoreHistory(const ListQuery& query, const Cursor& cursor, size_t limit);

  struct Found {
    std::optional<ShownMessage> shown;
    SessionAnswer session;
  };
  Try<Found> Find(const MessageId& id, const SessionRequest& session, SteadyTime deadline);

  // The token of an answer that read nothing.
  SessionAnswer CurrentSession(const SessionRequest& session) const;

 private:
  Try<SessionAnswer> EnterSession(const SessionRequest& session, const TokenVector* also,
                                  SteadyTime deadline);
  // `arrivals`: of copies_, before the message was appended.
  int WaitForCopies(const Appended& message, uint64_t arrivals, int needed, SteadyTime deadline);

  Storage& storage_;
  CatchUp& catch_up_;
  CopyTracker& copies_;
};

// The API's words for a failed write.
Problem WriteProblem(const WriteError& error);

}  // namespace chatchain
