// SPDX-License-Identifier: MIT
// The server's side of one live answer that is no WebSocket: an event stream, after its head. It
// sends what its body has, for as long as the reader stays. Apart from live_session.cc only
// Connection sees it; all calls on the live strand.
#pragma once

#include <memory>

#include "common/http/live.h"

namespace chatchain::http {

class Connection;

class LiveSession {
 public:
  // `connection` owns it.
  LiveSession(Connection& connection, std::shared_ptr<LiveBody> body, bool chunked)
      : connection_(connection), body_(std::move(body)), chunked_(chunked) {}

  void Start();
  // About once a second, and when draining begins.
  void Tick() { Pump(); }
  // The connection is closed.
  void End();

 private:
  void Read();
  void Pump();
  void WaitToSend();
  void Finish();

  Connection& connection_;
  std::shared_ptr<LiveBody> body_;  // until the connection is closed
  const bool chunked_;
  bool blocked_ = false;  // the peer takes no more for now
  bool pumping_ = false;
  bool complete_ = false;  // the body
  bool finished_ = false;  // and with the kernel
};

}  // namespace chatchain::http
