// SPDX-License-Identifier: MIT
// Result<T, E>: an expected failure is a value. A bug is an assert; "cannot start" is one line on
// standard error and an exit code (see node/main.cc).
#pragma once

#include <tl/expected.hpp>

namespace chatchain {

template <typename T, typename E>
using Result = tl::expected<T, E>;

template <typename E>
tl::unexpected<std::decay_t<E>> Err(E&& error) {
  return tl::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

}  // namespace chatchain
