// SPDX-License-Identifier: MIT
#include "node/feed_driver.h"

#include <algorithm>
#include <utility>

#include "common/util/log.h"

namespace chatchain {

namespace {

using std::chrono::milliseconds;

// A page waits for its reader: what a slow one holds is about this much.
constexpr size_t kPageMessages = 64;
constexpr size_t kPageBytes = 32 * 1024;
// One read of the commits; further ones follow at once.
constexpr size_t kTailMessages = 500;
constexpr size_t kTailBytes = 1 << 20;
// How often those who are behind ask the peers, all together.
constexpr milliseconds kReachEvery{250};
constexpr milliseconds kReachFor{100};
constexpr milliseconds kRest{1000};
constexpr milliseconds kLinger{3000};
constexpr milliseconds kPauseWithoutNews{5};
constexpr milliseconds kPauseAfterFailure{200};

// What `answer` gives, and how it goes on.
feed::Page PageOf(FeedAnswer&& answer, std::string token) {
  feed::Page page;
  page.events.reserve(answer.steps.size());
  for (FeedStep& step : answer.steps) page.events.push_back(EventOf(std::move(step)));
  page.token = std::move(token);
  page.behind = answer.position.behind;
  if (answer.more) {
    page.next = feed::Page::Next::kMore;
  } else if (answer.live_after) {
    page.next = feed::Page::Next::kLive;
    page.live_after = *answer.live_after;
  } else {
    page.next = feed::Page::Next::kWait;
  }
  return page;
}

}  // namespace

feed::EventPtr EventOf(FeedStep&& step) {
  std::string json;
  json.reserve(step.shown.message.text.size() + 256);
  AppendMessageObject(&json, step.shown);
  return feed::MakeEvent(step.message_ref, step.shown.id, std::move(step.shown.message),
                         step.shown.stamp, std::move(step.token), std::move(json));
}

FeedDriver::FeedDriver(Feed& feed, SqliteStorage& storage, const Clock& clock)
    : feed_(feed), storage_(storage), clock_(clock), hub_({}, *this) {}

FeedDriver::~FeedDriver() {
  Stop();
}

void FeedDriver::Start(feed::Hub::Post post) {
  hub_.Start(std::move(post));
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "feed");
    Run();
  });
}

void FeedDriver::Stop() {
  stopping_ = true;
  storage_.board().Interrupt();
  hub_.Stop();
  if (thread_.joinable()) thread_.join();
}

Try<feed::Page> FeedDriver::ReadPage(const FeedPosition& position, const Filter& filter) {
  auto answer = feed_.Read(position, filter, kPageMessages, kPageBytes);
  if (!answer) return Err(std::move(answer.error()));
  std::string token = feed_.Encode(answer->position.covers);
  feed::Page page = PageOf(std::move(*answer), std::move(token));
  page.gap = position.gap;
  return page;
}

Try<feed::Page> FeedDriver::Read(const std::string& token, const Filter& filter) {
  auto position = feed_.Decode(token);
  if (!position) return Err(std::move(position.error()));
  int64_t last_ns = reached_ns_.load();
  const SteadyTime now = clock_.Steady();
  const int64_t now_ns = now.time_since_epoch().count();
  if (now_ns - last_ns >= std::chrono::nanoseconds(kReachEvery).count() &&
      reached_ns_.compare_exchange_strong(last_ns, now_ns)) {
    feed_.Reach(&*position, now + kReachFor);
    if (position->behind) hold_back_ = position->hold_back;
  } else {
    position->hold_back = hold_back_;
  }
  return ReadPage(*position, filter);
}

Try<std::shared_ptr<feed::Subscription>> FeedDriver::Subscribe(const FeedPosition& position,
                                                               const Filter& filter) {
  auto page = ReadPage(position, filter);
  if (!page) return Err(std::move(page.error()));
  return hub_.Subscribe(filter, feed_.Encode(position.covers), std::move(*page));
}

std::shared_ptr<feed::Subscription> FeedDriver::Follow(const FeedAnswer& answer,
                                                       const Filter& filter) {
  std::string token = feed_.Encode(answer.position.covers);
  FeedAnswer end;
  end.position.behind = answer.position.behind;
  end.live_after = answer.live_after;
  feed::Page page = PageOf(std::move(end), token);
  return hub_.Subscribe(filter, std::move(token), std::move(page));
}

int64_t FeedDriver::lag_records() const {
  const int64_t followed_ref = followed_ref_.load();
  if (followed_ref < 0) return 0;
  return std::max<int64_t>(0, storage_.State()->last_message_ref - followed_ref);
}

void FeedDriver::Run() {
  while (!stopping_) {
    if (hub_.AwaitSubscribers(clock_.Steady() + kRest)) Publish();
    followed_ref_ = -1;
  }
}

// Publishes from the state as it is now until nobody has followed for a while: who polls comes
// back.
void FeedDriver::Publish() {
  const LogStatePtr begin = storage_.State();
  FeedPosition position;
  position.covers = begin->token;
  int64_t last_ref = begin->last_message_ref;
  uint64_t version = begin->version;
  hub_.Reset(last_ref, feed_.Encode(position.covers));
  const Filter all;
  SteadyTime followed_at = clock_.Steady();
  while (!stopping_) {
    if (hub_.has_subscribers()) {
      followed_at = clock_.Steady();
    } else if (clock_.Steady() - followed_at > kLinger) {
      break;
    }
    const LogStatePtr state = storage_.board().WaitUntil(
        [&](const LogState& now) { return now.version != version; }, clock_.Steady() + kRest);
    if (state->version == version) {
      // While the node drains, the board does not wait any more.
      std::this_thread::sleep_for(kPauseWithoutNews);
      continue;
    }
    bool more = true;
    while (more && !stopping_) {
      auto answer = feed_.Read(position, all, kTailMessages, kTailBytes, last_ref);
      if (!answer) {
        // A damaged record: its repair has begun, and a state without it comes.
        spdlog::warn("the feed waits: {}", answer.error().detail);
        storage_.board().WaitUntil([](const LogState&) { return false; },
                                   clock_.Steady() + kPauseAfterFailure);
        version = 0;
        break;
      }
      std::vector<feed::EventPtr> events;
      events.reserve(answer->steps.size());
      for (FeedStep& step : answer->steps) {
        last_ref = step.message_ref;
        events.push_back(EventOf(std::move(step)));
      }
      position = std::move(answer->position);
      // What was repaired or frozen meanwhile is no reason to wait here.
      if (answer->live_after) last_ref = *answer->live_after;
      more = answer->more;
      version = answer->version;
      followed_ref_ = last_ref;
      hub_.Publish(std::move(events), feed_.Encode(position.covers), last_ref);
    }
  }
}

}  // namespace chatchain
