// SPDX-License-Identifier: MIT
#include "common/protocol/token.h"

#include <catch2/catch.hpp>
#include <limits>
#include <set>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr Seq kSeqMax = std::numeric_limits<int64_t>::max();

TokenVector Example() {
  return {{{"0", 0x00000001a1b2c3d4}, {1, 0x1122334455667788}},
          {{"0", 0x00000002a1b2c3d4}, {300, 0}},
          {{"node-1", 0}, {kSeqMax, std::numeric_limits<uint64_t>::max()}}};
}

Cursor ExampleCursor() {
  Cursor cursor;
  cursor.covers = Example();
  cursor.after.stamp = 0x018b3f2c5a000001;
  cursor.after.id.bytes.fill(0xab);
  cursor.query_hash = 0xfedcba9876543210;
  return cursor;
}

// A token as Seal() makes it, of any bytes.
std::string Sealed(std::string_view cluster, char type, std::string_view payload, char format = 1) {
  std::string tag;
  AppendSized(&tag, "chatchain.cluster.v1");
  AppendSized(&tag, cluster);
  std::string bytes{format, type};
  bytes += Sha256(tag).view().substr(0, 4);
  bytes += payload;
  bytes += Sha256(bytes).view().substr(0, 4);
  return Base64UrlEncode(bytes);
}

std::string Entry(uint64_t epoch, uint64_t seq, uint64_t prefix = 7) {
  std::string out;
  AppendU64(&out, epoch);
  AppendVarint(&out, seq);
  AppendU64(&out, prefix);
  return out;
}

std::string Origin(std::string_view origin, uint64_t epochs) {
  std::string out;
  AppendVarint(&out, origin.size());
  out += origin;
  AppendVarint(&out, epochs);
  return out;
}

std::string Refusal(const Try<TokenVector>& decoded) {
  if (decoded) return "accepted";
  CHECK(decoded.error().status == 400);
  return decoded.error().detail;
}

}  // namespace

TEST_CASE("tokens come back as they were made", "[token]") {
  const TokenCodec codec("main");
  for (const TokenVector& vector : {TokenVector{}, Example()}) {
    CHECK(codec.DecodeSession(codec.EncodeSession(vector)).value() == vector);
    CHECK(codec.DecodeFeed(codec.EncodeFeed(vector)).value() == vector);
  }
  CHECK(codec.DecodeCursor(codec.EncodeCursor(ExampleCursor())).value() == ExampleCursor());
  CHECK(codec.DecodeCursor(codec.EncodeCursor(Cursor{})).value() == Cursor{});
  // Another codec of the same cluster is another node of it.
  CHECK(TokenCodec("main").DecodeSession(codec.EncodeSession(Example())).value() == Example());
}

TEST_CASE("tokens are made of the specified bytes", "[token]") {
  const TokenCodec codec("main");
  CHECK(codec.EncodeSession({}) == Sealed("main", 'S', ""));
  const std::string payload = Origin("0", 2) + Entry(0x00000001a1b2c3d4, 1, 0x1122334455667788) +
                              Entry(0x00000002a1b2c3d4, 300, 0) + Origin("node-1", 1) +
                              Entry(0, kSeqMax, std::numeric_limits<uint64_t>::max());
  CHECK(codec.EncodeSession(Example()) == Sealed("main", 'S', payload));
  CHECK(codec.EncodeFeed(Example()) == Sealed("main", 'F', payload));
  CHECK(codec.EncodeCursor(ExampleCursor()) ==
        Sealed("main", 'C',
               *HexDecode("018b3f2c5a000001") + std::string(22, '\xab') +
                   *HexDecode("fedcba9876543210") + payload));
  // Header and URL safe.
  const std::string text = codec.EncodeCursor(ExampleCursor());
  CHECK(
      text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
      std::string::npos);
}

