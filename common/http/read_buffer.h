// SPDX-License-Identifier: MIT
// Where a thread reads from sockets, so that a connection without input holds no memory for it.
#pragma once

#include <cstddef>
#include <string>

namespace chatchain::http {

inline constexpr size_t kReadBufferBytes = 64 * 1024;

// The calling thread's own, of kReadBufferBytes. Its content is gone with the next read by the same
// `Reader`; what one has read may be looked at while another reads.
template <typename Reader>
char* ReadBuffer() {
  thread_local std::string buffer(kReadBufferBytes, '\0');
  return buffer.data();  // NOLINT(clang-analyzer-cplusplus.InnerPointer): it lives with its thread
}

}  // namespace chatchain::http
