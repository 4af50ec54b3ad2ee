// SPDX-License-Identifier: MIT
// The messages that were passed on last, so that one which comes again can be left out. Bounded;
// one thread at a time.
#pragma once

#include <cstring>
#include <deque>
#include <unordered_set>
#include <utility>

#include "common/protocol/message.h"

namespace chatchain::feed {

class Repeats {
 public:
  static constexpr size_t kIds = 10'000;

  // False: it is among the last kIds.
  bool Add(const MessageId& id) {
    const Key key = KeyOf(id);
    if (!keys_.insert(key).second) return false;
    order_.push_back(key);
    if (order_.size() > kIds) {
      keys_.erase(order_.front());
      order_.pop_front();
    }
    return true;
  }
  bool Has(const MessageId& id) const { return keys_.count(KeyOf(id)) > 0; }

 private:
  // The digest's half of an id: it alone is identity.
  using Key = std::pair<uint64_t, uint64_t>;
  struct HashOf {
    size_t operator()(const Key& key) const { return static_cast<size_t>(key.first); }
  };
  static Key KeyOf(const MessageId& id) {
    Key key;
    memcpy(&key.first, id.bytes.data() + 6, sizeof(key.first));
    memcpy(&key.second, id.bytes.data() + 14, sizeof(key.second));
    return key;
  }

  std::unordered_set<Key, HashOf> keys_;
  std::deque<Key> order_;
};

}  // namespace chatchain::feed
