// SPDX-License-Identifier: MIT
// Epoch seals: why vectors stay small although every start of a node begins an epoch. A record of
// kind `seal` stands in an epoch of the same origin that is strictly greater than the one it seals,
// and gives the head that a vector means when it does not name that epoch. It closes nothing.
//
// Two forms of a vector: the whole one names every epoch that it covers; the folded one leaves an
// epoch out exactly when it covers a seal of it and its head is the largest end so covered. Where a
// seal is covered and the head is another one, or none, the epoch stays named, in a token even with
// seq 0. So whoever knows the seals that a folded vector covers can tell the whole one.
//
// Pure values. Specified in docs/protocol.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/record.h"
#include "common/protocol/token.h"

namespace chatchain {

inline constexpr std::string_view kSealKind = "seal";

// What a seal says: that epoch, up to there.
struct SealedHead {
  EpochKey epoch;
  Position end;

  friend bool operator==(const SealedHead&, const SealedHead&) = default;
};

// The payload of its record.
std::string EncodeSeal(const SealedHead& sealed);
// Nothing where that is no seal that could stand in the epoch `in`; such a record means nothing.
std::optional<SealedHead> DecodeSeal(const EpochKey& in, std::string_view payload);

// A seal of some epoch, and where its record stands.
struct Seal {
  EpochKey in;
  Seq at = 0;
  Position end;
  bool shared = false;  // every known peer has shown that it holds the record

  friend bool operator==(const Seal&, const Seal&) = default;
};

// The seals that somebody holds. Copies are independent of each other.
class Seals {
 public:
  using Place = std::pair<EpochKey, Seq>;  // of a seal's record

  void Add(const SealedHead& sealed, const EpochKey& in, Seq at);
  // Those whose records stand in `in` above `seq`.
  void RemoveAbove(const EpochKey& in, Seq seq);
  // False where there is no such seal, or it is known to be shared.
  bool MarkShared(const Place& place);

  bool empty() const { return by_epoch_.empty(); }
  // By the epoch that is sealed.
  const std::map<EpochKey, std::vector<Seal>>& by_epoch() const { return by_epoch_; }
  const std::vector<Seal>& Of(const EpochKey& epoch) const;
  // What the records of `in` with from < seq <= to seal, ascending.
  std::vector<std::pair<Seq, SealedHead>> SealedBy(const EpochKey& in, Seq from, Seq to) const;
  // What stands in an epoch that is sealed itself is shared: that seal was written when every known
  // peer had shown the whole epoch.
  bool IsShared(const Seal& seal) const;
  std::vector<Place> Unshared() const;

 private:
  std::map<EpochKey, std::vector<Seal>> by_epoch_;
  std::map<Place, SealedHead> by_place_;
};

// Folded, as nodes give each other vectors: by all seals. Nothing is named with seq 0.
HeadVector FoldHeads(const HeadVector& whole, const Seals& seals);
// Folded, as clients get it: only by seals that are shared.
TokenVector FoldToken(const HeadVector& whole, const Seals& seals);

// The whole vector, as far as `seals` tell.
HeadVector Unfold(HeadVector folded, const Seals& seals);
TokenVector Unfold(TokenVector folded, const Seals& seals);
// What the folded vector means of one epoch; nothing where it neither names it nor covers a seal.
std::optional<Position> Meant(const HeadVector& folded, const EpochKey& epoch, const Seals& seals);
std::optional<Mark> Meant(const TokenVector& folded, const EpochKey& epoch, const Seals& seals);

// A token vector that moves record by record, folded all the time. `seals` must outlive it.
class FoldedPosition {
 public:
  FoldedPosition(TokenVector folded, const Seals& seals)
      : folded_(std::move(folded)), seals_(seals) {}

  const TokenVector& folded() const { return folded_; }
  void Advance(const TokenVector& moved);

 private:
  void Refold(const EpochKey& epoch);

  TokenVector folded_;
  const Seals& seals_;
  std::optional<TokenVector> whole_;  // made when it is needed first
};

}  // namespace chatchain
