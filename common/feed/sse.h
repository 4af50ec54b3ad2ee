// SPDX-License-Identifier: MIT
// A subscription as a stream of server-sent events (the HTML standard, section 9.2). On the event
// loop.
#pragma once

#include <memory>

#include "common/feed/hub.h"
#include "common/http/live.h"
#include "common/http/message.h"

namespace chatchain::feed {

class SseBody final : public http::LiveBody {
 public:
  explicit SseBody(std::shared_ptr<Subscription> subscription)
      : subscription_(std::move(subscription)) {}

  void Begin(std::function<void()> poke) override { subscription_->Attach(std::move(poke)); }
  Step Fill(std::string* out, bool draining) override;
  void End() override { subscription_->Detach(); }

 private:
  const std::shared_ptr<Subscription> subscription_;
  SteadyTime told_at_{};
};

// The answer that streams `subscription`.
http::Response StreamResponse(std::shared_ptr<Subscription> subscription);
inline constexpr std::string_view kEventStreamType = "text/event-stream";

}  // namespace chatchain::feed
