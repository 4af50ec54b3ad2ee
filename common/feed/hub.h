// SPDX-License-Identifier: MIT
// Hands the feed to all who follow it. A program publishes each new message once; the hub keeps the
// newest in a ring, and each subscription is a position in it. Whoever is not at a position of the
// ring - a resumed one, one that is too slow - reads on by pages from the source until it is.
//
// Threads: Publish(), Reset() and Subscribe() on any. The ring and the subscriptions belong to the
// server's event loop alone and need no lock. A few reader threads, however many subscriptions.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "common/feed/event.h"
#include "common/feed/repeats.h"
#include "common/protocol/query.h"
#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain::feed {

// Where pages come from. Thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  // What follows `token`. May block for a second or so; does not wait for something new.
  virtual Try<Page> Read(const std::string& token, const Filter& filter) = 0;
  // How a token that Read() gave with `live_after` stands to an event that was published after it.
  // Asked only where Options::drop_repeats is set, on the event loop.
  enum class Order {
    kCovered,  // the token covers all that the event's does
    kBefore,   // the other way round: the event follows
    kApart,    // neither: they come from different orders
  };
  virtual Order Compare(const std::string& token, const Event& event) = 0;
};

struct HubStats {
  uint64_t subscribers = 0;
  uint64_t published = 0;    // events
  uint64_t delivered = 0;    // events to subscriptions
  uint64_t pages = 0;        // read from the source
  uint64_t fell_behind = 0;  // subscriptions that were too slow for the ring
  uint64_t gaps = 0;         // told to subscriptions
  uint64_t repeats = 0;      // left out
  uint64_t ended = 0;        // subscriptions that the source could not serve
};

class Subscription;

class Hub {
 public:
  struct Options {
    size_t ring_events = 8192;
    size_t ring_bytes = 16 << 20;
    size_t readers = 2;
    // Pages and the ring may come from different orders: a subscription compares where it joins,
    // and leaves out what it was given.
    bool drop_repeats = false;
  };
  using Post = std::function<void(std::function<void()>)>;

  Hub(Options options, Source& source) : options_(options), source_(source) {}
  ~Hub();

  // `post` runs something on the event loop, in order.
  void Start(Post post);
  // Ends the reader threads. REQUIRES: before `post` ends.
  void Stop();

  // The ring begins anew: events after `floor` will follow.
  void Reset(int64_t floor, std::string token);
  // `token`: after all of them, and after all else up to `through`.
  // `gap`: something before them is gone.
  void Publish(std::vector<EventPtr> events, std::string token, int64_t through, bool gap = false);
  // Whether anybody follows; waits until then, at most until `deadline`.
  bool AwaitSubscribers(SteadyTime deadline);
  bool has_subscribers() const { return subscribers_.load() > 0; }

  // `first`: a page that begins at `token`.
  std::shared_ptr<Subscription> Subscribe(Filter filter, std::string token, Page first);

  HubStats stats() const;

 private:
  friend class Subscription;
  struct Job {
    std::shared_ptr<Subscription> subscription;
    std::string token;
  };

  void RunReader();
  void Queue(Job job);
  void PokeAll();

  const Options options_;
  Source& source_;
  Post post_;

  // Of the event loop.
  std::deque<EventPtr> ring_;
  size_t ring_bytes_ = 0;
  int64_t floor_ = 0;    // events after this are in the ring, or still to come
  int64_t through_ = 0;  // `token_` is after this
  uint64_t first_ = 0;   // index of ring_.front(), of all events ever
  std::string token_;
  bool running_ = false;  // the ring is being fed
  std::unordered_set<Subscription*> attached_;

  std::atomic<uint64_t> subscribers_{0};
  std::atomic<uint64_t> published_{0};
  std::atomic<uint64_t> delivered_{0};
  std::atomic<uint64_t> pages_{0};
  std::atomic<uint64_t> fell_behind_{0};
  std::atomic<uint64_t> gaps_{0};
  std::atomic<uint64_t> repeats_{0};
  std::atomic<uint64_t> ended_{0};

  Mutex mutex_;
  CondVar changed_;
  std::deque<Job> jobs_ GUARDED_BY(mutex_);  // at most one a subscription
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> readers_;
};

// One that follows. On the event loop, but for its creation and its end.
class Subscription : public std::enable_shared_from_this<Subscription> {
 public:
  struct Item {
    enum class Kind { kEvent, kToken, kGap, kStatus } kind = Kind::kToken;
    EventPtr event;       // kEvent
    std::string token;    // kToken
    bool behind = false;  // kStatus
  };

  Subscription(Hub& hub, Filter filter, std::string token, Page first);
  ~Subscription();

  // `poke` is called when Next() may have something.
  void Attach(std::function<void()> poke);
  void Detach();
  // The next thing to be told; the first one is the token at which it begins. None: not now.
  std::optional<Item> Next();
  // Where it stands, for a heartbeat.
  const std::string& token() const;
  // The source could not serve it for too long: to be ended, so that its client goes elsewhere.
  bool failed() const { return failed_; }

 private:
  friend class Hub;
  enum class Mode { kPage, kReading, kWaiting, kLive };

  void StartReading();
  void OnPage(Try<Page> page);
  std::optional<Item> NextOfPage();
  std::optional<Item> NextOfRing();
  void FindPlaceInRing();
  bool IsRepeat(const Event& event, bool of_ring);
  void RememberRing();

  Hub& hub_;
  const Filter filter_;
  std::function<void()> poke_;
  Mode mode_ = Mode::kPage;
  bool began_ = false;
  bool failed_ = false;
  bool told_behind_ = false;
  bool gap_ = false;  // of the ring, to be told
  std::string token_;
  Page page_;
  size_t page_at_ = 0;
  SteadyTime retry_at_{};
  int failures_ = 0;
  uint64_t next_ = 0;  // index in the ring
  bool placed_ = false;
  std::string covered_;  // a token that may cover events behind the place at which it joined
  // What was given before it joined the ring, where that may bring it again; kept for a while.
  std::unique_ptr<Repeats> given_;
  uint64_t joined_ = 0;  // index in the ring
  SteadyTime joined_at_{};
};

}  // namespace chatchain::feed
