// SPDX-License-Identifier: MIT
// Messages from the server's JSON to lines of output. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "client/terminal/show.h"
#include "common/protocol/message.h"

namespace chatchain::terminal {

struct ReadMessage {
  MessageId id;
  std::string json;  // one line, safe for a terminal
  MessageColumns::Row row;
};
// None: it is not the JSON of a message.
std::optional<ReadMessage> ParseMessage(std::string_view json);

// A JSON text as one line that is safe for a terminal. None: it is no JSON object.
std::optional<std::string> JsonLine(std::string_view json);

class MessageLines {
 public:
  MessageLines(bool json, Style style) : json_(json), columns_(style) {}
  // Messages of one page are aligned when all were expected before the first is made a line.
  void Expect(const ReadMessage& message) { columns_.Expect(message.row); }
  std::string Line(const ReadMessage& message) {
    return json_ ? message.json + "\n" : columns_.Line(message.row);
  }

 private:
  const bool json_;
  MessageColumns columns_;
};

}  // namespace chatchain::terminal
