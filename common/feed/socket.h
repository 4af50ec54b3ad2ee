// SPDX-License-Identifier: MIT
// GET /ws: a subscription, sending and pinging over one WebSocket, in texts of JSON. On the event
// loop; what may block runs on workers.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/feed/hub.h"
#include "common/feed/query.h"
#include "common/http/websocket.h"

namespace chatchain::feed {

// What a program gives to its sockets. Called on workers; thread-safe.
struct SocketBackend {
  std::function<Try<std::shared_ptr<Subscription>>(const FeedRequest&)> subscribe;
  // As POST /messages.
  std::function<http::Response(http::Request&)> send;
  int request_timeout_ms = 5000;
};

class FeedSocket final : public http::WebSocketApp,
                         public std::enable_shared_from_this<FeedSocket> {
 public:
  // `backend` must outlive it.
  FeedSocket(const SocketBackend& backend, std::string remote_address)
      : backend_(backend), remote_address_(std::move(remote_address)) {}

  void Begin(http::WebSocketPort* port) override { port_ = port; }
  void OnMessage(std::string data, bool binary) override;
  std::optional<http::WebSocketMessage> Next() override;
  void End() override;
  size_t max_message_bytes() const override;

 private:
  void Subscribe(const nlohmann::json& op);
  void Send(const nlohmann::json& op, std::string ref);
  void Say(std::string text);
  void Refuse(const std::string& ref, const Problem& problem);
  void Attach(std::shared_ptr<Subscription> subscription);
  void Throttle();

  const SocketBackend& backend_;
  const std::string remote_address_;
  http::WebSocketPort* port_ = nullptr;
  std::shared_ptr<Subscription> subscription_;

  bool subscribing_ = false;
  size_t sending_ = 0;
  std::deque<std::string> answers_;  // before events; bounded: reading stops while there are many
  bool paused_ = false;
};

}  // namespace chatchain::feed
