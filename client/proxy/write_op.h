// SPDX-License-Identifier: MIT
// One write on its way to several nodes: what was sent, and the best answer so far for each of its
// items. The nodes' lanes report to it; the driver (writer.cc) is told. An item is final by the
// success rule on its own, so what one node refuses another may take.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/proxy/verdict.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain {

// What one node said of one item. Views lie in the node's answer.
struct ItemReport {
  int status = 0;
  std::string_view body;  // the message object, or the problem
  AnswerVerdict verdict;
  int copies = 0;  // that the node knows of; 0: it was not asked
};

struct ItemOutcome {
  int status = 0;  // 0: nothing from any node
  std::string body;
  AnswerVerdict verdict;
  int node = -1;  // the index of the node that gave it
  std::vector<std::string>
      holders;           // ids of the nodes that have it durably (counted for Acks only)
  int known_copies = 0;  // the most that one of them knows of
  int copies() const { return std::max(static_cast<int>(holders.size()), known_copies); }
  std::vector<std::string> refusals;  // what nodes said that could not take this item
};

struct WriteOutcome {
  std::vector<ItemOutcome> items;
  // Session tokens and ids of the nodes that gave an answer used in `items`, by node index.
  struct Source {
    int node = -1;
    std::string node_id;
    std::string token;
  };
  std::vector<Source> sources;
  std::vector<std::string> failures;  // of whole nodes, each names its address
};

class WriteOp {
 public:
  // `items_json`: `count` items of POST /messages/batch, joined with commas. `copies`: nodes that
  // must hold each item before it is done; 1 unless the client asked for more.
  WriteOp(std::string items_json, size_t count, int copies, SteadyTime deadline);

  const std::string& items_json() const { return items_json_; }
  size_t count() const { return count_; }
  SteadyTime deadline() const { return deadline_; }
  // False once nobody waits for more: what is still queued need not be sent.
  bool wanted() const { return !closed_.load(std::memory_order_acquire); }

  // Driver. Asked before each push; exactly one report follows for each.
  void Expect();
  struct Progress {
    bool done = false;      // every item is final and has its copies
    bool answered = false;  // every item has at least an answer that is not final
    bool stored = false;    // every item is durable at one node at least
    size_t outstanding = 0;
  };
  Progress progress() const;
  // Items that are durable somewhere, and at too few nodes; with a node that has each.
  struct Lack {
    size_t item = 0;
    int node = -1;
  };
  std::vector<Lack> LackingCopies() const;
  // Takes the result; later reports change nothing.
  WriteOutcome Close();

  // Lanes.
  void ReportItems(int node, std::string_view node_id, std::string_view token,
                   const std::vector<ItemReport>& items);
  void ReportFailure(std::string why);

  // Called after each report, without a lock held, until Close(). REQUIRES: set before the first
  // report.
  void set_on_report(std::function<void()> on_report);

 private:
  Progress ProgressLocked() const REQUIRES(mutex_);
  void TakeItem(ItemOutcome* into, const ItemReport& report, int node, std::string_view node_id,
                bool* used) REQUIRES(mutex_);

  const std::string items_json_;
  const size_t count_;
  const int copies_;
  const SteadyTime deadline_;
  std::atomic<bool> closed_{false};

  mutable Mutex mutex_;
  WriteOutcome outcome_ GUARDED_BY(mutex_);
  size_t outstanding_ GUARDED_BY(mutex_) = 0;
  std::function<void()> on_report_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
