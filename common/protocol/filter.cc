// SPDX-License-Identifier: MIT
#include "common/protocol/filter.h"

namespace chatchain {

bool Matches(const Filter& filter, const Message& message, Stamp stamp) {
  const auto holds = [](const std::string& wanted, const std::string& value) {
    return wanted.empty() || wanted == value;
  };
  if (!holds(filter.sender, message.sender) || !holds(filter.recipient, message.recipient) ||
      !holds(filter.room, message.room)) {
    return false;
  }
  // Two participants are the two ends, also where one of them is named twice.
  const auto& who = filter.participants;
  if (who.size() == 1 &&
      (message.sender != who[0] && (message.recipient.empty() || message.recipient != who[0]))) {
    return false;
  }
  if (who.size() == 2) {
    const bool both = who[0] == who[1]
                          ? message.sender == who[0] || message.recipient == who[0]
                          : (message.sender == who[0] && message.recipient == who[1]) ||
                                (message.sender == who[1] && message.recipient == who[0]);
    if (!both) return false;
  }
  const int64_t ms = StampMs(stamp);
  return (!filter.since_ms || ms >= *filter.since_ms) &&
         (!filter.until_ms || ms < *filter.until_ms);
}

}  // namespace chatchain
