// SPDX-License-Identifier: MIT
#include "common/util/contain.h"

#include <exception>

#include "common/util/log.h"

namespace chatchain {

void LogCaught(std::string_view what) {
  try {
    throw;
  } catch (const std::exception& error) {
    spdlog::error("{} failed: {}", what, LogSafe(error.what()));
  } catch (...) {
    spdlog::error("{} failed", what);
  }
}

}  // namespace chatchain
