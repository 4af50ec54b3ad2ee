// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace chatchain {

// What errno `error` means, in the case that lines of the log and messages use: "address already
// in use". Thread-safe.
std::string ErrorText(int error);

}  // namespace chatchain
