// SPDX-License-Identifier: MIT
// One read on its way to one or several nodes: who may be asked next, and what was answered. The
// first final answer ends the race and cancels the tries that still run. The driver (reader.cc)
// asks.
//
// Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/proxy/choice.h"
#include "client/proxy/node_link.h"
#include "common/http/message.h"
#include "common/util/mutex.h"

namespace chatchain {

struct ReadRequest {
  std::string target;     // path and query, encoded
  http::Headers headers;  // what is handed on to the node
  std::string session;    // the client's token, if any
  Expect expect = Expect::kObject;
  SteadyTime deadline{};
};

struct ReadResult {
  bool answered = false;  // `response` is the client's answer
  http::ClientResponse response;
  int node = -1;                      // the index of the node that gave it
  int attempts = 0;                   // nodes asked
  std::vector<std::string> failures;  // what each node said, or why it said nothing
};

class ReadRace {
 public:
  ReadRace(std::shared_ptr<const ReadRequest> request, Choice choice);

  // The next node that may be asked: -1 when the race is over, when all were asked, or when an
  // answer is here and every node of the first tier was asked. Whoever takes one must call Open()
  // and Conclude().
  int TakeNext();
  // The next node of the first tier, for reads by fan-out; -1: none left.
  int TakeFanout();
  // The try at a node that was taken: until when it may run, and what ends it.
  struct Opened {
    SteadyTime deadline{};
    std::shared_ptr<http::Cancellation> cancellation;
  };
  Opened Open(int node, SteadyTime now);
  void Conclude(int node, const http::Cancellation* cancellation, NodeAnswer answer);
  // Hedging. Moving on (every node that was asked hangs) asks the next node, whoever it is
  // and however often. Hedging happens once, and asks only one of the first tier.
  bool CanHedge(bool moving_on) const;
  int TakeHedge(bool moving_on);  // -1: it may not
  // When every try that runs hangs: ends the race with an answer that is not final, if there is one
  // and every node of the first tier was asked. A node that hangs knows no better.
  bool Settle();
  struct RunningTry {
    int node = -1;
    SteadyTime since{};
  };
  std::vector<RunningTry> running_tries() const;
  bool IsRunning(const http::Cancellation* cancellation) const;

  bool over() const;
  size_t running() const;
  bool answered() const;
  ReadResult Take();

 private:
  struct Try {
    int node;
    SteadyTime since;
    std::shared_ptr<http::Cancellation> cancellation;
  };
  bool MayAskMore() const REQUIRES(mutex_);
  bool MayHedge(bool moving_on) const REQUIRES(mutex_);
  int TakeLocked() REQUIRES(mutex_);

  const std::shared_ptr<const ReadRequest> request_;

  mutable Mutex mutex_;
  Choice choice_ GUARDED_BY(mutex_);
  size_t taken_ GUARDED_BY(mutex_) = 0;
  size_t pending_ GUARDED_BY(mutex_) = 0;      // taken, and not finished
  std::vector<Try> tries_ GUARDED_BY(mutex_);  // that run
  bool hedged_ GUARDED_BY(mutex_) = false;
  bool over_ GUARDED_BY(mutex_) = false;
  int best_rank_ GUARDED_BY(mutex_) = 0;
  ReadResult result_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
