// SPDX-License-Identifier: MIT
#include "client/proxy/pacing.h"

#include <catch2/catch.hpp>

namespace chatchain {
namespace {

using Kind = PaceStep::Kind;
using std::chrono::milliseconds;

constexpr SteadyTime kStart{std::chrono::hours(1)};

// Three nodes, two of them ready; asked at kStart; 5 s.
PaceState State(Strategy strategy) {
  return {.strategy = strategy,
          .nodes = 3,
          .first_tier = 2,
          .tier_end = 2,
          .last_ask = kStart,
          .deadline = kStart + milliseconds(5000),
          .hedge_delay_ms = 50,
          .stall_ms = 500,
          .try_ms = 1666};
}

}  // namespace

TEST_CASE("when a write asks which nodes", "[pacing]") {
  struct Row {
    std::string_view what;
    Strategy strategy;
    size_t asked;
    size_t outstanding;
    bool done;
    bool answered;
    bool hedged;
    int64_t now_ms;
    Kind kind;
    int64_t detail;  // kAsk, kHedge: ask_until; kWait: wait_until in ms
  };
  const auto kFanout = Strategy::kFanout;
  const auto kHedged = Strategy::kHedged;
  const auto kFailover = Strategy::kFailover;
  const Row rows[] = {
      {"fan-out begins with all ready", kFanout, 0, 0, false, false, false, 0, Kind::kAsk, 2},
      {"and waits for them", kFanout, 2, 2, false, false, false, 0, Kind::kWait, 500},
      {"done ends it", kFanout, 2, 1, true, true, false, 10, Kind::kFinish, 0},
      {"not final: waits for the other", kFanout, 2, 1, false, true, false, 10, Kind::kWait, 1666},
      {"but not for ever", kFanout, 2, 1, false, true, false, 1666, Kind::kFinish, 0},
      {"not final from both", kFanout, 2, 0, false, true, false, 10, Kind::kFinish, 0},
      {"both failed: the rest", kFanout, 2, 0, false, false, false, 10, Kind::kAsk, 3},
      {"both silent: the rest", kFanout, 2, 2, false, false, false, 500, Kind::kAsk, 3},
      {"all failed", kFanout, 3, 0, false, false, false, 10, Kind::kFinish, 0},
      {"all silent", kFanout, 3, 3, false, false, false, 700, Kind::kWait, 5000},
      {"the deadline", kFanout, 3, 3, false, false, false, 5000, Kind::kFinish, 0},

      {"hedged begins with one", kHedged, 0, 0, false, false, false, 0, Kind::kAsk, 1},
      {"waits its p95", kHedged, 1, 1, false, false, false, 0, Kind::kWait, 50},
      {"then hedges", kHedged, 1, 1, false, false, false, 50, Kind::kHedge, 2},
      {"once", kHedged, 2, 2, false, false, true, 60, Kind::kWait, 1666},
      {"failure moves on at once", kHedged, 1, 0, false, false, false, 3, Kind::kAsk, 2},
      {"a silent pair moves on in the end", kHedged, 2, 2, false, false, true, 1666, Kind::kAsk, 3},
      {"not final asks the other ready one", kHedged, 1, 0, false, true, false, 3, Kind::kAsk, 2},
      {"and no lesser one", kHedged, 2, 0, false, true, false, 3, Kind::kFinish, 0},

      {"failover begins with one", kFailover, 0, 0, false, false, false, 0, Kind::kAsk, 1},
      {"gives it its share", kFailover, 1, 1, false, false, false, 0, Kind::kWait, 1666},
      {"and moves on", kFailover, 1, 1, false, false, false, 1666, Kind::kAsk, 2},
      {"failure moves on at once", kFailover, 2, 0, false, false, false, 5, Kind::kAsk, 3},
      {"the last one has what remains", kFailover, 3, 1, false, false, false, 1700, Kind::kWait,
       5000},
  };
  for (const Row& row : rows) {
    INFO(StrategyName(row.strategy) << ": " << row.what);
    PaceState state = State(row.strategy);
    state.asked = row.asked;
    state.outstanding = row.outstanding;
    state.done = row.done;
    state.answered = row.answered;
    state.hedged = row.hedged;
    state.tier_end = row.asked < 2 ? 2 : 3;
    const PaceStep step = NextStep(state, kStart + milliseconds(row.now_ms));
    REQUIRE(step.kind == row.kind);
    if (row.kind == Kind::kAsk || row.kind == Kind::kHedge) {
      CHECK(step.ask_until == static_cast<size_t>(row.detail));
    }
    if (row.kind == Kind::kWait) CHECK(step.wait_until == kStart + milliseconds(row.detail));
  }
}

TEST_CASE("while many write, fan-out asks the lead first", "[pacing]") {
  PaceState state = State(Strategy::kFanout);
  state.first_ask = 1;
  state.lead_ms = 20;
  const auto step = [&](int64_t now_ms) { return NextStep(state, kStart + milliseconds(now_ms)); };
  CHECK(step(0).kind == Kind::kAsk);
  CHECK(step(0).ask_until == 1);
  state.asked = state.outstanding = 1;
  SECTION("it has its time") {
    CHECK(step(0).kind == Kind::kWait);
    CHECK(step(0).wait_until == kStart + milliseconds(20));
  }
  SECTION("late: the other ready nodes") {
    CHECK(step(20).kind == Kind::kAsk);
    CHECK(step(20).ask_until == 2);
    state.asked = state.outstanding = 2;
    CHECK(step(20).kind == Kind::kWait);
    CHECK(step(20).wait_until == kStart + milliseconds(500));
  }
  SECTION("failed, or not final: the others at once") {
    state.outstanding = 0;
    CHECK(step(1).kind == Kind::kAsk);
    CHECK(step(1).ask_until == 2);
    state.answered = true;
    CHECK(step(1).kind == Kind::kAsk);
  }
  SECTION("two copies: the second one is waited for") {
    state.first_tier = state.tier_end = 3;
    state.first_ask = 2;
    state.asked = 2;
    state.stored = state.answered = true;
    CHECK(step(1).kind == Kind::kWait);
    CHECK(step(20).kind == Kind::kAsk);
    CHECK(step(20).ask_until == 3);
    state.stored = state.answered = false;  // that one has failed
    CHECK(step(1).kind == Kind::kAsk);
  }
  SECTION("with fewer ready nodes than it needs it asks them all") {
    state.first_ask = 3;
    state.asked = state.outstanding = 0;
    CHECK(step(0).ask_until == 2);
  }
}

TEST_CASE("shares of a deadline", "[pacing]") {
  CHECK(TryTimeoutMs(5000, 3) == 1666);
  CHECK(TryTimeoutMs(600, 3) == 300);
  CHECK(TryTimeoutMs(5000, 0) == 5000);
  CHECK(TryShareMs(5000, 0, 0) == 5000);
  CHECK(TryShareMs(5000, 1, 0) == 2500);
  CHECK(TryShareMs(5000, 0, 2) == 4400);  // a lone ready node keeps nearly all
  CHECK(TryShareMs(5000, 2, 0) == 1666);
  CHECK(TryShareMs(200, 2, 5) == 300);
}

TEST_CASE("rounds end", "[pacing]") {
  int64_t total_ms = 0;
  int rounds = 0;
  while (const auto backoff = RoundBackoff(rounds)) {
    total_ms += backoff->count();
    ++rounds;
    REQUIRE(rounds < 10);
  }
  CHECK(rounds == 2);
  CHECK(total_ms <= 300);  // a network with every node down is told so quickly
}

}  // namespace chatchain
