// SPDX-License-Identifier: MIT
// A cluster in one thread: real logs on real SQLite files, driven through ServeSync, VerifyAnswer
// and Log::Apply by a seed, with the faults that the design is about. The same seed does the same
// again.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/protocol/sync.h"
#include "node/sync/verify.h"
#include "tests/support/store_test.h"

namespace chatchain::test {

// How often each thing happens, per thousand steps; what is left over are sends.
struct SimRates {
  uint64_t pull = 450;
  uint64_t crash = 30;     // and restart; half of them in the middle of a transaction
  uint64_t stop = 15;      // for a while
  uint64_t snapshot = 30;  // a copy of a disk, for later
  uint64_t restore = 15;
  uint64_t wipe = 6;
  uint64_t clone = 4;     // a second process on a copy of the disk, with the same id
  uint64_t fork = 8;      // a stored epoch is rewritten from some record on, chain included
  uint64_t damage = 15;   // a stored value changes
  uint64_t repeat = 150;  // of the sends: an earlier message again
  uint64_t reuse = 40;    // of the sends: an earlier key with another text
};

class SimCluster {
 public:
  SimCluster(uint64_t seed, SimRates rates = {});

  void Run(int steps);
  // All faults end; every node pulls every other until all is quiet.
  void Heal();
  // What is wrong now, one line each. REQUIRES: Heal().
  std::vector<std::string> Problems();

  // How often what happened, for a look at whether the seeds do what they are for.
  const std::map<std::string, int>& counts() const { return counts_; }

 private:
  struct Node {
    std::string id;
    std::string path;      // of the database; stays when the process does not
    std::string instance;  // of the process
    ManualClock clock;
    std::unique_ptr<LogProcess> process;  // none: stopped
    std::vector<VerifiedRun> writing;     // a page that is asked beyond, and not written yet
    std::string snapshot;                 // path; empty: none
  };
  struct InFlight {
    size_t puller = 0;
    std::string instance;  // an answer to a process that is gone arrives nowhere
    std::string answer_json;
  };

  void Step();
  void Send();
  void Pull(Node& puller, Node& server, size_t limit);
  void Deliver(const InFlight& arrived);
  void FinishWriting(Node& node);
  void Start(Node& node);
  void Stop(Node& node);
  void Restart(Node& node);
  void CopyDisk(const std::string& from, const std::string& to);
  void RemoveDisk(const std::string& path);
  void Fork(Node& node);
  void Damage(Node& node);
  void Scrub(Node& node);
  // Messages of which no disk has a sound copy any more need not come back.
  void ExcuseLost();
  bool Held(const MessageId& id);
  Node* RandomUp();
  void CheckNode(Node& node, const std::vector<MessageId>& expected_order,
                 std::vector<std::string>* problems);
  std::vector<MessageId> Walk(Node& node, bool descending, size_t limit,
                              std::vector<std::string>* problems);

  TempDir dir_;
  SeededRandom random_;
  const SimRates rates_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<InFlight> in_flight_;
  std::vector<ValidMessage> sent_;                   // acknowledged at least once, in order
  std::set<MessageId> allowed_;                      // acknowledged ever
  std::set<MessageId> required_;                     // and not destroyed since
  std::set<EpochKey> rewritten_;                     // by Fork()
  std::map<std::pair<EpochKey, Seq>, Hash> issued_;  // positions that a commit of ours gave out
  std::vector<std::string> problems_;                // found on the way
  std::map<std::string, int> counts_;
  int files_ = 0;
  int keys_ = 0;
};

}  // namespace chatchain::test
