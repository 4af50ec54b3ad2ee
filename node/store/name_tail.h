// SPDX-License-Identifier: MIT
// The newest entries of the index by name, which are not in its table yet.
//
// An index by sender, recipient or room takes each message at another place of its tree: written at
// once, every message costs a page of the log for every name that it has. So entries wait here, in
// memory, until a name has enough of them to fill a good part of a page, or until they are old;
// then all entries of that name go to the table `names` in the transaction of the commit that found
// it. Nothing is lost by a crash: the messages themselves are in their table, and whatever lies
// above a mark that is stored with them is read into the tail again at the start.
//
// A reader copies what it needs before its snapshot begins. Entries leave the tail only after the
// transaction that put them into the table, so that the two together are complete; an entry may be
// in both.
//
// Copy() is thread-safe; all else belongs to the writer.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/util/mutex.h"
#include "node/store/name_table.h"

namespace chatchain {

class NameTail {
 public:
  struct Options {
    size_t flush_entries = 48;       // of one name: a full row
    int64_t max_messages = 100'000;  // an entry waits for at most about so many later messages
  };
  // Of one name, in order of place.
  struct Run {
    std::string key;  // NameKey()
    std::vector<NameEntry> entries;
  };

  explicit NameTail(Options options) : options_(options) {}

  // What the tail holds of a name, in order of place.
  std::vector<NameEntry> Copy(NameRole role, std::string_view name) const;

  // Adds an entry in the current transaction.
  void Add(NameRole role, std::string_view name, const NameEntry& entry);

  // What the current transaction has to put into the table. `last_message_ref`: the newest.
  std::vector<Run> Plan(int64_t last_message_ref);
  // Instead of Plan(): everything.
  std::vector<Run> PlanAll();
  // The transaction with what Plan() gave is committed. Without memory the process ends: the log
  // must not be behind what is stored.
  void Committed(int64_t last_message_ref) noexcept;
  void RolledBack();

  // Every message up to here is in the table, by all its names. Of committed transactions.
  int64_t complete_up_to() const { return complete_up_to_; }

 private:
  using Key = std::string;  // NameKey()
  struct Group {
    std::vector<NameEntry> entries;  // in order of arrival
    uint64_t number = 0;             // of its turn
  };
  // Groups in the order in which they began; one that is gone, or that began anew, has another
  // number.
  struct Turn {
    Key key;
    uint64_t number = 0;
    int64_t oldest_ref = 0;
  };
  struct Pending {
    Key key;
    NameEntry entry;
    bool planned = false;
  };

  void SortPending();
  Run PlanGroup(const Key& key);
  bool IsGone(const Turn& turn) const;

  const Options options_;
  std::vector<Pending> pending_;
  std::vector<Key> planned_groups_;
  std::deque<Turn> turns_;
  uint64_t last_turn_ = 0;
  int64_t complete_up_to_ = 0;

  mutable Mutex mutex_;
  // Changed by the writer alone, which reads it without the lock.
  std::unordered_map<Key, Group> groups_;
};

}  // namespace chatchain
