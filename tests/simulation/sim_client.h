// SPDX-License-Identifier: MIT
// A simulated user: sends with keys and retries, reads with a session token, walks over history and
// follows feeds, and remembers what it was told. What contradicts that is a violation.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/ledger.h"
#include "tests/simulation/options.h"
#include "tests/simulation/sim_proxy.h"

namespace chatchain::simulation {

class SimClient {
 public:
  SimClient(Cluster& cluster, Ledger& ledger, std::vector<std::unique_ptr<SimProxy>>& proxies,
            const Rates& rates, std::string name, int endpoint);

  // Does one thing and comes back for more, until Rest().
  void Turn();
  void Rest() { resting_ = true; }
  bool busy() const { return busy_; }
  size_t token_bytes() const { return session_ ? session_->size() : 0; }

  // After healing: every stream is read to its end at nodes of `slots`; it must have given all.
  void FinishStreams(const std::vector<int>& slots);
  // Sends and reads must work by now. REQUIRES: !busy()
  void Prove(std::function<void()> done);

 private:
  // A feed that is followed: from the beginning, or from the last page of a walk on.
  struct Stream {
    std::string token;
    std::set<MessageId> given;  // by the walk before it, too
    // Given by a walk with a page from a node that lacked a part of it, whose token may cover less:
    // each may come once more.
    std::set<MessageId> given_stale;
    bool was_behind = false;
    // A node with a damaged record may pass over what it vouched for, until it finds the damage.
    bool spoilt = false;
  };
  struct Walk {
    ListQuery query;
    std::optional<std::string> cursor;
    std::vector<Place> expected;
    std::vector<Place> places;
    std::set<MessageId> given;
    uint64_t disturbances = 0;
    bool spoilt = false;
    bool exact = true;  // every page came from a node that held all of it
    int tries = 0;
  };
  struct Sending {
    std::vector<WriteItem> items;
    int copies = 1;
    int tries = 0;
  };

  SimProxy* SomeProxy();
  void Again(int64_t delay_us);
  // Late answers of an operation that was given up are dropped.
  template <typename Done>
  auto Once(Done done);
  void Send();
  void TrySend(const std::shared_ptr<Sending>& sending);
  void TookSend(const std::shared_ptr<Sending>& sending, const ProxyWrite& result);
  void Read(ReadRequest request, std::function<void(ReadAnswer)> done);
  void ReadOne();
  void ReadAll();
  void TookAll(const ReadAnswer& answer, bool had_session);
  bool Spoilt(const ReadAnswer& answer) const;
  void BeginWalk();
  SimNode* SomeNodeBehind(const Walk& walk);
  SimNode* SomeNodeThatCannotTell(const TokenVector& token);
  void NextPage(const std::shared_ptr<Walk>& walk);
  void TookPage(const std::shared_ptr<Walk>& walk, const ReadAnswer& answer);
  void EndWalk(const std::shared_ptr<Walk>& walk, const std::string& after);
  void Poll();
  void TookPoll(Stream& stream, const ReadAnswer& answer);
  void Adopt(const std::string& session);
  void CheckSession(const ReadAnswer& answer);
  ValidMessage NewMessage();

  Cluster& cluster_;
  Ledger& ledger_;
  std::vector<std::unique_ptr<SimProxy>>& proxies_;
  const Rates& rates_;
  const std::string name_;
  const int endpoint_;
  const TokenCodec tokens_;
  int keys_ = 0;
  bool busy_ = false;
  bool resting_ = false;
  uint64_t operation_ = 0;
  std::optional<std::string> session_;
  TokenVector meant_;                // by it, where a read gave it
  std::map<MessageId, Stamp> seen_;  // under session_
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace chatchain::simulation
