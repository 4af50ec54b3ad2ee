// SPDX-License-Identifier: MIT
#include "node/store/record_tail.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

namespace chatchain {

namespace {

// Of one record beside its body: the object itself, its text without the body, and the strings'
// own memory.
constexpr size_t kOverheadBytes = 1024;

// As the object has it, and as JSON, where a control character takes six bytes.
size_t BytesOf(std::string_view text) {
  const auto controls =
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20; });
  return 2 * text.size() + 5 * static_cast<size_t>(controls);
}

size_t BytesOf(const WireRecord& wire) {
  if (!wire.message) return kOverheadBytes;
  const Message& message = *wire.message;
  return kOverheadBytes + BytesOf(message.sender) + BytesOf(message.recipient) +
         BytesOf(message.room) + BytesOf(message.text) + BytesOf(message.key);
}

}  // namespace

RecordTail::Kept::Kept(WireRecord wire, int64_t message_ref)
    : wire_(std::move(wire)), message_ref_(message_ref), bytes_(BytesOf(wire_)) {}

const std::string& RecordTail::Kept::Json() const {
  std::call_once(encoded_, [this] {
    std::string json;
    AppendWireRecord(&json, wire_);
    json_ = std::move(json);
  });
  return json_;
}

bool RecordTail::Run::Continues(const Record& record, const Hash& chain_before) const {
  if (records.empty() || epoch != record.epoch) return false;
  const Record& last = records.back()->record();
  return last.seq + 1 == record.seq && last.chain == chain_before;
}

void RecordTail::Run::Append(std::shared_ptr<Kept> kept, size_t max_bytes) {
  records.push_back(std::move(kept));
  bytes += records.back()->bytes_;
  while (bytes > max_bytes) {
    const Kept& first = *records.front();
    bytes -= first.bytes_;
    before = {first.record().seq, first.record().chain};
    records.pop_front();
  }
}

void RecordTail::Add(WireRecord wire, const Hash& chain_before, int64_t message_ref) {
  if (options_.max_bytes == 0) return;
  if (!pending_.Continues(wire.record, chain_before)) {
    pending_.Clear();
    pending_.epoch = wire.record.epoch;
    pending_.before = {wire.record.seq - 1, chain_before};
  }
  pending_.Append(std::make_shared<Kept>(std::move(wire), message_ref), options_.max_bytes);
}

void RecordTail::NoteCopy(int64_t message_ref) {
  // Messages are numbered as their first records arrive.
  const auto note = [&](Run& run) {
    const auto it =
        std::lower_bound(run.records.begin(), run.records.end(), message_ref,
                         [](const auto& kept, int64_t ref) { return kept->message_ref_ < ref; });
    if (it != run.records.end() && (*it)->message_ref_ == message_ref) (*it)->has_copies_ = true;
  };
  note(pending_);
  MutexLock lock(mutex_);
  note(run_);
}

void RecordTail::Forget(const EpochKey& epoch) {
  if (pending_.epoch == epoch) pending_.Clear();
  MutexLock lock(mutex_);
  if (run_.epoch == epoch) run_.Clear();
}

void RecordTail::Committed() noexcept {
  if (pending_.records.empty()) return;
  {
    MutexLock lock(mutex_);
    const Record& first = pending_.records.front()->record();
    if (!run_.Continues(first, pending_.before.chain)) {
      std::swap(run_, pending_);
    } else {
      try {
        for (auto& kept : pending_.records) run_.Append(std::move(kept), options_.max_bytes);
      } catch (const std::bad_alloc&) {
        run_.Clear();
      }
    }
  }
  pending_.Clear();
}

void RecordTail::RolledBack() {
  pending_.Clear();
}

std::optional<Hash> RecordTail::ChainIn(const EpochKey& epoch, Seq seq) const {
  if (run_.records.empty() || run_.epoch != epoch || seq < run_.before.seq) return std::nullopt;
  if (seq == run_.before.seq) return run_.before.chain;
  const size_t index = seq - run_.before.seq - 1;
  if (index >= run_.records.size()) return std::nullopt;
  return run_.records[index]->record().chain;
}

std::optional<Hash> RecordTail::ChainAt(const EpochKey& epoch, Seq seq) const {
  MutexLock lock(mutex_);
  return ChainIn(epoch, seq);
}

std::vector<RecordTail::KeptPtr> RecordTail::Behind(const EpochKey& epoch, const Position& from,
                                                    Seq to) const {
  std::vector<KeptPtr> records;
  MutexLock lock(mutex_);
  if (ChainIn(epoch, from.seq) != from.chain) return records;
  size_t index = from.seq - run_.before.seq;
  const size_t end = std::min<uint64_t>(run_.records.size(), to - run_.before.seq);
  for (; index < end && !run_.records[index]->has_copies_; ++index) {
    records.push_back(run_.records[index]);
  }
  return records;
}

LogReader& TailReader::rest() {
  if (rest_ == nullptr) rest_ = &open_();
  return *rest_;
}

std::optional<Hash> TailReader::ChainAt(const EpochKey& epoch, Seq seq) {
  const auto chain = tail_.ChainAt(epoch, seq);
  return chain ? chain : rest().ChainAt(epoch, seq);
}

Position TailReader::ReadRecent(const EpochKey& epoch, const Position& from, Seq to,
                                const std::function<bool(std::string_view)>& take) {
  Position last = from;
  for (const RecordTail::KeptPtr& kept : tail_.Behind(epoch, from, to)) {
    if (!take(kept->Json())) break;
    last = {kept->record().seq, kept->record().chain};
  }
  return last;
}

void TailReader::ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                             const std::function<bool(StoredRecord&&)>& take) {
  rest().ReadRecords(epoch, from, to, take);
}

std::vector<std::pair<EpochKey, Seq>> TailReader::PositionsOf(int64_t message_ref) {
  return rest().PositionsOf(message_ref);
}

}  // namespace chatchain
