// SPDX-License-Identifier: MIT
// What chatchain-node does for an operator instead of serving: --verify, --backup, --restore.
#pragma once

#include "node/config.h"

namespace chatchain {

// Does what config.command says, tells about it on standard output (what is wrong with the request,
// and a progress bar where that is a terminal: standard error) and gives the program's exit code:
//   0  all is sound; the copy is made
//   1  --verify: damage, or a difference; the others: not done, and nothing was left behind
//   2  --verify: it could not be checked
// SIGINT and SIGTERM end it between two steps. REQUIRES: both are blocked.
int RunCommand(const NodeConfig& config);

}  // namespace chatchain
