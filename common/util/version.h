// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace chatchain {

// The project's version as CMake knows it, e.g. "0.1.0".
std::string_view ProjectVersion();

}  // namespace chatchain
