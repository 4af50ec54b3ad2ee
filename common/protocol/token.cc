// SPDX-License-Identifier: MIT
#include "common/protocol/token.h"

#include <algorithm>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr char kFormat = 1;
constexpr char kSession = 'S';
constexpr char kFeed = 'F';
constexpr char kCursor = 'C';
constexpr size_t kTagBytes = 4;
constexpr size_t kChecksumBytes = 4;

std::string_view TypeName(char type) {
  switch (type) {
    case kSession: return "session token";
    case kFeed: return "feed token";
    case kCursor: return "cursor";
    default: return "token";
  }
}

// Entries of one origin stand together, so its name is written once.
void AppendVector(std::string* out, const TokenVector& vector) {
  auto it = vector.begin();
  while (it != vector.end()) {
    const std::string& origin = it->first.origin;
    auto end = it;
    size_t epochs = 0;
    for (; end != vector.end() && end->first.origin == origin; ++end) ++epochs;
    AppendVarint(out, origin.size());
    out->append(origin);
    AppendVarint(out, epochs);
    for (; it != end; ++it) {
      AppendU64(out, it->first.epoch);
      AppendVarint(out, it->second.seq);
      AppendU64(out, it->second.chain_prefix);
    }
  }
}

// Strictly ascending, so that one vector has one text.
bool TakeVector(ByteReader* in, TokenVector* vector) {
  while (!in->empty()) {
    uint64_t origin_bytes = 0;
    uint64_t epochs = 0;
    std::string_view origin;
    if (!in->TakeVarint(&origin_bytes) || origin_bytes > limits::kNodeIdMaxBytes ||
        !in->TakeBytes(origin_bytes, &origin) || !IsNodeId(origin) || !in->TakeVarint(&epochs) ||
        epochs == 0) {
      return false;
    }
    if (!vector->empty() && vector->rbegin()->first.origin >= origin) return false;
    for (uint64_t i = 0; i < epochs; ++i) {
      EpochKey key{std::string(origin), 0};
      Mark mark;
      // Anyone can make a token: no seq in it may wrap where a database holds 63 bits.
      if (!in->TakeU64(&key.epoch) || !in->TakeVarint(&mark.seq) || mark.seq > INT64_MAX ||
          !in->TakeU64(&mark.chain_prefix) || (mark.seq == 0 && mark.chain_prefix != 0)) {
        return false;
      }
      if (!vector->empty() && vector->rbegin()->first >= key) return false;
      vector->emplace_hint(vector->end(), std::move(key), mark);
    }
  }
  return true;
}

std::string Seal(char type, const std::string& cluster_tag, std::string_view payload) {
  std::string bytes{kFormat, type};
  bytes += cluster_tag;
  bytes += payload;
  bytes += Sha256(bytes).view().substr(0, kChecksumBytes);
  return Base64UrlEncode(bytes);
}

// The payload of a token of that type and cluster.
Try<std::string> Open(char type, const std::string& cluster_tag, std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Err(BadRequest("not a " + std::string(TypeName(type)) +
                          " of this service: " + std::string(why)));
  };
  if (text.size() > limits::kTokenMaxBytes) return bad("too long");
  const auto bytes = Base64UrlDecode(text);
  constexpr size_t kOverhead = 2 + kTagBytes + kChecksumBytes;
  if (!bytes || bytes->size() < kOverhead || (*bytes)[0] != kFormat) return bad("malformed");
  const std::string_view sealed =
      std::string_view(*bytes).substr(0, bytes->size() - kChecksumBytes);
  if (Sha256(sealed).view().substr(0, kChecksumBytes) != bytes->substr(sealed.size())) {
    return bad("damaged");
  }
  if ((*bytes)[1] != type) {
    return bad("it is a " + std::string(TypeName((*bytes)[1])));
  }
  if (sealed.substr(2, kTagBytes) != cluster_tag) return bad("it belongs to another cluster");
  return std::string(sealed.substr(2 + kTagBytes));
}

}  // namespace

TokenVector ToTokenVector(const HeadVector& heads) {
  TokenVector vector;
  for (const auto& [key, position] : heads) {
    vector.emplace_hint(vector.end(), key, Mark{position.seq, position.chain.Prefix64()});
  }
  return vector;
}

void Join(TokenVector* into, const TokenVector& other) {
  for (const auto& [key, mark] : other) {
    Mark& mine = (*into)[key];
    if (mark.seq > mine.seq) mine = mark;
  }
}

bool Covers(const TokenVector& vector, const EpochKey& key, Seq seq) {
  if (seq == 0) return true;
  const auto it = vector.find(key);
  return it != vector.end() && it->second.seq >= seq;
}

TokenCodec::TokenCodec(std::string_view cluster) {
  std::string bytes;
  AppendSized(&bytes, "chatchain.cluster.v1");
  AppendSized(&bytes, cluster);
  cluster_tag_ = Sha256(bytes).view().substr(0, kTagBytes);
}

std::string TokenCodec::EncodeSession(const TokenVector& vector) const {
  std::string payload;
  AppendVector(&payload, vector);
  return Seal(kSession, cluster_tag_, payload);
}

std::string TokenCodec::EncodeFeed(const TokenVector& vector) const {
  std::string payload;
  AppendVector(&payload, vector);
  return Seal(kFeed, cluster_tag_, payload);
}

std::string TokenCodec::EncodeCursor(const Cursor& cursor) const {
  std::string payload;
  AppendU64(&payload, cursor.after.stamp);
  payload += cursor.after.id.view();
  AppendU64(&payload, cursor.query_hash);
  AppendVector(&payload, cursor.covers);
  return Seal(kCursor, cluster_tag_, payload);
}

Try<TokenVector> TokenCodec::DecodeSession(std::string_view text) const {
  const auto payload = Open(kSession, cluster_tag_, text);
  if (!payload) return Err(payload.error());
  TokenVector vector;
  ByteReader in(*payload);
  if (!TakeVector(&in, &vector)) return Err(BadRequest("not a session token of this service"));
  return vector;
}

Try<TokenVector> TokenCodec::DecodeFeed(std::string_view text) const {
  const auto payload = Open(kFeed, cluster_tag_, text);
  if (!payload) return Err(payload.error());
  TokenVector vector;
  ByteReader in(*payload);
  if (!TakeVector(&in, &vector)) return Err(BadRequest("not a feed token of this service"));
  return vector;
}

Try<Cursor> TokenCodec::DecodeCursor(std::string_view text) const {
  const auto payload = Open(kCursor, cluster_tag_, text);
  if (!payload) return Err(payload.error());
  Cursor cursor;
  ByteReader in(*payload);
  std::string_view id;
  if (!in.TakeU64(&cursor.after.stamp) || !in.TakeBytes(cursor.after.id.bytes.size(), &id) ||
      !MessageId::FromBytes(id, &cursor.after.id) || !in.TakeU64(&cursor.query_hash) ||
      !TakeVector(&in, &cursor.covers)) {
    return Err(BadRequest("not a cursor of this service"));
  }
  return cursor;
}

}  // namespace chatchain
