// SPDX-License-Identifier: MIT
#include "common/feed/hub.h"

#include <catch2/catch.hpp>
#include <thread>

#include "common/feed/sse.h"
#include "tests/support/manual_loop.h"

namespace chatchain::feed {

namespace {

using std::chrono::milliseconds;

std::string IdText(int64_t number) {
  return "m" + std::to_string(number);
}

// Numbers are tokens here; message n is in room "odd" or "even".
EventPtr MakeNumbered(int64_t number) {
  MessageId id;
  id.bytes[6] = static_cast<uint8_t>(number);
  id.bytes[7] = static_cast<uint8_t>(number >> 8);
  Message message;
  message.sender = "s";
  message.room = number % 2 == 0 ? "even" : "odd";
  return MakeEvent(number, id, message, 0, std::to_string(number), "{}");
}

// A history of `last` messages.
class History final : public Source {
 public:
  Try<Page> Read(const std::string& token, const Filter& filter) override {
    ++reads;
    if (broken) return Err(Unavailable("broken"));
    Page page;
    int64_t at = std::stoll(token);
    while (at < last && page.events.size() < 3) {
      const EventPtr event = MakeNumbered(++at);
      if (filter.room.empty() || filter.room == event->message.room) page.events.push_back(event);
    }
    page.token = std::to_string(at);
    page.behind = behind;
    page.next = at < last ? Page::Next::kMore : behind ? Page::Next::kWait : Page::Next::kLive;
    page.live_after = at;
    return page;
  }
  Order Compare(const std::string& token, const Event& event) override {
    return event.number <= std::stoll(token) ? Order::kCovered : Order::kBefore;
  }
  std::atomic<int64_t> last{0};
  std::atomic<int> reads{0};
  std::atomic<bool> behind{false};
  std::atomic<bool> broken{false};
};

struct Fixture {
  explicit Fixture(Hub::Options options = {.ring_events = 10, .readers = 1})
      : hub(options, history) {
    hub.Start(loop.post());
    hub.Reset(0, "0");
    loop.RunAll();
  }
  ~Fixture() { hub.Stop(); }

  void Publish(int64_t from, int64_t to) {
    history.last = to;
    std::vector<EventPtr> events;
    for (int64_t n = from; n <= to; ++n) events.push_back(MakeNumbered(n));
    hub.Publish(std::move(events), std::to_string(to), to);
    loop.RunAll();
  }
  std::shared_ptr<Subscription> Begin(int64_t at, const std::string& room = "") {
    Filter filter;
    filter.room = room;
    Page first;
    first.token = std::to_string(at);
    auto subscription = hub.Subscribe(filter, first.token, first);
    subscription->Attach([] {});
    return subscription;
  }
  // What it is told until it has been given message `until`.
  std::vector<std::string> Told(Subscription& subscription, int64_t until) {
    std::vector<std::string> told;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      loop.RunAll();
      const auto item = subscription.Next();
      if (!item) {
        if (until == 0) return told;
        std::this_thread::yield();
        continue;
      }
      using Kind = Subscription::Item::Kind;
      switch (item->kind) {
        case Kind::kToken: told.push_back("token " + item->token); break;
        case Kind::kGap: told.emplace_back("gap"); break;
        case Kind::kStatus: told.emplace_back(item->behind ? "behind" : "here"); break;
        case Kind::kEvent: told.push_back(IdText(item->event->number)); break;
      }
      if (item->kind == Kind::kEvent && item->event->number == until) return told;
    }
    FAIL("message " << until << " did not come");
    return told;
  }

  History history;
  testing::ManualLoop loop;
  Hub hub;
};

std::vector<std::string> Numbers(int64_t from, int64_t to, int64_t step = 1) {
  std::vector<std::string> numbers;
  for (int64_t n = from; n <= to; n += step) numbers.push_back(IdText(n));
  return numbers;
}

}  // namespace

TEST_CASE("a subscription reads on by pages, then follows what is published", "[feed]") {
  Fixture f;
  f.Publish(1, 7);
  auto follower = f.Begin(0);
  auto told = f.Told(*follower, 7);
  CHECK(told.front() == "token 0");
  told.erase(told.begin());
  CHECK(told == Numbers(1, 7));
  CHECK(f.Told(*follower, 0).empty());
  const int reads = f.history.reads;
  f.Publish(8, 9);
  CHECK(f.Told(*follower, 9) == Numbers(8, 9));
  CHECK(f.history.reads == reads);
  CHECK(follower->token() == "9");
}

