// SPDX-License-Identifier: MIT
// The disk of one simulated machine, in memory, and the SQLite VFS through which the store uses it.
// It knows what was synced: when the power goes, every write since then is kept, lost or torn, each
// for itself. It fails on demand: full, an error at the n-th call, power gone at the n-th call.
//
// One thread. While a SimVfs exists it is the default VFS of the process.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/util/random.h"

namespace chatchain::simulation {

class SimDisk {
 public:
  enum class Fault {
    kNone,
    kWriteError,  // once
    kSyncError,   // once; what was to be synced stays in the cache and never reaches the disk
    kReadError,   // once
    kFull,        // no file grows, until Free()
    kPowerOff,    // nothing works any more, until PowerCut()
  };

  struct Write {
    int64_t at = 0;
    std::string bytes;
    bool truncate = false;  // to `at`
  };
  struct File {
    std::string cached;   // what programs see
    std::string durable;  // what is on disk for certain
    std::vector<Write> unsynced;

    // SQLite's locks, and the memory that connections share.
    int shared = 0;
    const void* reserved = nullptr;
    const void* exclusive = nullptr;
    std::vector<std::unique_ptr<char[]>> shm;
    int shm_shared[8] = {};
    bool shm_exclusive[8] = {};
  };
  using FilePtr = std::shared_ptr<File>;

  // From the `after_calls`-th write, sync or truncation on (of reads: the `after_calls`-th read).
  void Arm(Fault fault, uint64_t after_calls);
  void Free() { full_ = false; }
  bool powered_off() const { return powered_off_; }
  bool full() const { return full_; }

  // What was not synced is kept, lost or torn. REQUIRES: no file is open.
  void PowerCut(Random& random);
  // A process that ends without the machine: the cache stays. REQUIRES: no file is open.
  void ForgetLocks();

  // How often each armed fault has come to pass.
  const std::map<Fault, uint64_t>& fired() const { return fired_; }

  bool empty() const { return files_.empty(); }
  void Wipe() { files_.clear(); }
  // A copy of another disk as programs see it, durable. REQUIRES: no file of this one is open.
  void CopyFrom(const SimDisk& other);

  // Of the VFS.
  FilePtr Find(const std::string& name) const;
  FilePtr Create(const std::string& name);
  void Remove(const std::string& name);
  // SQLite's code of a call that shall fail, else SQLITE_OK.
  int OnRead();
  int OnWrite(File& file, int64_t at, size_t size);
  int OnSync(File& file);
  void DoWrite(File& file, int64_t at, const void* bytes, size_t size);
  void DoTruncate(File& file, int64_t size);

 private:
  bool Due();
  void Fire();

  std::map<std::string, FilePtr> files_;
  Fault armed_ = Fault::kNone;
  uint64_t calls_left_ = 0;
  std::map<Fault, uint64_t> fired_;
  bool full_ = false;
  bool powered_off_ = false;
};

// Paths are "/<disk>/<file>".
class SimVfs {
 public:
  explicit SimVfs(Random& random);  // for SQLite's own randomness
  ~SimVfs();                        // REQUIRES: no connection is open
  SimVfs(const SimVfs&) = delete;
  SimVfs& operator=(const SimVfs&) = delete;

  SimDisk& disk(const std::string& name);
  const std::map<std::string, SimDisk>& disks() const { return disks_; }
  static std::string PathOf(const std::string& disk) { return "/" + disk + "/chatchain.db"; }

 private:
  std::map<std::string, SimDisk> disks_;
};

}  // namespace chatchain::simulation
