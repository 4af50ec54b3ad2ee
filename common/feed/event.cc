// SPDX-License-Identifier: MIT
#include "common/feed/event.h"

#include <utility>

namespace chatchain::feed {

EventPtr MakeEvent(int64_t number, const MessageId& id, Message message, Stamp stamp,
                   std::string token, std::string json) {
  auto event = std::make_shared<Event>();
  event->number = number;
  event->id = id;
  event->message = std::move(message);
  event->message.text = std::string();
  event->message.key = std::string();
  event->stamp = stamp;
  event->sse.reserve(token.size() + json.size() + 32);
  event->sse.append("id: ").append(token).append("\nevent: message\ndata: ");
  event->sse.append(json).append("\n\n");
  event->token = std::move(token);
  event->json = std::move(json);
  return event;
}

std::string TokenBlock(std::string_view token) {
  return "id: " + std::string(token) + "\n\n";
}

std::string GapBlock() {
  return "event: gap\ndata: {}\n\n";
}

std::string StatusBlock(bool behind) {
  return std::string("event: status\ndata: {\"behind\":") + (behind ? "true" : "false") + "}\n\n";
}

}  // namespace chatchain::feed
