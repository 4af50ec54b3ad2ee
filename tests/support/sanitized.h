// SPDX-License-Identifier: MIT
#pragma once

namespace chatchain::testing {

// Everything takes about ten times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace chatchain::testing
