// SPDX-License-Identifier: MIT
// The newest records that this process has appended to its own log, as the text that peers are
// sent. While messages come in, every peer asks for just these: reading, checking and encoding them
// anew for each peer would cost more than storing them did.
//
// Only a memory: whatever is missing here is read from the tables. It holds one run of one epoch.
//
// Readers may call Behind(), ChainAt() and Kept::Json() on any thread; all else belongs to the
// writer of the log.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/sync.h"
#include "common/util/mutex.h"
#include "node/sync/log_reader.h"

namespace chatchain {

class RecordTail {
 public:
  struct Options {
    size_t max_bytes = 0;  // of memory, about; 0: nothing is kept
  };

  class Kept {
   public:
    Kept(WireRecord wire, int64_t message_ref);

    const Record& record() const { return wire_.record; }
    // Made at the first call.
    const std::string& Json() const;

   private:
    friend class RecordTail;

    const WireRecord wire_;
    const int64_t message_ref_;
    const size_t bytes_;
    // Another record has the same message: whoever has that one need not be sent the body.
    std::atomic<bool> has_copies_ = false;
    mutable std::once_flag encoded_;
    mutable std::string json_;
  };
  using KeptPtr = std::shared_ptr<const Kept>;

  explicit RecordTail(Options options) : options_(options) {}

  // Appended in the current transaction, behind what was added before; `wire` is whole.
  void Add(WireRecord wire, const Hash& chain_before, int64_t message_ref);
  // Another record of that message is stored.
  void NoteCopy(int64_t message_ref);
  // What is kept of that epoch may not be what will stand there: it is given up.
  void Forget(const EpochKey& epoch);
  // The transaction is committed. Without memory everything is forgotten.
  void Committed() noexcept;
  void RolledBack();

  // The records behind `from`, up to `to`, as far as they are kept and are their messages' only
  // ones; none where `from` is on another branch. REQUIRES: a state that was published reaches
  // `to`.
  std::vector<KeptPtr> Behind(const EpochKey& epoch, const Position& from, Seq to) const;
  std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) const;

 private:
  struct Run {
    EpochKey epoch;
    Position before;  // what the first one follows
    std::deque<std::shared_ptr<Kept>> records;
    size_t bytes = 0;

    bool Continues(const Record& record, const Hash& chain_before) const;
    void Append(std::shared_ptr<Kept> kept, size_t max_bytes);
    void Clear() { *this = {}; }
  };

  std::optional<Hash> ChainIn(const EpochKey& epoch, Seq seq) const REQUIRES(mutex_);

  const Options options_;
  Run pending_;
  mutable Mutex mutex_;
  Run run_ GUARDED_BY(mutex_);
};

// Gives what the tail has from there, and asks `open` for a reader, once, when it has not.
class TailReader final : public LogReader {
 public:
  TailReader(const RecordTail& tail, std::function<LogReader&()> open)
      : tail_(tail), open_(std::move(open)) {}

  std::optional<Hash> ChainAt(const EpochKey& epoch, Seq seq) override;
  Position ReadRecent(const EpochKey& epoch, const Position& from, Seq to,
                      const std::function<bool(std::string_view json)>& take) override;
  void ReadRecords(const EpochKey& epoch, Seq from, Seq to,
                   const std::function<bool(StoredRecord&&)>& take) override;
  std::vector<std::pair<EpochKey, Seq>> PositionsOf(int64_t message_ref) override;

 private:
  LogReader& rest();

  const RecordTail& tail_;
  const std::function<LogReader&()> open_;
  LogReader* rest_ = nullptr;
};

}  // namespace chatchain
