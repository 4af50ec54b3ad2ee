// SPDX-License-Identifier: MIT
#include "common/protocol/record.h"

#include <algorithm>

#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr std::string_view kChainTag = "chatchain.chain.v1";
constexpr std::string_view kHeadsTag = "chatchain.heads.v1";

}  // namespace

std::string ToText(const EpochKey& key) {
  return key.origin + "/" + HexU64(key.epoch);
}

Hash ChainSeed(std::string_view cluster, const EpochKey& epoch) {
  std::string bytes;
  AppendSized(&bytes, kChainTag);
  AppendSized(&bytes, cluster);
  AppendSized(&bytes, epoch.origin);
  AppendU64(&bytes, epoch.epoch);
  return Sha256(bytes);
}

Hash NextChain(const Hash& previous, const Record& record) {
  std::string bytes;
  bytes.reserve(160);
  bytes.append(previous.view());
  AppendSized(&bytes, record.epoch.origin);
  AppendU64(&bytes, record.epoch.epoch);
  AppendU64(&bytes, record.seq);
  AppendSized(&bytes, record.kind);
  AppendU64(&bytes, record.stamp);
  bytes.append(record.digest.view());
  return Sha256(bytes);
}

Hash VectorDigest(const HeadVector& heads) {
  std::string bytes;
  AppendSized(&bytes, kHeadsTag);
  for (const auto& [key, position] : heads) {
    AppendSized(&bytes, key.origin);
    AppendU64(&bytes, key.epoch);
    AppendU64(&bytes, position.seq);
    bytes.append(position.chain.view());
  }
  return Sha256(bytes);
}

bool Covers(const HeadVector& vector, const EpochKey& key, Seq seq) {
  if (seq == 0) return true;
  const auto it = vector.find(key);
  return it != vector.end() && it->second.seq >= seq;
}

bool IsKind(std::string_view text) {
  return !text.empty() && text.size() <= limits::kKindMaxBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

}  // namespace chatchain
