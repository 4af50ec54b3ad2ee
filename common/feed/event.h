// SPDX-License-Identifier: MIT
// One message on its way to all who follow: read once, written as text once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/json.h"

namespace chatchain::feed {

struct Event {
  // Ascends in a process; greater than that of all events before.
  int64_t number = 0;
  MessageId id;
  Message message;  // what filters look at: without text and key
  Stamp stamp = 0;
  std::string token;  // the feed token after it
  std::string json;   // the message object
  std::string sse;    // the whole block of an event stream
  // The WebSocket frame's text; made on the event loop when the first one wants it.
  mutable std::shared_ptr<const std::string> frame;
};
using EventPtr = std::shared_ptr<const Event>;

// REQUIRES: `json` is a message object in one line.
EventPtr MakeEvent(int64_t number, const MessageId& id, Message message, Stamp stamp,
                   std::string token, std::string json);

// Blocks of an event stream.
std::string TokenBlock(std::string_view token);
std::string GapBlock();
std::string StatusBlock(bool behind);

// What a reader of the feed gets at a time.
struct Page {
  std::vector<EventPtr> events;
  std::string token;  // after all that was looked at
  bool behind = false;
  bool gap = false;
  enum class Next {
    kMore,  // read on at once
    kLive,  // what is published after `live_after` follows
    kWait,  // there is nothing now, and what is published must not be taken from the ring: read
            // again later
  };
  Next next = Next::kMore;
  int64_t live_after = 0;
};

}  // namespace chatchain::feed
