// SPDX-License-Identifier: MIT
// The server's side of one WebSocket: a connection that has been upgraded. Apart from
// websocket.cc only Connection sees it; all calls on the live strand.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "common/http/message.h"
#include "common/http/websocket.h"

namespace chatchain::http {

class Connection;
struct ServerCore;

class WebSocketSession : public WebSocketPort {
 public:
  // Answers the upgrade and begins.
  virtual void Start(Request request) = 0;
  // About once a second, and when draining begins.
  virtual void Tick() = 0;
  // The connection is closed.
  virtual void End() = 0;

 protected:
  // What this class, alone, may do to a connection.
  static ServerCore& CoreOf(Connection& connection);
  static boost::asio::ip::tcp::socket& SocketOf(Connection& connection);
  // It is closed unless it is kept again within `timeout_ms`.
  static void Keep(Connection& connection, int timeout_ms);
  static void CloseOf(Connection& connection);
};

std::shared_ptr<WebSocketSession> MakeWebSocketSession(std::shared_ptr<Connection> connection,
                                                       std::shared_ptr<WebSocketApp> app);

}  // namespace chatchain::http
