// SPDX-License-Identifier: MIT
#include "client/proxy/choice.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <utility>

namespace chatchain {

namespace {

constexpr std::array<std::pair<NodeState, std::string_view>, 6> kStateNames = {{
    {NodeState::kUnknown, "unknown"},
    {NodeState::kReady, "ready"},
    {NodeState::kCatchingUp, "catching_up"},
    {NodeState::kReadOnly, "read_only"},
    {NodeState::kDraining, "draining"},
    {NodeState::kDown, "down"},
}};

// The smaller, the earlier.
int TierOf(const NodeView& view, bool for_write) {
  enum { kReady, kCatchingUp, kReadOnly, kDoubtful, kHalfOpen, kOpen, kCannot };
  // What a node said of itself may be a second old, so even one that could not write is asked
  // before the request is given up.
  if (for_write && view.state == NodeState::kReadOnly) return kCannot;
  if (view.breaker == Breaker::State::kOpen) return kOpen;
  if (view.breaker == Breaker::State::kHalfOpen) return kHalfOpen;
  if (view.mute) return kDoubtful;
  switch (view.state) {
    case NodeState::kReady:
    case NodeState::kUnknown: return kReady;  // not probed yet: the first requests try it
    case NodeState::kCatchingUp: return kCatchingUp;
    case NodeState::kReadOnly: return kReadOnly;
    case NodeState::kDraining:
    case NodeState::kDown: return kDoubtful;
  }
  return kDoubtful;
}

}  // namespace

std::string_view NodeStateName(NodeState state) {
  for (const auto& [value, name] : kStateNames) {
    if (value == state) return name;
  }
  return "";
}

NodeState ParseNodeState(std::string_view name) {
  for (const auto& [value, text] : kStateNames) {
    if (text == name) return value;
  }
  return NodeState::kUnknown;
}

bool IsReady(const NodeView& view) {
  return view.state == NodeState::kReady && view.breaker == Breaker::State::kClosed && !view.mute;
}

size_t Choice::TierEnd(size_t asked) const {
  for (const size_t end : tier_ends) {
    if (asked < end) return end;
  }
  return order.size();
}

Choice Choose(const std::vector<NodeView>& nodes, bool for_write, uint64_t rotation) {
  int64_t best_us = std::numeric_limits<int64_t>::max();
  for (const NodeView& view : nodes) best_us = std::min(best_us, view.latency_us);

  struct Key {
    int tier;
    bool unknown;  // not probed yet
    bool behind;   // does not satisfy the session
    bool slow;     // clearly slower than the fastest; below that, load decides
    int in_flight;
    size_t turn;
    int index;
  };
  std::vector<Key> keys;
  keys.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const NodeView& view = nodes[i];
    keys.push_back({.tier = TierOf(view, for_write),
                    .unknown = view.state == NodeState::kUnknown,
                    .behind = !view.satisfies,
                    .slow = view.latency_us > 2 * best_us + 1'000,
                    .in_flight = view.in_flight,
                    .turn = (i + rotation) % nodes.size(),
                    .index = static_cast<int>(i)});
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    return std::tie(a.tier, a.unknown, a.behind, a.slow, a.in_flight, a.turn) <
           std::tie(b.tier, b.unknown, b.behind, b.slow, b.in_flight, b.turn);
  });

  Choice choice;
  choice.order.reserve(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    choice.order.push_back(keys[i].index);
    if (i + 1 == keys.size() || keys[i + 1].tier != keys[i].tier) choice.tier_ends.push_back(i + 1);
  }
  return choice;
}

}  // namespace chatchain
