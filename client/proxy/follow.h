// SPDX-License-Identifier: MIT
// Follows the feed of one node for all who follow the proxy, and moves on to another node with the
// last token when that one dies, hangs or leaves. What was passed on is not passed on again. Who
// begins elsewhere reads on by pages, from the same node, until it meets what is followed.
//
// It asks by long polls: each answer is whole, a hung node is noticed by a deadline, and what
// queued up meanwhile comes in one answer. One thread follows, a few read pages. Thread-safe.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "client/proxy/proxy.h"
#include "common/feed/hub.h"
#include "common/feed/poll.h"
#include "common/feed/query.h"
#include "common/http/client.h"
#include "common/protocol/token.h"
#include "common/util/mutex.h"

namespace chatchain {

struct FollowStats {
  feed::HubStats hub;
  uint64_t polls = 0;
  uint64_t failed_polls = 0;
  uint64_t moves = 0;    // to another node
  uint64_t repeats = 0;  // left out by the one that all share
  bool behind = false;   // the followed node lacks something that was passed on
};

class Follower final : public feed::Source {
 public:
  Follower(Proxy& proxy, const std::vector<std::string>& nodes, int connect_timeout_ms,
           const Clock& clock);
  ~Follower() override;

  void Start(feed::Hub::Post post);
  // The nodes to be asked from now on; a request under way ends with the one that it asked.
  void set_nodes(const std::vector<std::string>& nodes, int connect_timeout_ms);
  // REQUIRES: before the server that `post` belongs to ends.
  void Stop();

  // 400 for a bad token, 503 where no node answers.
  Try<std::shared_ptr<feed::Subscription>> Subscribe(const feed::FeedRequest& request);

  // One GET /messages/poll that does not wait, handed on to a node.
  Try<http::ClientResponse> Poll(const feed::FeedRequest& request, std::string_view accept,
                                 int* attempts);
  // What answers were taken from of late: the id of a node, empty before the first; and why there
  // are none, while no node answers.
  struct Upkeep {
    std::string node_id;
    std::optional<Problem> trouble;
  };
  Upkeep upkeep() const;
  // Ends what asks for clients: the proxy is about to stop.
  void set_draining() { draining_.store(true); }

  FollowStats stats() const;

  Try<feed::Page> Read(const std::string& token, const Filter& filter) override;
  Order Compare(const std::string& token, const feed::Event& event) override;

 private:
  // After every event up to `number`, all of `covers` was published.
  struct Position {
    int64_t number = 0;
    TokenVector covers;
  };

  void Run();
  void Follow();
  // One request to the node that is followed, or to the next one that answers.
  // `wanted`: what such a node should hold already.
  Try<http::ClientResponse> Ask(const std::string& target, std::string_view accept, int wait_ms,
                                SteadyTime deadline, int* attempts,
                                const std::optional<TokenVector>& wanted = std::nullopt);
  using Upstream = std::shared_ptr<http::Client>;
  std::vector<Upstream> NodesInOrder(const std::optional<TokenVector>& wanted);
  Try<feed::PollPage> AskPage(const std::string& after, const Filter& filter, size_t limit,
                              int wait_ms, SteadyTime deadline);
  feed::EventPtr EventOf(feed::PollPage::Message&& message, int64_t number);
  void Note(int64_t number, const std::string& token);
  std::optional<int64_t> FindPosition(const TokenVector& covers);

  Proxy& proxy_;
  const Clock& clock_;
  feed::Hub hub_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> rotation_{0};
  std::atomic<uint64_t> polls_{0};
  std::atomic<uint64_t> failed_polls_{0};
  std::atomic<uint64_t> moves_{0};
  std::atomic<uint64_t> repeats_count_{0};
  std::atomic<bool> behind_{false};

  mutable Mutex mutex_;
  std::vector<Upstream> clients_ GUARDED_BY(mutex_);
  Upstream current_ GUARDED_BY(mutex_);  // the followed node; null: none
  Upkeep upkeep_ GUARDED_BY(mutex_);
  std::deque<Position> positions_ GUARDED_BY(mutex_);  // the newest last

  // Of the following thread.
  std::string token_;
  int64_t number_ = 0;
  feed::Repeats passed_on_;
  std::thread thread_;
};

}  // namespace chatchain