TEST_CASE("a token with one changed, added or missing character is refused", "[token]") {
  const TokenCodec codec("main");
  const std::string text = codec.EncodeSession(Example());
  size_t accepted = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string changed = text;
      changed[i] = static_cast<char>(c);
      if (changed != text && codec.DecodeSession(changed)) ++accepted;
    }
    if (codec.DecodeSession(text.substr(0, i))) ++accepted;
    if (codec.DecodeSession(text.substr(i + 1))) ++accepted;
    if (codec.DecodeSession(text.substr(0, i) + "A" + text.substr(i))) ++accepted;
  }
  for (const std::string& bad : {text + "A", text + "=", " " + text, text + "\n", text + text}) {
    if (codec.DecodeSession(bad)) ++accepted;
  }
  CHECK(accepted == 0);

  // Every bit of the bytes, the checksum's included.
  const std::string bytes = *Base64UrlDecode(codec.EncodeCursor(ExampleCursor()));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    if (codec.DecodeCursor(Base64UrlEncode(changed))) FAIL_CHECK("bit " << bit);
  }
}

TEST_CASE("a refusal says what is wrong", "[token]") {
  const TokenCodec codec("main");
  const std::string session = codec.EncodeSession(Example());
  const std::string feed = codec.EncodeFeed(Example());
  const std::string cursor = codec.EncodeCursor(ExampleCursor());
  CHECK(Refusal(codec.DecodeSession(feed)) ==
        "not a session token of this service: it is a feed token");
  CHECK(Refusal(codec.DecodeSession(cursor)) ==
        "not a session token of this service: it is a cursor");
  CHECK(Refusal(codec.DecodeFeed(session)) ==
        "not a feed token of this service: it is a session token");
  CHECK(codec.DecodeCursor(feed).error().detail ==
        "not a cursor of this service: it is a feed token");
  CHECK(codec.DecodeCursor(session).error().status == 400);
  CHECK(Refusal(codec.DecodeSession(Sealed("main", 'X', ""))) ==
        "not a session token of this service: it is a token");

  const TokenCodec other("other");
  CHECK(Refusal(other.DecodeSession(session)) ==
        "not a session token of this service: it belongs to another cluster");
  CHECK(Refusal(other.DecodeFeed(feed)) ==
        "not a feed token of this service: it belongs to another cluster");
  CHECK(other.DecodeCursor(cursor).error().detail ==
        "not a cursor of this service: it belongs to another cluster");
  CHECK_FALSE(TokenCodec("Main").DecodeSession(session));
  CHECK_FALSE(TokenCodec("").DecodeSession(session));

  for (const std::string& garbage :
       {std::string(), std::string("x"), std::string("garbage"), std::string("AAAAAAAAAAAA"),
        std::string(1000, 'A'), std::string("\0", 1), std::string("\xff\xfe")}) {
    CHECK(Refusal(codec.DecodeSession(garbage)).rfind("not a session token of this service", 0) ==
          0);
  }
  CHECK_FALSE(codec.DecodeSession(Sealed("main", 'S', "", 0)));
  CHECK_FALSE(codec.DecodeSession(Sealed("main", 'S', "", 2)));
}

TEST_CASE("a vector in another than its only form is refused", "[token]") {
  const TokenCodec codec("main");
  const std::string wide_varint = std::string("\x80\x00", 2);
  struct Row {
    std::string why;
    std::string payload;
    bool valid;
  };
  const std::vector<Row> rows = {
      {"nothing", "", true},
      {"one epoch", Origin("0", 1) + Entry(1, 1), true},
      {"epoch 0 and the greatest", Origin("0", 2) + Entry(0, 1) + Entry(UINT64_MAX, 1), true},
      {"the greatest seq", Origin("0", 1) + Entry(1, kSeqMax), true},
      {"a seq that no database holds", Origin("0", 1) + Entry(1, kSeqMax + 1), false},
      {"all bits of seq set", Origin("0", 1) + Entry(1, UINT64_MAX), false},
      {"seq 0 with a chain", Origin("0", 1) + Entry(1, 0), false},
      {"no epochs", Origin("0", 0), false},
      {"no epochs, then another", Origin("0", 0) + Origin("1", 1) + Entry(1, 1), false},
      {"fewer epochs than promised", Origin("0", 2) + Entry(1, 1), false},
      {"a huge number of epochs", Origin("0", UINT64_MAX) + Entry(1, 1), false},
      {"more epochs than promised", Origin("0", 1) + Entry(1, 1) + Entry(2, 1), false},
      {"epochs out of order", Origin("0", 2) + Entry(2, 1) + Entry(1, 1), false},
      {"an epoch twice", Origin("0", 2) + Entry(1, 1) + Entry(1, 2), false},
      {"origins out of order", Origin("1", 1) + Entry(1, 1) + Origin("0", 1) + Entry(1, 1), false},
      {"an origin twice", Origin("0", 1) + Entry(1, 1) + Origin("0", 1) + Entry(2, 1), false},
      {"an empty origin", Origin("", 1) + Entry(1, 1), false},
      {"an origin of 64", Origin(std::string(64, 'n'), 1) + Entry(1, 1), true},
      {"an origin of 65", Origin(std::string(65, 'n'), 1) + Entry(1, 1), false},
      {"an origin that is no node id", Origin("a b", 1) + Entry(1, 1), false},
      {"an origin with NUL", Origin(std::string("a\0", 2), 1) + Entry(1, 1), false},
      {"an origin longer than the rest",
       "\x05"
       "0",
       false},
      {"a length that would wrap", std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") + "0",
       false},
      {"a number in a second form", wide_varint, false},
      {"half an entry", Origin("0", 1) + Entry(1, 1).substr(0, 12), false},
      {"one byte too many", Origin("0", 1) + Entry(1, 1) + std::string(1, '\0'), false},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    CHECK(codec.DecodeSession(Sealed("main", 'S', row.payload)).has_value() == row.valid);
    CHECK(codec.DecodeFeed(Sealed("main", 'F', row.payload)).has_value() == row.valid);
    CHECK(codec.DecodeCursor(Sealed("main", 'C', std::string(38, 'x') + row.payload)).has_value() ==
          row.valid);
  }
  for (size_t size = 0; size < 38; ++size) {
    CHECK_FALSE(codec.DecodeCursor(Sealed("main", 'C', std::string(size, 'x'))));
  }
}

