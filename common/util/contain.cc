// SPDX-License-Identifier: MIT
#include "common/util/contain.h"

#include <unistd.h>

#include <cstdlib>
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

void EndWithoutMemory() noexcept {
  // Nothing that allocates.
  constexpr std::string_view kWhy = "there is no memory left: the program ends; start it again\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kWhy.data(), kWhy.size());
  std::abort();
}

}  // namespace chatchain
