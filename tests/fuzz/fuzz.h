// SPDX-License-Identifier: MIT
// What the fuzz targets share. A target is one function over bytes, which must neither crash nor
// break what it checks. With CHATCHAIN_FUZZ it is a libFuzzer program; otherwise replay_main.cc
// runs it over its corpus, as a test. See docs/testing.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace chatchain::fuzz {

inline std::string_view Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace chatchain::fuzz

// Ends the program, so that the input is kept.
#define FUZZ_CHECK(condition)                                                        \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)
