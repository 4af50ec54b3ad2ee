// SPDX-License-Identifier: MIT
#include "client/proxy/breaker.h"

#include <catch2/catch.hpp>

namespace chatchain {
namespace {

using State = Breaker::State;
using std::chrono::milliseconds;

constexpr SteadyTime kStart{std::chrono::hours(1)};
constexpr uint64_t kLongest = 500;  // random that gives the whole of open_ms = 1000
constexpr BreakerOptions kOptions{.failures_to_open = 5, .open_ms = 1000, .max_open_ms = 8000};

void FailTimes(Breaker* breaker, int times, SteadyTime now, uint64_t random = kLongest) {
  for (int i = 0; i < times; ++i) breaker->OnRequest(false, now, random);
}

}  // namespace

TEST_CASE("a breaker opens after failures in a row", "[breaker]") {
  struct Row {
    std::string_view events;  // + request ok, - request failed, p probe ok, x probe failed
    State state;
  };
  const Row rows[] = {
      {"", State::kClosed},          {"----", State::kClosed},      {"-----", State::kOpen},
      {"----+----", State::kClosed}, {"----p-", State::kOpen},      {"xxxx", State::kClosed},
      {"xxxxx", State::kOpen},       {"xxxxpxxxx", State::kClosed}, {"xx---", State::kOpen},
      {"xx--+x--", State::kClosed},  {"-----+", State::kClosed},    {"-----p", State::kOpen},
  };
  for (const Row& row : rows) {
    INFO(row.events);
    Breaker breaker(kOptions);
    for (const char event : row.events) {
      if (event == '+' || event == '-') breaker.OnRequest(event == '+', kStart, kLongest);
      if (event == 'p' || event == 'x') breaker.OnProbe(event == 'p', kStart, kLongest);
    }
    CHECK(breaker.state(kStart) == row.state);
  }
}

TEST_CASE("an open breaker is half open after its time, and the next outcome decides",
          "[breaker]") {
  Breaker breaker(kOptions);
  FailTimes(&breaker, 5, kStart);
  CHECK(breaker.state(kStart + milliseconds(999)) == State::kOpen);
  const SteadyTime half = kStart + milliseconds(1000);
  CHECK(breaker.state(half) == State::kHalfOpen);

  SECTION("a good probe closes") {
    breaker.OnProbe(true, half, 0);
    CHECK(breaker.state(half) == State::kClosed);
    FailTimes(&breaker, 4, half);
    CHECK(breaker.state(half) == State::kClosed);
  }
  SECTION("a failed one opens for twice as long, up to the bound") {
    SteadyTime now = half;
    for (const int64_t open_ms : {2000, 4000, 8000, 8000}) {
      breaker.OnProbe(false, now, static_cast<uint64_t>(open_ms / 2));
      CHECK(breaker.state(now + milliseconds(open_ms - 1)) == State::kOpen);
      CHECK(breaker.state(now + milliseconds(open_ms)) == State::kHalfOpen);
      now += milliseconds(open_ms);
    }
  }
  SECTION("what comes back late while it is open changes nothing") {
    Breaker open(kOptions);
    FailTimes(&open, 20, kStart);
    CHECK(open.state(half) == State::kHalfOpen);
  }
}

TEST_CASE("the backoff is jittered within its upper half", "[breaker]") {
  for (const uint64_t random : {uint64_t{0}, uint64_t{250}, uint64_t{500}, ~uint64_t{0}}) {
    Breaker breaker(kOptions);
    FailTimes(&breaker, 5, kStart, random);
    CHECK(breaker.state(kStart + milliseconds(499)) == State::kOpen);
    CHECK(breaker.state(kStart + milliseconds(1000)) == State::kHalfOpen);
  }
}

TEST_CASE("trips are forgotten after a time without failures", "[breaker]") {
  Breaker breaker(kOptions);
  FailTimes(&breaker, 5, kStart);
  SteadyTime now = kStart + milliseconds(1000);
  breaker.OnProbe(true, now, 0);
  SECTION("at once again: longer") {
    FailTimes(&breaker, 5, now, 1000);
    CHECK(breaker.state(now + milliseconds(1999)) == State::kOpen);
  }
  SECTION("much later: as the first time") {
    now += milliseconds(5000);
    breaker.OnRequest(true, now, 0);
    FailTimes(&breaker, 5, now);
    CHECK(breaker.state(now + milliseconds(1000)) == State::kHalfOpen);
  }
}

}  // namespace chatchain
