// SPDX-License-Identifier: MIT
#include "client/proxy/choice.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

namespace chatchain {
namespace {

using Breaking = Breaker::State;

constexpr NodeView kReadyNode{.state = NodeState::kReady};

NodeView With(NodeState state) {
  return {.state = state};
}
NodeView With(Breaking breaker) {
  return {.state = NodeState::kReady, .breaker = breaker};
}

}  // namespace

TEST_CASE("the better node is asked first", "[choice]") {
  struct Row {
    std::string_view what;
    NodeView better;
    NodeView worse;
    bool for_write;
    bool equals;  // in one tier
  };
  const NodeView mute{.state = NodeState::kReady, .mute = true};
  const NodeView satisfies{.state = NodeState::kReady, .satisfies = true};
  const NodeView slow{.state = NodeState::kReady, .latency_us = 10'000};
  const NodeView busy{.state = NodeState::kReady, .in_flight = 7};
  const NodeView slow_satisfies{
      .state = NodeState::kReady, .satisfies = true, .latency_us = 10'000};
  const Row rows[] = {
      {"ready, unknown", kReadyNode, With(NodeState::kUnknown), false, true},
      {"unknown, catching up", With(NodeState::kUnknown), With(NodeState::kCatchingUp), false,
       false},
      {"catching up, read-only", With(NodeState::kCatchingUp), With(NodeState::kReadOnly), false,
       false},
      {"read-only, mute", With(NodeState::kReadOnly), mute, false, false},
      {"read-only, down", With(NodeState::kReadOnly), With(NodeState::kDown), false, false},
      {"down, half open", With(NodeState::kDown), With(Breaking::kHalfOpen), false, false},
      {"half open, open", With(Breaking::kHalfOpen), With(Breaking::kOpen), false, false},
      {"a write: open, read-only", With(Breaking::kOpen), With(NodeState::kReadOnly), true, false},
      {"a write: ready, mute", kReadyNode, mute, true, false},
      {"satisfies the token", satisfies, kReadyNode, false, true},
      {"fast, slow", kReadyNode, slow, false, true},
      {"the token beats speed", slow_satisfies, kReadyNode, false, true},
      {"idle, busy", kReadyNode, busy, false, true},
      {"speed beats load", busy, slow, false, true},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    for (uint64_t rotation = 0; rotation < 4; ++rotation) {
      const Choice first = Choose({row.better, row.worse}, row.for_write, rotation);
      CHECK(first.order == std::vector<int>{0, 1});
      const Choice second = Choose({row.worse, row.better}, row.for_write, rotation);
      CHECK(second.order == std::vector<int>{1, 0});
      CHECK(first.first_tier() == (row.equals ? 2u : 1u));
      CHECK(first.tier_ends.back() == 2);
    }
  }
}

TEST_CASE("no node is ever left out, and the first tier is never empty", "[choice]") {
  const NodeState states[] = {NodeState::kUnknown,  NodeState::kReady,    NodeState::kCatchingUp,
                              NodeState::kReadOnly, NodeState::kDraining, NodeState::kDown};
  const Breaking breakers[] = {Breaking::kClosed, Breaking::kHalfOpen, Breaking::kOpen};
  std::vector<NodeView> all;
  for (const NodeState state : states) {
    for (const Breaking breaker : breakers) {
      for (const bool mute : {false, true}) {
        all.push_back({.state = state, .breaker = breaker, .mute = mute});
      }
    }
  }
  for (const bool for_write : {false, true}) {
    for (const NodeView& a : all) {
      for (const NodeView& b : all) {
        const Choice choice = Choose({a, b}, for_write, 0);
        CHECK(std::set<int>(choice.order.begin(), choice.order.end()) == std::set<int>{0, 1});
        CHECK(choice.first_tier() >= 1);
        CHECK(std::is_sorted(choice.tier_ends.begin(), choice.tier_ends.end()));
        CHECK(choice.tier_ends.back() == 2);
      }
    }
  }
}

TEST_CASE("equal nodes take turns", "[choice]") {
  std::set<int> first;
  for (uint64_t rotation = 0; rotation < 3; ++rotation) {
    first.insert(Choose({kReadyNode, kReadyNode, kReadyNode}, false, rotation).order.front());
  }
  CHECK(first == std::set<int>{0, 1, 2});
}

TEST_CASE("tiers end where standing changes", "[choice]") {
  const Choice choice = Choose(
      {With(NodeState::kDown), kReadyNode, With(NodeState::kCatchingUp), kReadyNode}, false, 0);
  CHECK(choice.tier_ends == std::vector<size_t>{2, 3, 4});
  CHECK(choice.TierEnd(0) == 2);
  CHECK(choice.TierEnd(1) == 2);
  CHECK(choice.TierEnd(2) == 3);
  CHECK(choice.TierEnd(3) == 4);
  CHECK(choice.TierEnd(4) == 4);
}

TEST_CASE("names of states go both ways", "[choice]") {
  for (const NodeState state : {NodeState::kReady, NodeState::kCatchingUp, NodeState::kReadOnly,
                                NodeState::kDraining, NodeState::kDown}) {
    CHECK(ParseNodeState(NodeStateName(state)) == state);
  }
  CHECK(ParseNodeState("splendid") == NodeState::kUnknown);
}

}  // namespace chatchain
