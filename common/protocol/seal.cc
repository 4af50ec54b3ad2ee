// SPDX-License-Identifier: MIT
#include "common/protocol/seal.h"

#include <algorithm>

#include "common/util/encoding.h"

namespace chatchain {

namespace {

constexpr size_t kChainBytes = 32;

template <typename Vector>
using EntryOf = typename Vector::mapped_type;

Position EntryFrom(const Position& end, const Position*) {
  return end;
}
Mark EntryFrom(const Position& end, const Mark*) {
  return {end.seq, end.chain.Prefix64()};
}

template <typename Vector>
EntryOf<Vector> Entry(const Position& end) {
  return EntryFrom(end, static_cast<const EntryOf<Vector>*>(nullptr));
}

// The largest end of those seals that the whole vector covers; null where it covers none.
template <typename Vector>
const Seal* LargestCovered(const Vector& whole, const std::vector<Seal>& of_epoch) {
  const Seal* largest = nullptr;
  for (const Seal& seal : of_epoch) {
    if (largest != nullptr && seal.end.seq <= largest->end.seq) continue;
    if (Covers(whole, seal.in, seal.at)) largest = &seal;
  }
  return largest;
}

// Whether one of the seals that the whole vector covers says `entry`, and no other one says more or
// something else; of tokens, one that is shared.
template <typename Vector>
bool MayLeaveOut(const Vector& whole, const EntryOf<Vector>& entry, const std::vector<Seal>& seals,
                 const Seals* shared) {
  bool may = false;
  for (const Seal& seal : seals) {
    if (seal.end.seq < entry.seq || !Covers(whole, seal.in, seal.at)) continue;
    if (Entry<Vector>(seal.end) != entry) return false;
    may = may || shared == nullptr || shared->IsShared(seal);
  }
  return may;
}

// Greater epochs first: a seal stands in a greater one than it seals.
template <typename Iterator, typename Vector>
void UnfoldBackwards(Iterator from, Iterator to, Vector* vector) {
  for (auto it = from; it != to; ++it) {
    if (vector->count(it->first) > 0) continue;
    if (const Seal* seal = LargestCovered(*vector, it->second)) {
      vector->emplace(it->first, Entry<Vector>(seal->end));
    }
  }
}

template <typename Vector>
std::optional<EntryOf<Vector>> MeantOf(const Vector& folded, const EpochKey& epoch,
                                       const Seals& seals) {
  const auto named = folded.find(epoch);
  if (named != folded.end()) return named->second;
  const auto& by_epoch = seals.by_epoch();
  const auto first = by_epoch.find(epoch);
  if (first == by_epoch.end()) return std::nullopt;
  const auto last = std::find_if(
      first, by_epoch.end(), [&](const auto& entry) { return entry.first.origin != epoch.origin; });
  Vector of_origin(folded.lower_bound(epoch),
                   std::find_if(folded.lower_bound(epoch), folded.end(), [&](const auto& entry) {
                     return entry.first.origin != epoch.origin;
                   }));
  UnfoldBackwards(std::make_reverse_iterator(last), std::make_reverse_iterator(first), &of_origin);
  const auto meant = of_origin.find(epoch);
  if (meant == of_origin.end()) return std::nullopt;
  return meant->second;
}

template <typename Vector>
Vector UnfoldAll(Vector vector, const Seals& seals) {
  UnfoldBackwards(seals.by_epoch().rbegin(), seals.by_epoch().rend(), &vector);
  return vector;
}

}  // namespace

std::string EncodeSeal(const SealedHead& sealed) {
  std::string payload;
  AppendU64(&payload, sealed.epoch.epoch);
  AppendU64(&payload, sealed.end.seq);
  payload += sealed.end.chain.view();
  return payload;
}

std::optional<SealedHead> DecodeSeal(const EpochKey& in, std::string_view payload) {
  SealedHead sealed;
  sealed.epoch.origin = in.origin;
  ByteReader reader(payload);
  std::string_view chain;
  if (!reader.TakeU64(&sealed.epoch.epoch) || !reader.TakeU64(&sealed.end.seq) ||
      !reader.TakeBytes(kChainBytes, &chain) || !reader.empty() ||
      !Hash::FromBytes(chain, &sealed.end.chain)) {
    return std::nullopt;
  }
  if (sealed.epoch >= in || sealed.end.seq == 0 || sealed.end.seq > INT64_MAX) return std::nullopt;
  return sealed;
}

void Seals::Add(const SealedHead& sealed, const EpochKey& in, Seq at) {
  if (!by_place_.emplace(Place(in, at), sealed).second) return;
  by_epoch_[sealed.epoch].push_back({in, at, sealed.end});
}

void Seals::RemoveAbove(const EpochKey& in, Seq seq) {
  auto it = by_place_.upper_bound({in, seq});
  while (it != by_place_.end() && it->first.first == in) {
    const auto sealed = by_epoch_.find(it->second.epoch);
    std::erase_if(sealed->second,
                  [&](const Seal& seal) { return seal.in == in && seal.at == it->first.second; });
    if (sealed->second.empty()) by_epoch_.erase(sealed);
    it = by_place_.erase(it);
  }
}

bool Seals::MarkShared(const Place& place) {
  const auto it = by_place_.find(place);
  if (it == by_place_.end()) return false;
  for (Seal& seal : by_epoch_.at(it->second.epoch)) {
    if (seal.in == place.first && seal.at == place.second) return !std::exchange(seal.shared, true);
  }
  return false;
}

const std::vector<Seal>& Seals::Of(const EpochKey& epoch) const {
  static const std::vector<Seal> kNone;
  const auto it = by_epoch_.find(epoch);
  return it == by_epoch_.end() ? kNone : it->second;
}

std::vector<std::pair<Seq, SealedHead>> Seals::SealedBy(const EpochKey& in, Seq from,
                                                        Seq to) const {
  std::vector<std::pair<Seq, SealedHead>> sealed;
  for (auto it = by_place_.upper_bound({in, from});
       it != by_place_.end() && it->first.first == in && it->first.second <= to; ++it) {
    sealed.emplace_back(it->first.second, it->second);
  }
  return sealed;
}

bool Seals::IsShared(const Seal& seal) const {
  if (seal.shared) return true;
  const std::vector<Seal>& of_its_epoch = Of(seal.in);
  return std::any_of(of_its_epoch.begin(), of_its_epoch.end(),
                     [&](const Seal& above) { return above.end.seq >= seal.at; });
}

std::vector<Seals::Place> Seals::Unshared() const {
  std::vector<Place> places;
  for (const auto& [epoch, seals] : by_epoch_) {
    for (const Seal& seal : seals) {
      if (!IsShared(seal)) places.emplace_back(seal.in, seal.at);
    }
  }
  return places;
}

HeadVector FoldHeads(const HeadVector& whole, const Seals& seals) {
  HeadVector folded = whole;
  for (const auto& [epoch, of_epoch] : seals.by_epoch()) {
    const auto it = whole.find(epoch);
    if (it != whole.end() && MayLeaveOut(whole, it->second, of_epoch, nullptr)) folded.erase(epoch);
  }
  return folded;
}

TokenVector FoldToken(const HeadVector& whole, const Seals& seals) {
  if (seals.empty()) return ToTokenVector(whole);
  TokenVector folded;
  auto sealed = seals.by_epoch().begin();
  const auto end = seals.by_epoch().end();
  // Sealed and not held: frozen.
  const auto name_nothing = [&](const auto& entry) {
    if (LargestCovered(whole, entry.second) != nullptr) folded.emplace(entry.first, Mark{});
  };
  for (const auto& [epoch, head] : whole) {
    for (; sealed != end && sealed->first < epoch; ++sealed) name_nothing(*sealed);
    if (sealed != end && sealed->first == epoch) {
      const bool left_out = MayLeaveOut(whole, head, sealed->second, &seals);
      ++sealed;
      if (left_out) continue;
    }
    folded.emplace_hint(folded.end(), epoch, Mark{head.seq, head.chain.Prefix64()});
  }
  for (; sealed != end; ++sealed) name_nothing(*sealed);
  return folded;
}

HeadVector Unfold(HeadVector folded, const Seals& seals) {
  return UnfoldAll(std::move(folded), seals);
}

TokenVector Unfold(TokenVector folded, const Seals& seals) {
  return UnfoldAll(std::move(folded), seals);
}

std::optional<Position> Meant(const HeadVector& folded, const EpochKey& epoch, const Seals& seals) {
  return MeantOf(folded, epoch, seals);
}

std::optional<Mark> Meant(const TokenVector& folded, const EpochKey& epoch, const Seals& seals) {
  return MeantOf(folded, epoch, seals);
}

void FoldedPosition::Advance(const TokenVector& moved) {
  if (seals_.empty()) {
    for (const auto& [key, mark] : moved) folded_[key] = mark;
    return;
  }
  for (const auto& [key, mark] : moved) {
    const auto named = folded_.find(key);
    const bool sealed = !seals_.Of(key).empty();
    std::vector<std::pair<Seq, SealedHead>> lower;
    if (sealed && !whole_) whole_ = Unfold(folded_, seals_);
    Seq from = named != folded_.end() ? named->second.seq : 0;
    if (whole_) {
      const auto before = whole_->find(key);
      from = before != whole_->end() ? before->second.seq : 0;
    }
    if (from < mark.seq) lower = seals_.SealedBy(key, from, mark.seq);
    if (!lower.empty() && !whole_) whole_ = Unfold(folded_, seals_);
    if (whole_) (*whole_)[key] = mark;
    folded_[key] = mark;
    if (sealed) Refold(key);
    for (const auto& [at, head] : lower) Refold(head.epoch);
  }
}

// Names the epoch or leaves it out, as `whole_` has it now.
void FoldedPosition::Refold(const EpochKey& epoch) {
  const std::vector<Seal>& seals = seals_.Of(epoch);
  const auto it = whole_->find(epoch);
  if (it == whole_->end()) {
    if (LargestCovered(*whole_, seals) != nullptr) {
      folded_[epoch] = Mark{};
      (*whole_)[epoch] = Mark{};
    }
  } else if (MayLeaveOut(*whole_, it->second, seals, &seals_)) {
    folded_.erase(epoch);
  } else {
    folded_[epoch] = it->second;
  }
}

}  // namespace chatchain
