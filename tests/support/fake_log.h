// SPDX-License-Identifier: MIT
// A LogReader over vectors, with the state that goes with it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "node/sync/log_reader.h"

namespace chatchain::test {

class FakeLog final : public LogReader {
 public:
  static constexpr const char* kCluster = "test";

  // `n` messages of their own, the same in every FakeLog.
  void Append(const EpochKey& key, int n) {
    for (int i = 0; i < n; ++i) {
      const std::string name = ToText(key) + ":" + std::to_string(records[key].size() + 1);
      StoredRecord stored;
      stored.message_ref = ++last_ref_;
      stored.wire.message = Message{.sender = "ann", .recipient = "bob", .text = name, .key = name};
      Add(key, std::move(stored));
    }
  }
  // Another record of a message that is there.
  void AppendCopy(const EpochKey& key, const std::pair<EpochKey, Seq>& of) {
    const StoredRecord& original = records.at(of.first).at(of.second - 1);
    StoredRecord stored;
    stored.message_ref = original.message_ref;
    stored.wire.message = original.wire.message;
    Add(key, std::move(stored));
  }
  void AppendPayload(const EpochKey& key, std::string kind, std::string payload) {
    StoredRecord stored;
    stored.wire.record.kind = std::move(kind);
    stored.wire.payload = std::move(payload);
    Add(key, std::move(stored));
  }
  void Freeze(const EpochKey& key) {
    state.epochs.at(key).frozen = true;
    state.heads.erase(key);
    state.forks.push_back(key);
    Refold();
  }
  // Of `of` as far as `end`, at the end of `in`.
  void AppendSeal(const EpochKey& in, const EpochKey& of, Seq end) {
    AppendPayload(in, std::string(kSealKind), EncodeSeal({of, At(of, end)}));
  }
  Position At(const EpochKey& key, Seq seq) const {
    return {seq, records.at(key).at(seq - 1).wire.record.chain};
  }

  std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) override {
    for (const StoredRecord& stored : records[epoch]) {
      if (stored.wire.record.seq == seq) return stored.wire.record.chain;
    }
    return std::nullopt;
  }
  void ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                   const std::function<bool(StoredRecord&&)>& take) override {
    for (const StoredRecord& stored : records[epoch]) {
      const Seq seq = stored.wire.record.seq;
      if (seq >= from && seq <= to && !take(StoredRecord(stored))) return;
    }
  }
  std::vector<std::pair<EpochKey, Seq>> PositionsOf(int64_t message_ref) override {
    std::vector<std::pair<EpochKey, Seq>> positions;
    for (const auto& [key, list] : records) {
      for (const StoredRecord& stored : list) {
        if (stored.message_ref == message_ref) positions.emplace_back(key, stored.wire.record.seq);
      }
    }
    return positions;
  }

  LogState state;
  std::map<EpochKey, std::vector<StoredRecord>> records;

 private:
  void Add(const EpochKey& key, StoredRecord stored) {
    auto& list = records[key];
    Record& record = stored.wire.record;
    record.epoch = key;
    record.seq = list.size() + 1;
    record.stamp = StampFromMs(1'700'000'000'000) + record.seq;
    if (stored.wire.message) {
      const auto valid = Validate(*stored.wire.message);
      record.digest = valid->digest();
      stored.wire.id = valid->id();
    } else {
      record.digest = Sha256(*stored.wire.payload);
    }
    record.chain =
        NextChain(list.empty() ? ChainSeed(kCluster, key) : list.back().wire.record.chain, record);
    LogState::EpochState& epoch = state.epochs[key];
    epoch.ref = static_cast<int64_t>(state.epochs.size());
    epoch.head = {record.seq, record.chain};
    state.heads[key] = epoch.head;
    list.push_back(std::move(stored));
    Refold();
  }
  void Refold() {
    auto seals = std::make_shared<Seals>();
    for (const auto& [key, list] : records) {
      if (state.heads.count(key) == 0) continue;
      for (const StoredRecord& stored : list) {
        if (stored.wire.record.kind != kSealKind) continue;
        if (const auto sealed = DecodeSeal(key, *stored.wire.payload)) {
          seals->Add(*sealed, key, stored.wire.record.seq);
        }
      }
    }
    state.seals = std::move(seals);
    Fold(&state);
  }

  int64_t last_ref_ = 0;
};

}  // namespace chatchain::test
