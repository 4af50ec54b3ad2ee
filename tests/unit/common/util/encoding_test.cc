// SPDX-License-Identifier: MIT
#include "common/util/encoding.h"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <random>

namespace chatchain {

namespace {

std::string RandomBytes(std::mt19937_64* random, size_t size) {
  std::string bytes;
  for (size_t i = 0; i < size; ++i) bytes += static_cast<char>((*random)() & 0xff);
  return bytes;
}

struct Codec {
  std::string name;
  std::function<std::string(std::string_view)> encode;
  std::function<std::optional<std::string>(std::string_view)> decode;
};

const std::vector<Codec>& Codecs() {
  static const std::vector<Codec> codecs = {{"hex", HexEncode, HexDecode},
                                            {"base32", Base32Encode, Base32Decode},
                                            {"base64url", Base64UrlEncode, Base64UrlDecode},
                                            {"base64", Base64Encode, Base64Decode}};
  return codecs;
}

}  // namespace

TEST_CASE("text forms: known values", "[encoding]") {
  CHECK(HexEncode(std::string("\x00\x7f\x80\xff", 4)) == "007f80ff");
  // RFC 4648 section 10.
  const std::vector<std::pair<std::string, std::string>> kBase64Vectors = {{"", ""},
                                                                           {"f", "Zg=="},
                                                                           {"fo", "Zm8="},
                                                                           {"foo", "Zm9v"},
                                                                           {"foob", "Zm9vYg=="},
                                                                           {"fooba", "Zm9vYmE="},
                                                                           {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : kBase64Vectors) {
    CHECK(Base64Encode(bytes) == text);
    CHECK(Base64Decode(text) == bytes);
    const std::string unpadded = text.substr(0, text.find('='));
    CHECK(Base64UrlEncode(bytes) == unpadded);
    CHECK(Base64UrlDecode(unpadded) == bytes);
  }
  CHECK(Base64Encode("\xfb\xff\xbf") == "+/+/");
  CHECK(Base64UrlEncode("\xfb\xff\xbf") == "-_-_");
  // Crockford's alphabet in order: 5 bits a digit, no i, l, o, u.
  std::string all;
  for (int i = 0; i < 32; i += 8) {
    uint64_t group = 0;
    for (int k = 0; k < 8; ++k) group = group << 5 | static_cast<uint64_t>(i + k);
    for (int shift = 32; shift >= 0; shift -= 8) all += static_cast<char>(group >> shift & 0xff);
  }
  CHECK(Base32Encode(all) == "0123456789abcdefghjkmnpqrstvwxyz");
  CHECK(HexU64(0) == "0000000000000000");
  CHECK(HexU64(0x0123456789abcdef) == "0123456789abcdef");
  CHECK(HexU64(std::numeric_limits<uint64_t>::max()) == "ffffffffffffffff");
}

TEST_CASE("text forms: every length and value comes back", "[encoding]") {
  std::mt19937_64 random(1);
  for (const Codec& codec : Codecs()) {
    INFO(codec.name);
    for (size_t size = 0; size < 70; ++size) {
      const std::string bytes = RandomBytes(&random, size);
      CHECK(codec.decode(codec.encode(bytes)) == bytes);
    }
    for (int value = 0; value < 256; ++value) {
      const std::string byte(1, static_cast<char>(value));
      CHECK(codec.decode(codec.encode(byte)) == byte);
    }
  }
}

TEST_CASE("text forms: one value has one text", "[encoding]") {
  // Whatever one changed, added or missing character decodes to, it encodes to itself again.
  std::mt19937_64 random(2);
  for (const Codec& codec : Codecs()) {
    INFO(codec.name);
    size_t accepted = 0;
    for (size_t size = 0; size < 12; ++size) {
      const std::string text = codec.encode(RandomBytes(&random, size));
      std::vector<std::string> variants;
      for (size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size()) variants.push_back(text.substr(0, i) + text.substr(i + 1));
        for (int c = 0; c < 256; ++c) {
          std::string inserted = text;
          inserted.insert(i, 1, static_cast<char>(c));
          variants.push_back(inserted);
          if (i == text.size()) continue;
          std::string changed = text;
          changed[i] = static_cast<char>(c);
          variants.push_back(changed);
        }
      }
      for (const std::string& variant : variants) {
        const auto decoded = codec.decode(variant);
        if (!decoded) continue;
        ++accepted;
        if (codec.encode(*decoded) != variant) FAIL_CHECK("two texts for one value: " << variant);
      }
    }
    CHECK(accepted > 0);
  }
}

TEST_CASE("text forms: what is refused", "[encoding]") {
  for (std::string_view text : {"A0", "0", "000", "0g", "0x", " 0", "00 ", "FF"}) {
    INFO(text);
    CHECK_FALSE(HexDecode(text));
  }
  for (std::string_view text : {"", "0", "000000000000000", "00000000000000000", "000000000000000g",
                                "000000000000000A", "+000000000000001", "0x00000000000001"}) {
    INFO(text);
    CHECK_FALSE(ParseHexU64(text));
  }
  CHECK(ParseHexU64("00000001a1b2c3d4") == 0x00000001a1b2c3d4);
  for (std::string_view text : {"0", "000", "01", "0i", "0l", "0o", "0u", "0A", "00=", "0-0"}) {
    INFO(text);
    CHECK_FALSE(Base32Decode(text));
  }
  for (std::string_view text : {"A", "AB", "Zg==", "Zg=", "+/+/", "AA A", "AA\nA", "AAAAA"}) {
    INFO(text);
    CHECK_FALSE(Base64UrlDecode(text));
  }
  for (std::string_view text : {"A", "AA", "AAA", "A===", "====", "=", "==", "Zg==Zg==", "Zh==",
                                "AAAA====", "-_-_", "AAA=A", "A=AA", " AAA", "AAA\n"}) {
    INFO(text);
    CHECK_FALSE(Base64Decode(text));
  }
}

TEST_CASE("base32 keeps the order of the bytes", "[encoding]") {
  std::mt19937_64 random(3);
  for (int i = 0; i < 500; ++i) {
    const std::string a = RandomBytes(&random, 22);
    std::string b = a;
    b[random() % b.size()] = static_cast<char>(random() & 0xff);
    CHECK((a < b) == (Base32Encode(a) < Base32Encode(b)));
  }
}

TEST_CASE("integers and sized strings: bytes as specified", "[encoding]") {
  std::string out;
  AppendU32(&out, 0x01020304);
  AppendU64(&out, 0xfffefdfcfbfaf9f8);
  AppendSized(&out, "ab");
  CHECK(HexEncode(out) == "01020304fffefdfcfbfaf9f8000000026162");
  const std::vector<std::pair<uint64_t, std::string>> kVarints = {
      {0, "00"},
      {1, "01"},
      {127, "7f"},
      {128, "8001"},
      {300, "ac02"},
      {16383, "ff7f"},
      {16384, "808001"},
      {uint64_t{1} << 63, "80808080808080808001"},
      {std::numeric_limits<uint64_t>::max(), "ffffffffffffffffff01"}};
  for (const auto& [value, hex] : kVarints) {
    std::string bytes;
    AppendVarint(&bytes, value);
    CHECK(HexEncode(bytes) == hex);
    ByteReader in(bytes);
    uint64_t back = 1;
    CHECK(in.TakeVarint(&back));
    CHECK(back == value);
    CHECK(in.empty());
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      ByteReader shorter(std::string_view(bytes).substr(0, cut));
      CHECK_FALSE(shorter.TakeVarint(&back));
    }
  }
}