TEST_CASE("tokens end at 48 KiB of text", "[token]") {
  const TokenCodec codec("main");
  TokenVector vector;
  Epoch epoch = 0;
  while (codec.EncodeSession(vector).size() <= limits::kTokenMaxBytes) {
    for (int i = 0; i < 50; ++i) vector[{"0", ++epoch}] = {1, 2};
  }
  CHECK(Refusal(codec.DecodeSession(codec.EncodeSession(vector))) ==
        "not a session token of this service: too long");
  CHECK(Refusal(codec.DecodeSession(std::string(100'000'000, 'A'))) ==
        "not a session token of this service: too long");
  for (int i = 0; i < 50; ++i) vector.erase({"0", epoch--});
  CHECK(codec.DecodeSession(codec.EncodeSession(vector)).value() == vector);
  CHECK(vector.size() > 2000);
}

TEST_CASE("joining keeps the larger position of each epoch", "[token]") {
  const TokenVector a = {{{"0", 1}, {5, 50}}, {{"1", 1}, {3, 30}}};
  const TokenVector b = {{{"0", 1}, {4, 40}}, {{"1", 1}, {9, 90}}, {{"2", 1}, {1, 10}}};
  TokenVector ab = a;
  Join(&ab, b);
  TokenVector ba = b;
  Join(&ba, a);
  CHECK(ab == TokenVector{{{"0", 1}, {5, 50}}, {{"1", 1}, {9, 90}}, {{"2", 1}, {1, 10}}});
  CHECK(ab == ba);
  TokenVector again = ab;
  Join(&again, ab);
  CHECK(again == ab);
  Join(&again, {});
  CHECK(again == ab);
  TokenVector empty;
  Join(&empty, a);
  CHECK(empty == a);
}

TEST_CASE("a token's vector names the heads", "[token]") {
  const Hash chain = Sha256("x");
  const TokenVector vector = ToTokenVector({{{"0", 1}, {5, chain}}, {{"1", 2}, {6, Hash{}}}});
  CHECK(vector == TokenVector{{{"0", 1}, {5, chain.Prefix64()}}, {{"1", 2}, {6, 0}}});
  CHECK(Covers(vector, {"0", 1}, 5));
  CHECK_FALSE(Covers(vector, {"0", 1}, 6));
  CHECK_FALSE(Covers(vector, {"0", 2}, 1));
}

TEST_CASE("places: by stamp, then by id", "[token]") {
  Place a{5, {}};
  Place b{5, {}};
  b.id.bytes[21] = 1;
  Place c{6, {}};
  CHECK(a < b);
  CHECK(b < c);
  CHECK(a == Place{5, {}});
}

}  // namespace chatchain
