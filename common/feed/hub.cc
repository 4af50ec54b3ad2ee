// SPDX-License-Identifier: MIT
#include "common/feed/hub.h"

#include <algorithm>
#include <utility>

#include "common/protocol/filter.h"

namespace chatchain::feed {

namespace {

// How long a subscription that has joined the ring remembers what it was given before.
constexpr std::chrono::seconds kRememberFor{60};
constexpr std::chrono::milliseconds kWaitPause{100};
constexpr std::chrono::milliseconds kFailurePause{500};
constexpr int kFailuresToEnd = 30;

size_t BytesOf(const Event& event) {
  return sizeof(Event) + event.token.size() + 2 * event.json.size() + event.sse.size();
}

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

// ---- hub

Hub::~Hub() {
  Stop();
}

void Hub::Start(Post post) {
  post_ = std::move(post);
  for (size_t i = 0; i < options_.readers; ++i) {
    readers_.emplace_back([this] {
      pthread_setname_np(pthread_self(), "feed-reader");
      RunReader();
    });
  }
}

void Hub::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  changed_.NotifyAll();
  for (std::thread& reader : readers_) reader.join();
  readers_.clear();
}

void Hub::RunReader() {
  while (true) {
    Job job;
    {
      MutexLock lock(mutex_);
      while (jobs_.empty() && !stopping_) changed_.Wait(mutex_);
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    pages_.fetch_add(1, std::memory_order_relaxed);
    auto page = std::make_shared<Try<Page>>(source_.Read(job.token, job.subscription->filter_));
    post_([subscription = std::move(job.subscription), page] {
      subscription->OnPage(std::move(*page));
    });
  }
}

void Hub::Queue(Job job) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  changed_.NotifyAll();
}

void Hub::Reset(int64_t floor, std::string token) {
  post_([this, floor, token = std::move(token)] {
    first_ += ring_.size();
    ring_.clear();
    ring_bytes_ = 0;
    floor_ = floor;
    through_ = floor;
    token_ = token;
    running_ = true;
    // What came between the old ring and this one is only to be had by pages.
    for (Subscription* subscription : attached_) {
      if (subscription->mode_ == Subscription::Mode::kLive && subscription->placed_) {
        subscription->StartReading();
      }
    }
    PokeAll();
  });
}

void Hub::Publish(std::vector<EventPtr> events, std::string token, int64_t through, bool gap) {
  published_.fetch_add(events.size(), std::memory_order_relaxed);
  post_([this, events = std::move(events), token = std::move(token), through, gap] {
    for (Subscription* subscription : attached_) {
      if (gap && subscription->mode_ == Subscription::Mode::kLive) subscription->gap_ = true;
    }
    for (const EventPtr& event : events) {
      ring_bytes_ += BytesOf(*event);
      ring_.push_back(event);
    }
    while (ring_.size() > options_.ring_events ||
           (ring_bytes_ > options_.ring_bytes && ring_.size() > 1)) {
      ring_bytes_ -= BytesOf(*ring_.front());
      floor_ = ring_.front()->number;
      ring_.pop_front();
      ++first_;
    }
    token_ = token;
    through_ = through;
    PokeAll();
  });
}

void Hub::PokeAll() {
  // A poke may end others.
  std::vector<std::shared_ptr<Subscription>> all;
  all.reserve(attached_.size());
  for (Subscription* subscription : attached_) all.push_back(subscription->shared_from_this());
  for (const auto& subscription : all) {
    if (subscription->poke_) subscription->poke_();
  }
}

bool Hub::AwaitSubscribers(SteadyTime deadline) {
  MutexLock lock(mutex_);
  while (subscribers_.load() == 0 && !stopping_) {
    if (!changed_.WaitUntil(mutex_, deadline)) break;
  }
  return subscribers_.load() > 0;
}

std::shared_ptr<Subscription> Hub::Subscribe(Filter filter, std::string token, Page first) {
  return std::make_shared<Subscription>(*this, std::move(filter), std::move(token),
                                        std::move(first));
}

HubStats Hub::stats() const {
  HubStats stats;
  stats.subscribers = subscribers_;
  stats.published = published_;
  stats.delivered = delivered_;
  stats.pages = pages_;
  stats.fell_behind = fell_behind_;
  stats.gaps = gaps_;
  stats.repeats = repeats_;
  stats.ended = ended_;
  return stats;
}

// ---- subscription

Subscription::Subscription(Hub& hub, Filter filter, std::string token, Page first)
    : hub_(hub), filter_(std::move(filter)), token_(std::move(token)), page_(std::move(first)) {
  if (hub.options_.drop_repeats) given_ = std::make_unique<Repeats>();
  hub_.subscribers_.fetch_add(1);
  {
    // Who waits for the first one is before its look at the number, or waits already.
    MutexLock lock(hub_.mutex_);
  }
  hub_.changed_.NotifyAll();
}

Subscription::~Subscription() {
  hub_.subscribers_.fetch_sub(1);
}

void Subscription::Attach(std::function<void()> poke) {
  poke_ = std::move(poke);
  hub_.attached_.insert(this);
}

void Subscription::Detach() {
  hub_.attached_.erase(this);
  poke_ = nullptr;
}

const std::string& Subscription::token() const {
  // At the end of the ring the newest token stands for all, those of later records included.
  const bool at_end = mode_ == Mode::kLive && placed_ && covered_.empty() && hub_.running_ &&
                      next_ == hub_.first_ + hub_.ring_.size() &&
                      hub_.through_ >= page_.live_after && !hub_.token_.empty();
  return at_end ? hub_.token_ : token_;
}

std::optional<Subscription::Item> Subscription::Next() {
  if (!began_) {
    began_ = true;
    return Item{Item::Kind::kToken, nullptr, token_, false};
  }
  if (mode_ == Mode::kPage) {
    if (auto item = NextOfPage()) return item;
  }
  if (mode_ == Mode::kWaiting && Now() >= retry_at_) StartReading();
  if (mode_ == Mode::kLive) return NextOfRing();
  return std::nullopt;
}

std::optional<Subscription::Item> Subscription::NextOfPage() {
  if (page_.gap) {
    page_.gap = false;
    hub_.gaps_.fetch_add(1, std::memory_order_relaxed);
    return Item{Item::Kind::kGap, nullptr, {}, false};
  }
  if (page_.behind && !told_behind_) {
    told_behind_ = true;
    return Item{Item::Kind::kStatus, nullptr, {}, true};
  }
  while (page_at_ < page_.events.size()) {
    const EventPtr event = std::move(page_.events[page_at_++]);
    token_ = event->token;
    if (IsRepeat(*event, false)) continue;
    hub_.delivered_.fetch_add(1, std::memory_order_relaxed);
    return Item{Item::Kind::kEvent, event, {}, false};
  }
  if (!page_.token.empty()) token_ = std::exchange(page_.token, std::string());
  page_.events = {};
  if (!page_.behind && told_behind_ && page_.next != Page::Next::kMore) {
    told_behind_ = false;
    return Item{Item::Kind::kStatus, nullptr, {}, false};
  }
  switch (page_.next) {
    case Page::Next::kMore: StartReading(); break;
    case Page::Next::kWait:
      mode_ = Mode::kWaiting;
      retry_at_ = Now() + kWaitPause;
      break;
    case Page::Next::kLive:
      mode_ = Mode::kLive;
      placed_ = false;
      covered_ = hub_.options_.drop_repeats ? token_ : std::string();
      break;
  }
  return std::nullopt;
}

void Subscription::FindPlaceInRing() {
  const auto& ring = hub_.ring_;
  const auto place = std::upper_bound(
      ring.begin(), ring.end(), page_.live_after,
      [](int64_t number, const EventPtr& event) { return number < event->number; });
  next_ = hub_.first_ + static_cast<uint64_t>(place - ring.begin());
  placed_ = true;
  joined_ = next_;
  joined_at_ = Now();
}

std::optional<Subscription::Item> Subscription::NextOfRing() {
  if (!hub_.running_) return std::nullopt;
  if (!placed_) {
    if (page_.live_after < hub_.floor_) {
      StartReading();
      return std::nullopt;
    }
    FindPlaceInRing();
  } else if (next_ < hub_.first_) {
    hub_.fell_behind_.fetch_add(1, std::memory_order_relaxed);
    StartReading();
    return std::nullopt;
  }
  if (gap_) {
    gap_ = false;
    hub_.gaps_.fetch_add(1, std::memory_order_relaxed);
    return Item{Item::Kind::kGap, nullptr, {}, false};
  }
  while (next_ < hub_.first_ + hub_.ring_.size()) {
    const EventPtr& event = hub_.ring_[next_ - hub_.first_];
    if (!covered_.empty()) {
      const Source::Order order = hub_.source_.Compare(covered_, *event);
      if (order == Source::Order::kApart) {
        // The event's token would forget what was given by pages.
        StartReading();
        return std::nullopt;
      }
      if (order == Source::Order::kBefore) covered_.clear();
      if (order == Source::Order::kCovered) {
        ++next_;
        continue;
      }
    }
    ++next_;
    // The pages were ahead of what was published when it joined.
    if (event->number <= page_.live_after) continue;
    token_ = event->token;
    if (!Matches(filter_, event->message, event->stamp) || IsRepeat(*event, true)) continue;
    hub_.delivered_.fetch_add(1, std::memory_order_relaxed);
    return Item{Item::Kind::kEvent, event, {}, false};
  }
  return std::nullopt;
}

bool Subscription::IsRepeat(const Event& event, bool of_ring) {
  if (given_ == nullptr) return false;
  const bool repeat = of_ring ? given_->Has(event.id) : !given_->Add(event.id);
  if (repeat) hub_.repeats_.fetch_add(1, std::memory_order_relaxed);
  // The ring has no repeats of its own.
  if (of_ring && next_ - joined_ > Repeats::kIds && Now() - joined_at_ > kRememberFor) {
    given_.reset();
  }
  return repeat;
}

void Subscription::StartReading() {
  if (hub_.options_.drop_repeats && mode_ == Mode::kLive && placed_) RememberRing();
  mode_ = Mode::kReading;
  page_ = {};
  page_at_ = 0;
  hub_.Queue({shared_from_this(), token_});
}

// It leaves the ring: what it was given of it may come again by pages.
void Subscription::RememberRing() {
  if (given_ == nullptr) given_ = std::make_unique<Repeats>();
  for (uint64_t i = std::max(hub_.first_, joined_);
       i < std::min(next_, hub_.first_ + hub_.ring_.size()); ++i) {
    const Event& event = *hub_.ring_[i - hub_.first_];
    if (Matches(filter_, event.message, event.stamp)) given_->Add(event.id);
  }
}

void Subscription::OnPage(Try<Page> page) {
  if (page) {
    failures_ = 0;
    page_ = std::move(*page);
    page_at_ = 0;
    mode_ = Mode::kPage;
  } else {
    if (++failures_ == kFailuresToEnd) {
      failed_ = true;
      hub_.ended_.fetch_add(1, std::memory_order_relaxed);
    }
    mode_ = Mode::kWaiting;
    retry_at_ = Now() + kFailurePause;
  }
  if (poke_) poke_();
}

}  // namespace chatchain::feed
