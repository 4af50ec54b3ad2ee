// SPDX-License-Identifier: MIT
// The log: spdlog to standard error, one line an event. Values that came from outside (names,
// paths, peers' errors) go through LogSafe() so that no line can be forged.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace chatchain {

// `level`: trace, debug, info, warn, error or off; false for any other word.
bool SetUpLog(std::string_view program, std::string_view level);

// Control characters and DEL as \xNN, cut to `max_bytes`.
std::string LogSafe(std::string_view text, size_t max_bytes = 200);

}  // namespace chatchain