TEST_CASE("one that is too slow for the ring goes on by pages and misses nothing", "[feed]") {
  Fixture f;
  auto follower = f.Begin(0);
  f.Told(*follower, 0);
  int64_t last = 0;
  int reads = -1;
  while (f.history.reads != reads) {  // until it follows the ring
    reads = f.history.reads;
    ++last;
    f.Publish(last, last);
    f.Told(*follower, last);
  }
  // The ring holds ten.
  for (int64_t n = last + 1; n < last + 61; n += 5) f.Publish(n, n + 4);
  CHECK(f.Told(*follower, last + 60) == Numbers(last + 1, last + 60));
  CHECK(f.hub.stats().fell_behind == 1);
  f.Publish(last + 61, last + 61);
  CHECK(f.Told(*follower, last + 61) == Numbers(last + 61, last + 61));
}

TEST_CASE("pages that are ahead of the ring leave nothing to be repeated", "[feed]") {
  Fixture f;
  f.Publish(1, 2);
  f.history.last = 6;
  auto follower = f.Begin(0);
  f.Told(*follower, 6);
  CHECK(f.Told(*follower, 0).empty());
  f.Publish(3, 6);
  CHECK(f.Told(*follower, 0).empty());
  CHECK(follower->token() == "6");
  f.Publish(7, 7);
  CHECK(f.Told(*follower, 7) == Numbers(7, 7));
}

TEST_CASE("a ring that begins anew leaves out nothing for those who follow", "[feed]") {
  Fixture f;
  auto follower = f.Begin(0);
  f.Publish(1, 2);
  f.Told(*follower, 2);
  CHECK(f.Told(*follower, 0).empty());
  f.history.last = 5;
  f.hub.Reset(5, "5");
  CHECK(f.Told(*follower, 5) == Numbers(3, 5));
}

TEST_CASE("what is filtered out moves the position", "[feed]") {
  Fixture f;
  auto follower = f.Begin(0, "even");
  f.Told(*follower, 0);
  f.Publish(1, 5);
  auto told = f.Told(*follower, 4);
  if (told.front() == "token 0") told.erase(told.begin());
  CHECK(told == Numbers(2, 4, 2));
  CHECK(f.Told(*follower, 0).empty());
  CHECK(follower->token() == "5");
}

TEST_CASE("one that is behind keeps off the ring until it is not", "[feed]") {
  Fixture f;
  f.history.behind = true;
  auto follower = f.Begin(0);
  f.Publish(1, 2);
  CHECK(f.Told(*follower, 2) == std::vector<std::string>{"token 0", "behind", "m1", "m2"});
  f.history.behind = false;
  f.Publish(3, 3);
  // By a page, since the ring might repeat something.
  CHECK(f.Told(*follower, 3) == Numbers(3, 3));
  CHECK(f.Told(*follower, 0) == std::vector<std::string>{"here"});
  f.Publish(4, 4);
  CHECK(f.Told(*follower, 4) == Numbers(4, 4));
}

TEST_CASE("where positions come from two orders, nothing is given twice", "[feed]") {
  Fixture f({.ring_events = 10, .readers = 1, .drop_repeats = true});
  f.Publish(1, 4);
  auto follower = f.Begin(0);
  f.Told(*follower, 4);
  // The ring repeats what the pages gave.
  f.hub.Publish({MakeNumbered(3), MakeNumbered(4)}, "4", 4);
  f.Publish(5, 5);
  CHECK(f.Told(*follower, 5) == Numbers(5, 5));
}

TEST_CASE("a gap is told to all who follow", "[feed]") {
  Fixture f;
  auto follower = f.Begin(0);
  f.Publish(1, 1);
  f.Told(*follower, 1);
  CHECK(f.Told(*follower, 0).empty());
  f.hub.Publish({}, "1", 1, /*gap=*/true);
  CHECK(f.Told(*follower, 0) == std::vector<std::string>{"gap"});
}

TEST_CASE("a stream's blocks, its heartbeat and its end", "[feed]") {
  Fixture f;
  auto follower = f.Begin(0);
  SseBody body(follower);
  body.Begin([] {});
  std::string out;
  CHECK(body.Fill(&out, false) == http::LiveBody::Step::kWait);
  CHECK(out == "id: 0\n\n");
  f.Publish(1, 1);
  out.clear();
  while (out.empty()) {
    f.loop.RunAll();
    body.Fill(&out, false);
  }
  CHECK(out == "id: 1\nevent: message\ndata: {}\n\n");
  out.clear();
  CHECK(body.Fill(&out, true) == http::LiveBody::Step::kEnd);
  body.End();
}

}  // namespace chatchain::feed
