// SPDX-License-Identifier: MIT
// Text forms of bytes. Decoders accept exactly what the encoders give: one text a value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chatchain {

std::string HexEncode(std::string_view bytes);  // lower case
std::optional<std::string> HexDecode(std::string_view text);
// Into text.size() / 2 bytes at `bytes`, which are undefined where it is false.
bool HexDecodeTo(std::string_view text, char* bytes);

std::string HexU64(uint64_t value);  // 16 digits
std::optional<uint64_t> ParseHexU64(std::string_view text);

// Crockford's base32, lower case, without check symbol; zero bits pad the end.
// https://www.crockford.com/base32.html
std::string Base32Encode(std::string_view bytes);
std::optional<std::string> Base32Decode(std::string_view text);

// RFC 4648 section 5, without padding.
std::string Base64UrlEncode(std::string_view bytes);
std::optional<std::string> Base64UrlDecode(std::string_view text);
// RFC 4648 section 4, with padding.
std::string Base64Encode(std::string_view bytes);
std::optional<std::string> Base64Decode(std::string_view text);

// Big-endian integers, LEB128 varints and length-prefixed strings: the pieces of every binary form.
void AppendU32(std::string* out, uint32_t value);
void AppendU64(std::string* out, uint64_t value);
void AppendVarint(std::string* out, uint64_t value);
void AppendSized(std::string* out, std::string_view bytes);  // u32 length, then the bytes

// Takes pieces off the front of a view; every Take is false (and the reader unusable) once the
// input is too short or not in its only form.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  bool TakeU64(uint64_t* value);
  bool TakeVarint(uint64_t* value);
  bool TakeBytes(size_t n, std::string_view* bytes);
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace chatchain
