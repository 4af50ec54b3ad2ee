// SPDX-License-Identifier: MIT
// Tokens from bytes that a fuzzer makes: with the version, the type, the cluster and the checksum
// put right, so that it gets past them.
#pragma once

#include <string>

#include "common/protocol/token.h"
#include "common/util/encoding.h"
#include "common/util/sha256.h"
#include "tests/fuzz/fuzz.h"

namespace chatchain::fuzz {

inline const TokenCodec& Codec() {
  static const TokenCodec codec("main");
  return codec;
}

// A token of that type ('S', 'F', 'C') with this payload.
inline std::string TokenWith(char type, std::string_view payload) {
  // Version, type and the cluster's tag of a real one.
  std::string sealed = Base64UrlDecode(Codec().EncodeSession({}))->substr(0, 6);
  sealed[1] = type;
  sealed += payload;
  sealed += Sha256(sealed).view().substr(0, 4);
  return Base64UrlEncode(sealed);
}

}  // namespace chatchain::fuzz
