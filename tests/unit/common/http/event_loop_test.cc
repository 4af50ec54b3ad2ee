// SPDX-License-Identifier: MIT
#include "common/http/event_loop.h"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "common/http/client.h"
#include "common/util/log.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using testing::Clock;
using testing::kPatience;
using testing::RawListener;
using testing::RawSocket;

class Alarm final : public EventLoop::Timed {
 public:
  explicit Alarm(std::function<void()> ring) : ring_(std::move(ring)) {}
  void OnDue() override { ring_(); }

 private:
  const std::function<void()> ring_;
};

// Returns once `loop` has done all that was posted to it before.
void Await(EventLoop& loop) {
  std::promise<void> done;
  loop.Post([&] { done.set_value(); });
  done.get_future().wait();
}

void ReadHead(RawSocket& socket) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    if (socket.ReadSome(&head) != RawSocket::Read::kData) return;
  }
}

}  // namespace

TEST_CASE("an event loop does what is posted in order, on its thread", "[http][loop]") {
  EventLoop loop("test");
  CHECK(EventLoop::Current() == nullptr);
  std::vector<int> order;
  std::vector<EventLoop*> on;
  std::promise<void> all_posted;  // what is posted by the first one comes behind all others then
  loop.Post([&] { all_posted.get_future().wait(); });
  for (int i = 0; i < 100; ++i) {
    loop.Post([&, i] {
      order.push_back(i);
      on.push_back(EventLoop::Current());
      if (i == 0) loop.Post([&] { order.push_back(100); });
    });
  }
  all_posted.set_value();
  Await(loop);
  Await(loop);
  REQUIRE(order.size() == 101);
  for (int i = 0; i <= 100; ++i) CHECK(order[static_cast<size_t>(i)] == i);
  CHECK(on == std::vector<EventLoop*>(100, &loop));
}

