// SPDX-License-Identifier: MIT
#include "common/util/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "common/util/encoding.h"

namespace chatchain {

std::string Hash::Hex() const {
  return HexEncode(view());
}

uint64_t Hash::Prefix64() const {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = (value << 8) | bytes[i];
  return value;
}

bool Hash::FromBytes(std::string_view text, Hash* hash) {
  if (text.size() != hash->bytes.size()) return false;
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(hash->bytes.data()));
  return true;
}

bool Hash::FromHex(std::string_view text, Hash* hash) {
  Hash read;
  if (text.size() != 64 || !HexDecodeTo(text, reinterpret_cast<char*>(read.bytes.data()))) {
    return false;
  }
  *hash = read;
  return true;
}

Hash Sha256(std::string_view bytes) {
  // The one-shot SHA256() of OpenSSL 3 looks the algorithm up anew in every call, which costs more
  // than hashing a message.
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  Hash hash;
  if (algorithm == nullptr || context == nullptr ||
      EVP_DigestInit_ex2(context.get(), algorithm, nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), hash.bytes.data(), nullptr) != 1) {
    std::abort();  // only without memory or without the algorithm: nothing can be trusted then
  }
  return hash;
}

}  // namespace chatchain
