// SPDX-License-Identifier: MIT
#include "common/util/encoding.h"

#include <array>
#include <cstring>

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
template <int bits>
void AppendBits(std::string* out, std::string_view bytes, std::string_view digits) {
  constexpr size_t kBits = bits;
  const size_t from = out->size();
  out->resize(from + (bytes.size() * 8 + kBits - 1) / kBits);
  char* to = out->data() + from;
  uint32_t buffer = 0;
  int held = 0;
  for (char c : bytes) {
    buffer = (buffer << 8) | static_cast<unsigned char>(c);
    held += 8;
    while (held >= bits) {
      held -= bits;
      *to++ = digits[(buffer >> held) & ((1U << bits) - 1)];
    }
  }
  if (held > 0) *to = digits[(buffer << (bits - held)) & ((1U << bits) - 1)];
}

template <int bits>
std::string EncodeBits(std::string_view bytes, std::string_view digits) {
  std::string out;
  AppendBits<bits>(&out, bytes, digits);
  return out;
}

// False where the encoder would never have given `text`.
template <int bits>
bool DecodeBits(std::string_view text, const std::array<int8_t, 256>& values, char* to) {
  uint32_t buffer = 0;
  int held = 0;
  for (char c : text) {
    const int8_t value = values[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    buffer = (buffer << bits) | static_cast<uint32_t>(value);
    held += bits;
    if (held >= 8) {
      held -= 8;
      *to++ = static_cast<char>((buffer >> held) & 0xff);
    }
  }
  // A whole unused digit or a set padding bit would be a second text for the same bytes.
  return held < bits && (buffer & ((1U << held) - 1)) == 0;
}

template <int bits>
std::optional<std::string> DecodeBits(std::string_view text,
                                      const std::array<int8_t, 256>& values) {
  std::string out(text.size() * static_cast<size_t>(bits) / 8, '\0');
  if (!DecodeBits<bits>(text, values, out.data())) return std::nullopt;
  return out;
}

constexpr auto kHexValues = DigitValues(kHexDigits);

// Most significant byte first.
template <typename Integer>
void AppendBigEndian(std::string* out, Integer value) {
  std::array<char, sizeof(value)> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(value >> (8 * (bytes.size() - 1 - i)) & 0xff);
  }
  out->append(bytes.data(), bytes.size());
}

}  // namespace

std::string HexEncode(std::string_view bytes) {
  return EncodeBits<4>(bytes, kHexDigits);
}

std::optional<std::string> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  return DecodeBits<4>(text, kHexValues);
}

bool HexDecodeTo(std::string_view text, char* bytes) {
  return text.size() % 2 == 0 && DecodeBits<4>(text, kHexValues, bytes);
}

std::string HexU64(uint64_t value) {
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) out[i] = kHexDigits[value & 15];
  return out;
}

std::optional<uint64_t> ParseHexU64(std::string_view text) {
  if (text.size() != 16) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    const int8_t digit = kHexValues[static_cast<unsigned char>(c)];
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return value;
}

std::string Base32Encode(std::string_view bytes) {
  return EncodeBits<5>(bytes, kBase32Digits);
}

std::optional<std::string> Base32Decode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase32Digits);
  return DecodeBits<5>(text, kValues);
}

std::string Base64UrlEncode(std::string_view bytes) {
  return EncodeBits<6>(bytes, kBase64Url);
}

std::optional<std::string> Base64UrlDecode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase64Url);
  return DecodeBits<6>(text, kValues);
}

std::string Base64Encode(std::string_view bytes) {
  std::string out = EncodeBits<6>(bytes, kBase64);
  out.append((4 - out.size() % 4) % 4, '=');
  return out;
}

std::optional<std::string> Base64Decode(std::string_view text) {
  static constexpr auto kValues = DigitValues(kBase64);
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && !text.empty() && text.back() == '='; ++i) text.remove_suffix(1);
  return DecodeBits<6>(text, kValues);
}

void AppendU32(std::string* out, uint32_t value) {
  AppendBigEndian(out, value);
}

void AppendU64(std::string* out, uint64_t value) {
  AppendBigEndian(out, value);
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
    // Most text is ASCII: eight bytes at once.
    uint64_t eight = 0;
    while (i + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, text.data() + i, sizeof(eight));
      if ((eight & 0x8080808080808080) != 0) break;
      i += sizeof(eight);
    }
    if (i == text.size()) break;
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
