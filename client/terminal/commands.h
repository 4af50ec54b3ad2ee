// SPDX-License-Identifier: MIT
// What `chatchain send`, `history`, `tail` and `network` do. One thread.
#pragma once

#include "client/terminal/options.h"
#include "client/terminal/server.h"
#include "client/terminal/show.h"

namespace chatchain::terminal {

// The code that the process ends with; the failure says what main prints before.
Result<int, Failure> RunCommand(const CommandLine& line, Style style);

}  // namespace chatchain::terminal
