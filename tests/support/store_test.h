// SPDX-License-Identifier: MIT
// What tests of the store share: time and randomness that they control, a directory that goes away,
// and a Log on a real SQLite file that can be closed and opened again.
#pragma once

#include <unistd.h>

#include <cassert>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/protocol/hlc.h"
#include "common/protocol/message.h"
#include "common/util/clock.h"
#include "common/util/random.h"
#include "node/store/log.h"
#include "node/store/reader.h"
#include "node/store/schema.h"
#include "tests/support/seeded_random.h"

namespace chatchain::test {

class ManualClock final : public Clock {
 public:
  int64_t WallMs() const override { return wall_ms; }
  SteadyTime Steady() const override { return steady; }

  int64_t wall_ms = 1'700'000'000'000;
  SteadyTime steady{};
};

// In memory where the machine has such a file system: fsync costs nothing there.
class TempDir {
 public:
  TempDir() {
    std::error_code absent;
    const bool has_shm = std::filesystem::is_directory("/dev/shm", absent);
    std::string pattern = has_shm ? "/dev/shm" : std::filesystem::temp_directory_path().string();
    pattern += "/chatchain-test-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A valid message; the key makes it one of its own.
inline ValidMessage MakeMessage(std::string key, std::string text = "hello",
                                std::string sender = "ann", std::string recipient = "bob") {
  auto valid = Validate({.sender = std::move(sender),
                         .recipient = std::move(recipient),
                         .text = std::move(text),
                         .key = std::move(key)});
  assert(valid);
  return std::move(*valid);
}

// A Log, its database file, and a reader beside it, as a process of node `id` has them.
class LogProcess {
 public:
  static constexpr const char* kCluster = "test";

  LogProcess(std::string path, std::string id, const Clock& clock, Random& random)
      : path_(std::move(path)), hlc(clock), id_(std::move(id)) {
    auto opened = OpenForWriting(path_, kCluster, 1);
    if (!opened) throw std::runtime_error(opened.error());
    db = std::move(*opened);
    log = std::make_unique<Log>(*db,
                                Log::Options{kCluster,
                                             id_,
                                             {.flush_entries = 3, .max_messages = 20},
                                             {.max_entries = 4},
                                             {.max_bytes = 20'000}},
                                hlc, random);
  }

  const std::string& path() const { return path_; }
  const std::string& id() const { return id_; }

  // In a transaction of its own.
  template <typename Work>
  auto Do(Work work) {
    log->Begin();
    try {
      if constexpr (std::is_void_v<decltype(work(*log))>) {
        work(*log);
        log->Commit();
      } else {
        auto result = work(*log);
        log->Commit();
        return result;
      }
    } catch (...) {
      log->Rollback();
      throw;
    }
  }

  Appended Append(const ValidMessage& message, std::optional<Stamp> stamp = std::nullopt) {
    return Do([&](Log& open) { return open.Append({message, stamp}); });
  }
  LogStatePtr State() {
    LogStatePtr state = log->Snapshot();
    // A snapshot is made from the one before it: as it would be from nothing.
    LogState anew = *state;
    Fold(&anew);
    if (anew.folded != state->folded || anew.token != state->token) {
      throw std::logic_error("a snapshot is not folded as its heads and seals say");
    }
    return state;
  }

  // Runs `read` on a snapshot of the state as it is now.
  template <typename Read>
  auto WithReader(Read read) {
    return WithReader(State(), read);
  }
  // The same with a state that was published, while another thread is at the log.
  template <typename Read>
  auto WithReader(const LogStatePtr& state, Read read) {
    if (!reader_) reader_ = std::make_unique<ReadConnection>(path_, 1);
    reader_->BeginSnapshot();
    reader_->UseState(state);
    struct End {
      ReadConnection& reader;
      ~End() { reader.EndSnapshot(); }
    } end{*reader_};
    return read(*reader_, state);
  }

  int64_t Count(const std::string& sql) {
    Statement statement(*db, sql);
    return statement.Step() ? statement.Int(0) : 0;
  }

 private:
  std::string path_;

 public:
  Hlc hlc;
  std::unique_ptr<Database> db;
  std::unique_ptr<Log> log;

 private:
  std::string id_;
  std::unique_ptr<ReadConnection> reader_;  // first to go: the writing connection closes last
};

// Every record of an epoch, as a run that continues `base`.
inline VerifiedRun RunOf(LogProcess& source, const EpochKey& epoch, const Position& base,
                         bool with_bodies = true) {
  VerifiedRun run;
  run.epoch = epoch;
  run.base = base;
  source.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    reader.ReadRecords(epoch, base.seq + 1, state->epochs.at(epoch).head.seq,
                       [&](StoredRecord&& stored) {
                         VerifiedRecord record;
                         record.record = stored.wire.record;
                         if (stored.wire.message && with_bodies) {
                           record.message = std::move(*Validate(*stored.wire.message));
                         }
                         record.payload = stored.wire.payload;
                         record.id = stored.wire.id;
                         run.records.push_back(std::move(record));
                         return true;
                       });
  });
  return run;
}

inline VerifiedRun RunOf(LogProcess& source, const EpochKey& epoch) {
  return RunOf(source, epoch, {0, ChainSeed(LogProcess::kCluster, epoch)});
}

}  // namespace chatchain::test