TEST_CASE("a time comes once, neither early nor late, also after a rest", "[http][loop]") {
  EventLoop loop("test");
  for (int round = 0; round < 2; ++round) {
    std::promise<SteadyTime> rung;
    std::atomic<int> times{0};
    const auto alarm = std::make_shared<Alarm>([&] {
      if (++times == 1) rung.set_value(Clock::now());
    });
    const SteadyTime due = Clock::now() + milliseconds(20);
    alarm->set_due(due);
    loop.Watch(alarm);
    const SteadyTime at = rung.get_future().get();
    CHECK(at >= due);
    CHECK(at < due + milliseconds(1'000));
    // A time that was set once comes once: a later alarm rings, this one does not again.
    std::promise<void> later;
    const auto second = std::make_shared<Alarm>([&] { later.set_value(); });
    second->set_due(Clock::now() + 4 * EventLoop::kTick);
    loop.Watch(second);
    later.get_future().wait();
    CHECK(times == 1);
    loop.Unwatch(alarm.get());
    loop.Unwatch(second.get());
    loop.Unwatch(second.get());  // twice is no harm
    CHECK(alarm.use_count() == 1);
    // Long enough for the loop to rest; where it does not yet, the test says less.
    if (round == 0) std::this_thread::sleep_for(220 * EventLoop::kTick);
  }
}

TEST_CASE("whoever is due may set its time again, and unwatch itself and others", "[http][loop]") {
  EventLoop loop("test");
  std::promise<void> done;
  std::vector<std::shared_ptr<Alarm>> alarms;
  int rung = 0;
  for (int i = 0; i < 10; ++i) {
    alarms.push_back(std::make_shared<Alarm>([&, i] {
      ++rung;
      if (i == 0 && rung < 5) return alarms[0]->set_due(Clock::now());
      for (const auto& alarm : alarms) loop.Unwatch(alarm.get());
      if (i == 0) done.set_value();
    }));
  }
  loop.Post([&] {
    for (const auto& alarm : alarms) loop.Watch(alarm);
    alarms[0]->set_due(Clock::now());
  });
  done.get_future().wait();
  Await(loop);
  CHECK(rung == 5);
  for (const auto& alarm : alarms) CHECK(alarm.use_count() == 1);
}

TEST_CASE("what throws on a loop ends itself: not the loop, nor anybody's time", "[http][loop]") {
  spdlog::set_level(spdlog::level::off);
  EventLoop loop("test");
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 3; ++i) {
    loop.Post([held] { throw std::runtime_error("broken"); });
    loop.Post([held] { throw 1; });
  }
  Await(loop);
  CHECK(held.use_count() == 1);
  // Two that are due at once, the first of which throws; and the ticks go on.
  std::promise<void> rung;
  std::promise<void> rung_later;
  const auto bad = std::make_shared<Alarm>([] { throw std::runtime_error("broken"); });
  const auto good = std::make_shared<Alarm>([&] { rung.set_value(); });
  const auto later = std::make_shared<Alarm>([&] { rung_later.set_value(); });
  const SteadyTime now = Clock::now();
  loop.Post([&] {
    for (const auto& alarm : {bad, good, later}) loop.Watch(alarm);
    bad->set_due(now);
    good->set_due(now);
    later->set_due(now + 4 * EventLoop::kTick);
  });
  rung.get_future().wait();
  rung_later.get_future().wait();
  for (const auto& alarm : {bad, good, later}) loop.Unwatch(alarm.get());
}

TEST_CASE("a call whose end throws ends itself: the next one is answered", "[http][loop]") {
  spdlog::set_level(spdlog::level::off);
  RawListener listener;
  EventLoop loop("test");
  Client client(listener.address());
  std::optional<RawSocket> socket;
  const auto answer = [&] {
    if (!socket) socket.emplace(listener.Accept());
    ReadHead(*socket);
    socket->Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  };
  const auto held = std::make_shared<int>(0);
  std::promise<void> thrown;
  client.Start(loop, {}, Clock::now() + kPatience, nullptr, [&thrown, held](auto result) {
    CHECK(result);
    thrown.set_value();
    throw std::runtime_error("broken");
  });
  answer();
  thrown.get_future().wait();
  Await(loop);
  CHECK(held.use_count() == 1);
  std::promise<int> status;
  client.Start(loop, {}, Clock::now() + kPatience, nullptr,
               [&](auto result) { status.set_value(result ? result->status : -1); });
  answer();
  CHECK(status.get_future().get() == 200);
}

TEST_CASE("a loop that stops calls nothing more, and drops what waits", "[http][loop]") {
  const auto held = std::make_shared<int>(0);
  std::atomic<int> called{0};
  std::optional<EventLoop> loop(std::in_place, "test");
  std::promise<void> began;
  std::promise<void> go_on;
  loop->Post([&] {
    began.set_value();
    go_on.get_future().wait();
  });
  began.get_future().wait();
  const auto alarm = std::make_shared<Alarm>([&] { ++called; });
  alarm->set_due(Clock::now());
  loop->Watch(alarm);
  for (int i = 0; i < 10; ++i) loop->Post([&, held] { ++called; });
  std::thread stopping([&] { loop->Stop(); });
  // It waits for what is under way.
  go_on.set_value();
  stopping.join();
  const int before = called;
  loop->Post([&, held] { ++called; });
  loop->Drop();
  CHECK(called == before);
  CHECK(held.use_count() == 1);
  CHECK(alarm.use_count() == 1);
  loop.reset();
  CHECK(called == before);
}

TEST_CASE("loops end with calls that wait, whichever loop holds what of them", "[http][loop]") {
  RawListener listener;
  std::optional<EventLoops> loops(std::in_place, 2, "test");
  std::optional<Client> client(std::in_place, listener.address());
  const auto held = std::make_shared<int>(0);
  // A kept connection of the one loop, and a call that waits on the other and keeps it alive.
  for (size_t first : {0, 1}) {
    std::promise<void> answered;
    client->Start(loops->At(first), {}, Clock::now() + milliseconds(10'000), nullptr,
                  [&](auto result) {
                    CHECK(result);
                    answered.set_value();
                  });
    RawSocket kept = listener.Accept();
    ReadHead(kept);
    kept.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    answered.get_future().wait();
    Cancellation cancellation;
    client->Start(loops->At(first + 1), {}, Clock::now() + milliseconds(10'000), &cancellation,
                  [held](auto) { ++*held; });
    RawSocket waits = listener.Accept();
    ReadHead(waits);
    client.reset();
    loops.reset();
    CHECK(*held == 0);
    CHECK(held.use_count() == 1);
    // Those who get the descriptors of what has ended are not cancelled in its stead.
    std::vector<std::array<RawSocket, 2>> others;
    for (int i = 0; i < 16; ++i) {
      std::array<int, 2> pair{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
      others.push_back({RawSocket(pair[0]), RawSocket(pair[1])});
    }
    cancellation.Cancel();
    for (auto& pair : others) {
      CHECK(pair[0].Send("x"));
      CHECK(pair[1].Send("x"));
    }
    loops.emplace(2, "test");
    client.emplace(listener.address());
  }
  client.reset();
}

}  // namespace chatchain::http
