// SPDX-License-Identifier: MIT
#include "common/feed/sse.h"

namespace chatchain::feed {

namespace {

// At least every 15 s, also where the loop is late.
constexpr std::chrono::seconds kHeartbeat{12};

}  // namespace

SseBody::Step SseBody::Fill(std::string* out, bool draining) {
  // The client comes back, here or elsewhere, with the last token.
  if (draining || subscription_->failed()) return Step::kEnd;
  const SteadyTime now = std::chrono::steady_clock::now();
  while (out->size() < kFillBytes) {
    const auto item = subscription_->Next();
    if (!item) break;
    switch (item->kind) {
      case Subscription::Item::Kind::kEvent: *out += item->event->sse; break;
      case Subscription::Item::Kind::kToken: *out += TokenBlock(item->token); break;
      case Subscription::Item::Kind::kGap: *out += GapBlock(); break;
      case Subscription::Item::Kind::kStatus: *out += StatusBlock(item->behind); break;
    }
  }
  if (out->empty() && now - told_at_ >= kHeartbeat) *out = TokenBlock(subscription_->token());
  if (out->empty()) return Step::kWait;
  told_at_ = now;
  return out->size() < kFillBytes ? Step::kWait : Step::kMore;
}

http::Response StreamResponse(std::shared_ptr<Subscription> subscription) {
  http::Response response;
  response.content_type = kEventStreamType;
  response.headers.Set("Cache-Control", "no-store");
  response.headers.Set("X-Accel-Buffering", "no");  // for a proxy in between
  response.live = std::make_shared<SseBody>(std::move(subscription));
  return response;
}

}  // namespace chatchain::feed
