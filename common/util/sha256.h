// SPDX-License-Identifier: MIT
// SHA-256 (FIPS 180-4) by OpenSSL. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace chatchain {

struct Hash {
  std::array<uint8_t, 32> bytes{};

  friend bool operator==(const Hash&, const Hash&) = default;
  std::string_view view() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string Hex() const;
  // The first 8 bytes as a big-endian number: enough to tell two branches of an epoch apart.
  uint64_t Prefix64() const;
  static bool FromBytes(std::string_view bytes, Hash* hash);  // exactly 32 bytes
  static bool FromHex(std::string_view text, Hash* hash);
};

Hash Sha256(std::string_view bytes);

}  // namespace chatchain
