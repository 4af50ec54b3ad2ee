// SPDX-License-Identifier: MIT
// WebSocket (RFC 6455, with permessage-deflate of RFC 7692) on the parked connections of the
// server. The frames are Boost.Beast's; an application sees whole messages.
//
// Threads: everything happens on the event loop, one call at a time, and must not block; work that
// may block goes through WebSocketPort::Run().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/http/message.h"

namespace chatchain::http {

struct WebSocketMessage {
  std::shared_ptr<const std::string> data;  // shared: one text may go to many
  bool binary = false;
};

// Close codes of RFC 6455, section 7.4.1, and of its registry.
inline constexpr int kCloseNormal = 1000;
inline constexpr int kCloseGoingAway = 1001;
inline constexpr int kClosePolicy = 1008;
inline constexpr int kCloseTryAgainLater = 1013;

// The connection, as its application sees it. Valid from Begin() to End().
class WebSocketPort {
 public:
  virtual ~WebSocketPort() = default;
  // There may be something to send: Next() is asked.
  virtual void Poke() = 0;
  // Sends a close frame after what is being sent; no further message is asked for or given.
  virtual void Close(int code, const std::string& reason) = 0;
  // Messages are read only while reading is on, as it is at first.
  virtual void SetReading(bool on) = 0;
  // Runs `work` on a worker thread, which may block, then `done` on the event loop, unless the
  // connection has ended by then.
  virtual void Run(std::function<void()> work, std::function<void()> done) = 0;
};

class WebSocketApp {
 public:
  virtual ~WebSocketApp() = default;
  virtual void Begin(WebSocketPort* port) = 0;
  // A whole message; a text is valid UTF-8.
  virtual void OnMessage(std::string data, bool binary) = 0;
  // The next message to be sent; none: Poke() when there is one. Asked only when what it gave
  // before is with the kernel.
  virtual std::optional<WebSocketMessage> Next() = 0;
  virtual void End() = 0;
  // The longest message that is taken; a longer one ends the connection with code 1009.
  virtual size_t max_message_bytes() const = 0;
};

// What is wrong with a request that wants to become a WebSocket: 400, 403 for an `Origin` that is
// neither our own nor one of `origins` ("*": any), 426.
std::optional<Problem> CheckUpgrade(const Request& request,
                                    const std::vector<std::string>& origins);

}  // namespace chatchain::http
