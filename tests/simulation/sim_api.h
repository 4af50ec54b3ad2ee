// SPDX-License-Identifier: MIT
// What simulated clients and proxies say to nodes: the HTTP interface as values. Knows nothing of
// how a node is made.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/json.h"
#include "common/protocol/query.h"
#include "common/protocol/token.h"

namespace chatchain::simulation {

inline constexpr const char* kSimulatedCluster = "test";

struct WriteItem {
  ValidMessage message;
  Stamp stamp = 0;
};
struct ItemAnswer {
  int status = 0;
  bool key_reused = false;
  Stamp stamp = 0;
  int copies = 0;
};
struct WriteAnswer {
  bool connected = true;
  std::string node;
  std::string session;
  std::vector<ItemAnswer> items;
};

struct ReadRequest {
  enum class Kind { kFind, kHistory, kPoll, kReady } kind = Kind::kReady;
  MessageId id;                       // kFind
  ListQuery query;                    // kHistory; of kPoll, its filter
  std::optional<std::string> cursor;  // kHistory
  std::optional<std::string> after;   // kPoll
  size_t limit = 100;
  std::optional<std::string> session;
  bool strict = false;
};
struct ReadAnswer {
  bool connected = true;
  int status = 0;
  std::string node;
  int slot = 0;
  std::string session;
  bool stale = false;
  bool lost = false;
  std::vector<ShownMessage> messages;
  std::vector<Place> places;         // kHistory
  std::optional<std::string> next;   // kHistory
  std::optional<std::string> after;  // the last page; kPoll
  bool behind = false;               // kPoll
  bool gap = false;
  bool more = false;
  bool forked = false;  // the node has frozen epochs
  HeadVector heads;     // kReady
  bool writable = true;
  // For the checkers: what `session` implies; of what is frozen at that node, everything.
  TokenVector meant;
  // For the checkers: what the first page of a walk covers, with the places that these records
  // give.
  std::vector<Place> covered;
};

// A node as its clients see it.
class NodePort {
 public:
  virtual ~NodePort() = default;
  virtual int slot() const = 0;
  // `reply` runs at most once.
  virtual void OnWrite(const std::vector<WriteItem>& items, int copies,
                       std::function<void(WriteAnswer)> reply) = 0;
  virtual void OnRead(const ReadRequest& request, std::function<void(ReadAnswer)> reply) = 0;
};
using NodePorts = std::vector<NodePort*>;

}  // namespace chatchain::simulation
