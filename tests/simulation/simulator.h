// SPDX-License-Identifier: MIT
// A whole cluster under faults, from one seed. The same seed, options and commit do the same again,
// on every machine: the hash of the trace says so.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/simulation/options.h"

namespace chatchain::simulation {

struct SimResult {
  std::vector<std::string> violations;  // "checker: what"
  uint64_t hash = 0;
  uint64_t steps = 0;
  uint64_t messages = 0;  // acknowledged, and required in the end
  int64_t virtual_ms = 0;
  size_t epochs = 0;       // that a node holds in the end
  size_t token_bytes = 0;  // of the longest session token that a client holds in the end
  std::map<std::string, uint64_t> counts;  // how often what happened
};

SimResult Simulate(const SimOptions& options);

}  // namespace chatchain::simulation
