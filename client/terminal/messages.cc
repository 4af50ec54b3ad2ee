// SPDX-License-Identifier: MIT
#include "client/terminal/messages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/protocol/hlc.h"
#include "common/protocol/json.h"

namespace chatchain::terminal {

namespace {

std::string LineOf(std::string_view text, const Json& json) {
  // A control character is not within a string, where JSON forbids it: the text is laid out.
  const bool laid_out = std::any_of(text.begin(), text.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  return PrintableJson(laid_out ? json.dump() : text);
}

}  // namespace

std::optional<ReadMessage> ParseMessage(std::string_view text) {
  const auto json = ParseJsonObject(text);
  if (!json) return std::nullopt;
  const auto member = [&](const char* name) {
    const auto found = json->find(name);
    return found != json->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto id = MessageId::Parse(member("id"));
  const auto accepted_ms = ParseTime(member("accepted_at"));
  const std::string room = member("room");
  const std::string recipient = member("recipient");
  if (!id || !accepted_ms || member("sender").empty() || room.empty() == recipient.empty()) {
    return std::nullopt;
  }
  ReadMessage message;
  message.id = *id;
  message.json = LineOf(text, *json);
  message.row = {.time = LocalTime(*accepted_ms),
                 .sender = Printable(member("sender")),
                 .to = room.empty() ? Printable(recipient) : "#" + Printable(room),
                 .text = Printable(member("text"))};
  return message;
}

std::optional<std::string> JsonLine(std::string_view text) {
  const auto json = ParseJsonObject(text);
  if (!json) return std::nullopt;
  return LineOf(text, *json);
}

}  // namespace chatchain::terminal