TEST_CASE("ByteReader refuses short input and second forms of a number", "[encoding]") {
  for (std::string_view hex :
       {"8000", "ff00", "808000", "80808080808080808002", "ffffffffffffffffff02",
        "8080808080808080808001", "ffffffffffffffffffff01"}) {
    INFO(hex);
    const std::string bytes = *HexDecode(hex);
    uint64_t value = 0;
    CHECK_FALSE(ByteReader(bytes).TakeVarint(&value));
  }
  uint64_t value = 0;
  CHECK_FALSE(ByteReader("1234567").TakeU64(&value));
  std::string_view bytes;
  CHECK_FALSE(ByteReader("abc").TakeBytes(4, &bytes));
  CHECK_FALSE(ByteReader("abc").TakeBytes(std::numeric_limits<size_t>::max(), &bytes));
  ByteReader in("abcde");
  CHECK(in.TakeBytes(0, &bytes));
  CHECK(bytes.empty());
  CHECK(in.TakeBytes(3, &bytes));
  CHECK(bytes == "abc");
  CHECK_FALSE(in.empty());
  CHECK(in.TakeBytes(2, &bytes));
  CHECK(in.empty());
}

TEST_CASE("UTF-8 as RFC 3629 defines it", "[encoding]") {
  for (std::string_view hex :
       {"", "00", "7f", "c280", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbf", "f0908080",
        "f48fbfbf", "efbbbf", "e4bda0e5a5bd", "f09f9880"}) {
    INFO(hex);
    CHECK(IsUtf8(*HexDecode(hex)));
  }
  for (std::string_view hex :
       {"80",       "bf",     "c0",       "c080",     "c1bf",         "c2",
        "c200",     "c2c0",   "dfc0",     "e0",       "e080",         "e09fbf",
        "e0a0",     "e0a000", "eda080",   "edbfbf",   "eda080edb080", "f0808080",
        "f08fbfbf", "f09080", "f0908000", "f4908080", "f5808080",     "f8888080",
        "fc",       "fe",     "ff",       "61c2",     "c28080",       "efbfbfbf"}) {
    INFO(hex);
    CHECK_FALSE(IsUtf8(*HexDecode(hex)));
  }
  // Every code point, and nothing else of that length: compared with an encoder written from the
  // table.
  size_t valid = 0;
  for (uint32_t point = 0; point < 0x110000; ++point) {
    std::string bytes;
    if (point < 0x80) {
      bytes = {static_cast<char>(point)};
    } else if (point < 0x800) {
      bytes = {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
    } else if (point < 0x10000) {
      bytes = {static_cast<char>(0xe0 | point >> 12), static_cast<char>(0x80 | (point >> 6 & 63)),
               static_cast<char>(0x80 | (point & 63))};
    } else {
      bytes = {static_cast<char>(0xf0 | point >> 18), static_cast<char>(0x80 | (point >> 12 & 63)),
               static_cast<char>(0x80 | (point >> 6 & 63)), static_cast<char>(0x80 | (point & 63))};
    }
    if (IsUtf8(bytes)) ++valid;
  }
  CHECK(valid == 0x110000 - 0x800);
}

}  // namespace chatchain
