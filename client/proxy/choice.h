// SPDX-License-Identifier: MIT
// Which nodes a request goes to, in which order. Every node is in the list: standing only orders
// it, so no request fails while a node lives. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "client/proxy/breaker.h"

namespace chatchain {

enum class NodeState {
  kUnknown,  // not probed yet
  kReady,
  kCatchingUp,
  kReadOnly,
  kDraining,
  kDown,  // the last probe failed
};
// "unknown", "ready", "catching_up", "read_only", "draining", "down".
std::string_view NodeStateName(NodeState state);
// As /readyz of a node spells it; kUnknown for any other word.
NodeState ParseNodeState(std::string_view name);

// What is known of a node at the moment of the choice.
struct NodeView {
  NodeState state = NodeState::kUnknown;
  Breaker::State breaker = Breaker::State::kClosed;
  bool mute = false;       // owes answers and has given none for a while: hung, or cut off
  bool satisfies = false;  // holds all that the request's session token names
  int64_t latency_us = 0;  // expected
  int in_flight = 0;
};

// True for a node that counts as a full member: it is asked before the others, and an answer that
// is not final waits for it.
bool IsReady(const NodeView& view);

struct Choice {
  std::vector<int> order;  // indices of all nodes, best first
  // Where each tier ends in `order`; the last is order.size(). Nodes of a tier are equals. The
  // first tier is never empty: with no ready node, the best that there are take their place.
  std::vector<size_t> tier_ends;

  size_t first_tier() const { return tier_ends.empty() ? 0 : tier_ends.front(); }
  // The end of the tier that position `asked` of `order` belongs to.
  size_t TierEnd(size_t asked) const;
};

// `rotation`: any number that changes from call to call; spreads requests over equal nodes.
Choice Choose(const std::vector<NodeView>& nodes, bool for_write, uint64_t rotation);

}  // namespace chatchain
