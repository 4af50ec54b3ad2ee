// SPDX-License-Identifier: MIT
// What the nodes' heads say together: who lacks how much, and whether all hold the same. Heads are
// folded (common/protocol/seal.h), and the seals are not known here: an epoch that is left out
// while a greater one of its origin is named counts as held. Nodes that hold the same name the
// same. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "common/protocol/record.h"
#include "common/protocol/token.h"

namespace chatchain {

struct Convergence {
  // One entry a node: records that some other node has shown and this one has not; -1 where nothing
  // is known of a node.
  std::vector<int64_t> lag;
  // All nodes that are known hold the same heads; false when none is known.
  bool converged = false;
};

// A null pointer: nothing is known of that node.
Convergence Compare(const std::vector<const HeadVector*>& nodes);

// True when `heads` holds all that `token` names. A position beyond what the token names covers it.
bool Satisfies(const HeadVector& heads, const TokenVector& token);

}  // namespace chatchain
