// SPDX-License-Identifier: MIT
#include "common/util/encoding.h"

#include <array>

namespace chatchain {

namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase32Digits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> DigitValues(std::string_view digits) {
  std::array<int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (size_t i = 0; i < digits.size(); ++i) {
    values[static_cast<unsigned char>(digits[i])] = static_cast<int8_t>(i);
  }
  return values;
}

// Groups of `bits` from the most significant end; the last group is padded with zero bits.
std::string EncodeBits(std::string_view bytes, int bits, std::string_view digits) {
  std::string out;
  out.reserve((bytes.size() * 8 + static_cast<size_t>(bits) - 1) / static_cast<size_t>(bits));
  uint32_t buffer = 0;
  int held = 0;
  for (char c : bytes) {
    buffer = (buffer << 8) | static_cast<unsigned char>(c);
    held += 8;
    while (held >= bits) {
      held -= bits;
      out += digits[(buffer >> held) & ((1U << bits) - 1)];
    }
  }
  if (held > 0) out += digits[(buffer << (bits - held)) & ((1U << bits) - 1)];
  return out;
}

std::optional<std::string> DecodeBits(std::string_view text, int bits,
                                      const std::array<int8_t, 256>& values) {
  std::string out;
  out.reserve(text.size() * static_cast<size_t>(bits) / 8);
  uint32_t buffer = 0;
  int held = 0;
  for (char c : text) {
    const int8_t value = values[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    buffer = (buffer << bits) | static_cast<uint32_t>(value);
    held += bits;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>((buffer >> held) & 0xff);
    }
  }
  // A whole unused digit or a set padding bit would be a second text for the same bytes.
  if (held >= bits || (buffer & ((1U << held) - 1)) != 0) return std::nullopt;
  return out;
}

}  // namespace

std::string HexEncode(std::string_view bytes) {
  return EncodeBits(bytes, 4, kHexDigits);
}

std::optional<std::string> HexDecode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kHexDigits);
  if (text.size() % 2 != 0) return std::nullopt;
  return DecodeBits(text, 4, kValues);
}

std::string HexU64(uint64_t value) {
  std::string bytes;
  AppendU64(&bytes, value);
  return HexEncode(bytes);
}

std::optional<uint64_t> ParseHexU64(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  const auto bytes = HexDecode(text);
  uint64_t value = 0;
  if (!bytes || !ByteReader(*bytes).TakeU64(&value)) return std::nullopt;
  return value;
}

std::string Base32Encode(std::string_view bytes) {
  return EncodeBits(bytes, 5, kBase32Digits);
}

std::optional<std::string> Base32Decode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase32Digits);
  return DecodeBits(text, 5, kValues);
}

std::string Base64UrlEncode(std::string_view bytes) {
  return EncodeBits(bytes, 6, kBase64Url);
}

std::optional<std::string> Base64UrlDecode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase64Url);
  return DecodeBits(text, 6, kValues);
}

std::string Base64Encode(std::string_view bytes) {
  std::string out = EncodeBits(bytes, 6, kBase64);
  out.append((4 - out.size() % 4) % 4, '=');
  return out;
}

std::optional<std::string> Base64Decode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase64);
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i) text.remove_suffix(1);
  return DecodeBits(text, 6, kValues);
}

void AppendU32(std::string* out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *out += static_cast<char>((value >> shift) & 0xff);
}

void AppendU64(std::string* out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) *out += static_cast<char>((value >> shift) & 0xff);
}

void AppendVarint(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    *out += static_cast<char>((value & 0x7f) | 0x80);
    value >>= 7;
  }
  *out += static_cast<char>(value);
}

void AppendSized(std::string* out, std::string_view bytes) {
  AppendU32(out, static_cast<uint32_t>(bytes.size()));
  out->append(bytes);
}

bool ByteReader::TakeU64(uint64_t* value) {
  std::string_view bytes;
  if (!TakeBytes(8, &bytes)) return false;
  *value = 0;
  for (char c : bytes) *value = (*value << 8) | static_cast<unsigned char>(c);
  return true;
}

bool ByteReader::TakeVarint(uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) return false;
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return shift == 0 || byte != 0;  // no trailing zero groups: one form only
  }
  return false;
}

bool ByteReader::TakeBytes(size_t n, std::string_view* bytes) {
  if (rest_.size() < n) return false;
  *bytes = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return true;
}

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  const auto at = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  while (i < text.size()) {
    const unsigned char lead = at(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || i + length > text.size()) return false;
    const unsigned char second = at(i + 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    for (size_t k = 1; k < length; ++k) {
      if ((at(i + k) & 0xc0) != 0x80) return false;
    }
    i += length;
  }
  return true;
}

}  // namespace chatchain
