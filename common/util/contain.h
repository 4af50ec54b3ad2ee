// SPDX-License-Identifier: MIT
// For threads on which many things wait: what throws ends itself, and nothing else. Memory that
// cannot be had ends the program: anything may be half changed then, and what was acknowledged is
// on disk.
#pragma once

#include <new>

#include <string_view>

namespace chatchain {

// In a catch block: writes what was caught to the log, `what` being that which failed.
void LogCaught(std::string_view what);
[[noreturn]] void EndWithoutMemory() noexcept;

// Runs `work`. False: it has thrown, which was logged and goes no further.
template <typename Work>
bool Contained(std::string_view what, Work&& work) {
  try {
    work();
    return true;
  } catch (const std::bad_alloc&) {
    EndWithoutMemory();
  } catch (...) {
    LogCaught(what);
    return false;
  }
}

}  // namespace chatchain
