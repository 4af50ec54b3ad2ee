// SPDX-License-Identifier: MIT
// After https://www.sqlite.org/vfs.html; the shared memory as in
// https://www.sqlite.org/walformat.html
#include "tests/simulation/sim_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string_view>
#include <utility>

namespace chatchain::simulation {

namespace {

constexpr size_t kSectorBytes = 512;

void Apply(const SimDisk::Write& write, std::string* to) {
  if (write.truncate) {
    to->resize(static_cast<size_t>(write.at));
    return;
  }
  const size_t end = static_cast<size_t>(write.at) + write.bytes.size();
  if (to->size() < end) to->resize(end);
  to->replace(static_cast<size_t>(write.at), write.bytes.size(), write.bytes);
}

}  // namespace

void SimDisk::Arm(Fault fault, uint64_t after_calls) {
  armed_ = fault;
  calls_left_ = after_calls;
}

bool SimDisk::Due() {
  if (calls_left_ > 0) {
    --calls_left_;
    return false;
  }
  return true;
}

void SimDisk::Fire() {
  ++fired_[std::exchange(armed_, Fault::kNone)];
}

void SimDisk::PowerCut(Random& random) {
  for (auto& [name, file] : files_) {
    assert(file->shared == 0);
    enum class Kept { kNone, kAll, kSome } kept = static_cast<Kept>(random.Below(3));
    for (Write& write : file->unsynced) {
      if (kept == Kept::kNone || (kept == Kept::kSome && random.Below(3) == 0)) continue;
      if (kept == Kept::kAll || write.truncate || random.Below(3) != 0) {
        Apply(write, &file->durable);
        continue;
      }
      // Torn: each sector for itself.
      for (size_t from = 0; from < write.bytes.size(); from += kSectorBytes) {
        if (random.Below(2) == 0) continue;
        Apply({write.at + static_cast<int64_t>(from), write.bytes.substr(from, kSectorBytes)},
              &file->durable);
      }
    }
    file->unsynced.clear();
    file->cached = file->durable;
  }
  powered_off_ = false;
  armed_ = Fault::kNone;
  ForgetLocks();
}

void SimDisk::ForgetLocks() {
  for (auto& [name, file] : files_) {
    file->shm.clear();
    file->shared = 0;
    file->reserved = file->exclusive = nullptr;
    std::fill(std::begin(file->shm_shared), std::end(file->shm_shared), 0);
    std::fill(std::begin(file->shm_exclusive), std::end(file->shm_exclusive), false);
  }
}

void SimDisk::CopyFrom(const SimDisk& other) {
  files_.clear();
  for (const auto& [name, file] : other.files_) {
    const FilePtr copy = Create(name);
    copy->cached = copy->durable = file->cached;
  }
}

SimDisk::FilePtr SimDisk::Find(const std::string& name) const {
  const auto it = files_.find(name);
  return it == files_.end() ? nullptr : it->second;
}

SimDisk::FilePtr SimDisk::Create(const std::string& name) {
  FilePtr& file = files_[name];
  if (file == nullptr) file = std::make_shared<File>();
  return file;
}

void SimDisk::Remove(const std::string& name) {
  files_.erase(name);
}

int SimDisk::OnRead() {
  if (powered_off_) return SQLITE_IOERR_READ;
  if (armed_ != Fault::kReadError || !Due()) return SQLITE_OK;
  Fire();
  return SQLITE_IOERR_READ;
}

int SimDisk::OnWrite(File& file, int64_t at, size_t size) {
  if (powered_off_) return SQLITE_IOERR_WRITE;
  if (armed_ == Fault::kWriteError || armed_ == Fault::kFull || armed_ == Fault::kPowerOff) {
    if (Due()) {
      const Fault fault = armed_;
      Fire();
      if (fault == Fault::kFull) full_ = true;
      if (fault == Fault::kPowerOff) powered_off_ = true;
      if (fault != Fault::kFull) return SQLITE_IOERR_WRITE;
    }
  }
  const bool grows = static_cast<size_t>(at) + size > file.cached.size();
  return full_ && grows ? SQLITE_FULL : SQLITE_OK;
}

int SimDisk::OnSync(File& file) {
  if (powered_off_) return SQLITE_IOERR_FSYNC;
  if ((armed_ == Fault::kSyncError || armed_ == Fault::kPowerOff) && Due()) {
    const bool power = armed_ == Fault::kPowerOff;
    Fire();
    if (power) {
      powered_off_ = true;
    } else {
      file.unsynced.clear();
    }
    return SQLITE_IOERR_FSYNC;
  }
  for (const Write& write : file.unsynced) Apply(write, &file.durable);
  file.unsynced.clear();
  return SQLITE_OK;
}

void SimDisk::DoWrite(File& file, int64_t at, const void* bytes, size_t size) {
  Write write{at, std::string(static_cast<const char*>(bytes), size)};
  Apply(write, &file.cached);
  file.unsynced.push_back(std::move(write));
}

void SimDisk::DoTruncate(File& file, int64_t size) {
  const Write write{size, {}, true};
  Apply(write, &file.cached);
  file.unsynced.push_back(write);
}

namespace {

SimVfs* g_vfs = nullptr;
Random* g_random = nullptr;
sqlite3_vfs* g_before = nullptr;

struct Handle {
  sqlite3_file base;  // first: SQLite hands us its address
  SimDisk* disk;      // none: a temporary file
  SimDisk::FilePtr file;
  int lock;
  uint16_t shm_shared;
  uint16_t shm_exclusive;
};

Handle* Of(sqlite3_file* file) {
  return reinterpret_cast<Handle*>(file);
}

int Unlock(sqlite3_file* base, int level) {
  Handle& handle = *Of(base);
  SimDisk::File& file = *handle.file;
  if (handle.lock <= level) return SQLITE_OK;
  if (file.exclusive == &handle && level < SQLITE_LOCK_EXCLUSIVE) file.exclusive = nullptr;
  if (file.reserved == &handle && level < SQLITE_LOCK_RESERVED) file.reserved = nullptr;
  if (handle.lock >= SQLITE_LOCK_SHARED && level < SQLITE_LOCK_SHARED) --file.shared;
  handle.lock = level;
  return SQLITE_OK;
}

int Lock(sqlite3_file* base, int level) {
  Handle& handle = *Of(base);
  SimDisk::File& file = *handle.file;
  if (handle.lock >= level) return SQLITE_OK;
  if (file.exclusive != nullptr && file.exclusive != &handle) return SQLITE_BUSY;
  if (handle.lock < SQLITE_LOCK_SHARED) {
    ++file.shared;
    handle.lock = SQLITE_LOCK_SHARED;
  }
  if (level >= SQLITE_LOCK_RESERVED) {
    if (file.reserved != nullptr && file.reserved != &handle) return SQLITE_BUSY;
    file.reserved = &handle;
  }
  if (level >= SQLITE_LOCK_EXCLUSIVE) {
    if (file.shared > 1) return SQLITE_BUSY;
    file.exclusive = &handle;
  }
  handle.lock = level;
  return SQLITE_OK;
}

int CheckReservedLock(sqlite3_file* base, int* reserved) {
  *reserved = Of(base)->file->reserved != nullptr ? 1 : 0;
  return SQLITE_OK;
}

int ShmUnmap(sqlite3_file* base, int) {
  Handle& handle = *Of(base);
  for (int i = 0; i < 8; ++i) {
    if ((handle.shm_shared >> i & 1) != 0) --handle.file->shm_shared[i];
    if ((handle.shm_exclusive >> i & 1) != 0) handle.file->shm_exclusive[i] = false;
  }
  handle.shm_shared = handle.shm_exclusive = 0;
  return SQLITE_OK;
}

int Close(sqlite3_file* base) {
  ShmUnmap(base, 0);
  Unlock(base, SQLITE_LOCK_NONE);
  Of(base)->~Handle();
  return SQLITE_OK;
}

int Read(sqlite3_file* base, void* to, int n, sqlite3_int64 at) {
  Handle& handle = *Of(base);
  if (handle.disk != nullptr) {
    if (const int code = handle.disk->OnRead(); code != SQLITE_OK) return code;
  }
  const std::string& bytes = handle.file->cached;
  const auto wanted = static_cast<size_t>(n);
  const size_t from = std::min(static_cast<size_t>(at), bytes.size());
  const size_t got = std::min(wanted, bytes.size() - from);
  std::memcpy(to, bytes.data() + from, got);
  if (got == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(to) + got, 0, wanted - got);
  return SQLITE_IOERR_SHORT_READ;
}

int Write(sqlite3_file* base, const void* from, int n, sqlite3_int64 at) {
  Handle& handle = *Of(base);
  const auto size = static_cast<size_t>(n);
  if (handle.disk == nullptr) {
    Apply({at, std::string(static_cast<const char*>(from), size)}, &handle.file->cached);
    return SQLITE_OK;
  }
  if (const int code = handle.disk->OnWrite(*handle.file, at, size); code != SQLITE_OK) {
    // A part of it may have come through.
    if (!handle.disk->full()) handle.disk->DoWrite(*handle.file, at, from, size / 2);
    return code;
  }
  handle.disk->DoWrite(*handle.file, at, from, size);
  return SQLITE_OK;
}

int Truncate(sqlite3_file* base, sqlite3_int64 size) {
  Handle& handle = *Of(base);
  if (handle.disk == nullptr) {
    handle.file->cached.resize(static_cast<size_t>(size));
    return SQLITE_OK;
  }
  if (const int code = handle.disk->OnWrite(*handle.file, 0, 0); code != SQLITE_OK) return code;
  handle.disk->DoTruncate(*handle.file, size);
  return SQLITE_OK;
}

int Sync(sqlite3_file* base, int) {
  Handle& handle = *Of(base);
  return handle.disk == nullptr ? SQLITE_OK : handle.disk->OnSync(*handle.file);
}

int FileSize(sqlite3_file* base, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(Of(base)->file->cached.size());
  return SQLITE_OK;
}

int FileControl(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}
int SectorSize(sqlite3_file*) {
  return 4096;
}
// As SQLite's own VFS takes disks to be.
int Characteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

int ShmMap(sqlite3_file* base, int region, int size, int extend, void volatile** to) {
  auto& shm = Of(base)->file->shm;
  const auto index = static_cast<size_t>(region);
  *to = nullptr;
  if (index >= shm.size()) {
    if (extend == 0) return SQLITE_OK;
    while (shm.size() <= index) {
      shm.push_back(std::make_unique<char[]>(static_cast<size_t>(size)));  // zeroed
    }
  }
  *to = shm[index].get();
  return SQLITE_OK;
}

int ShmLock(sqlite3_file* base, int offset, int n, int flags) {
  Handle& handle = *Of(base);
  SimDisk::File& file = *handle.file;
  const auto mask = static_cast<uint16_t>(((1 << n) - 1) << offset);
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  const auto each = [&](auto call) {
    for (int i = offset; i < offset + n; ++i) call(i);
  };
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    each([&](int i) {
      if ((handle.shm_exclusive >> i & 1) != 0) file.shm_exclusive[i] = false;
      if ((handle.shm_shared >> i & 1) != 0) --file.shm_shared[i];
    });
    handle.shm_exclusive = static_cast<uint16_t>(handle.shm_exclusive & ~mask);
    handle.shm_shared = static_cast<uint16_t>(handle.shm_shared & ~mask);
    return SQLITE_OK;
  }
  bool busy = false;
  each([&](int i) {
    const bool mine = (handle.shm_exclusive >> i & 1) != 0;
    const int others = file.shm_shared[i] - (handle.shm_shared >> i & 1);
    busy = busy || (file.shm_exclusive[i] && !mine) || (exclusive && others > 0);
  });
  if (busy) return SQLITE_BUSY;
  each([&](int i) {
    if (exclusive) {
      file.shm_exclusive[i] = true;
      handle.shm_exclusive = static_cast<uint16_t>(handle.shm_exclusive | 1 << i);
    } else if ((handle.shm_shared >> i & 1) == 0) {
      ++file.shm_shared[i];
      handle.shm_shared = static_cast<uint16_t>(handle.shm_shared | 1 << i);
    }
  });
  return SQLITE_OK;
}

void ShmBarrier(sqlite3_file*) {}

constexpr sqlite3_io_methods kMethods = {2,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         Characteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         nullptr,
                                         nullptr};

// "/disk/file" in its two parts.
std::pair<std::string, std::string> Split(std::string_view path) {
  const size_t slash = path.find('/', 1);
  return {std::string(path.substr(1, slash - 1)), std::string(path.substr(slash + 1))};
}

int Open(sqlite3_vfs*, const char* name, sqlite3_file* base, int flags, int* out_flags) {
  auto* handle = new (base) Handle{};
  if (name == nullptr) {
    handle->file = std::make_shared<SimDisk::File>();
  } else {
    const auto [disk_name, file_name] = Split(name);
    handle->disk = &g_vfs->disk(disk_name);
    handle->file = (flags & SQLITE_OPEN_CREATE) != 0 ? handle->disk->Create(file_name)
                                                     : handle->disk->Find(file_name);
    if (handle->file == nullptr || handle->disk->powered_off()) {
      handle->~Handle();
      base->pMethods = nullptr;
      return SQLITE_CANTOPEN;
    }
  }
  handle->base.pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char* name, int) {
  const auto [disk_name, file_name] = Split(name);
  SimDisk& disk = g_vfs->disk(disk_name);
  if (disk.powered_off()) return SQLITE_IOERR_DELETE;
  disk.Remove(file_name);
  return SQLITE_OK;
}

int Access(sqlite3_vfs*, const char* name, int, int* result) {
  const auto [disk_name, file_name] = Split(name);
  const SimDisk::FilePtr file = g_vfs->disk(disk_name).Find(file_name);
  *result = file != nullptr && !file->cached.empty() ? 1 : 0;
  return SQLITE_OK;
}

int FullPathname(sqlite3_vfs*, const char* name, int n, char* to) {
  sqlite3_snprintf(n, to, "%s", name);
  return SQLITE_OK;
}

int Randomness(sqlite3_vfs*, int n, char* to) {
  for (int i = 0; i < n; ++i) to[i] = static_cast<char>(g_random->Next());
  return n;
}
int Sleep(sqlite3_vfs*, int us) {
  return us;
}
int CurrentTime(sqlite3_vfs*, double* days) {
  *days = 2460000.5;
  return SQLITE_OK;
}
int GetLastError(sqlite3_vfs*, int, char*) {
  return 0;
}

sqlite3_vfs* Vfs() {
  static sqlite3_vfs vfs = {1,       sizeof(Handle), 512,          nullptr, "chatchain-simulated",
                            nullptr, Open,           Delete,       Access,  FullPathname,
                            nullptr, nullptr,        nullptr,      nullptr, Randomness,
                            Sleep,   CurrentTime,    GetLastError, nullptr, nullptr,
                            nullptr, nullptr};
  return &vfs;
}

}  // namespace

SimVfs::SimVfs(Random& random) {
  assert(g_vfs == nullptr);
  g_vfs = this;
  g_random = &random;
  g_before = sqlite3_vfs_find(nullptr);
  sqlite3_vfs_register(Vfs(), 1);
  sqlite3_randomness(0, nullptr);  // begins anew, with numbers of ours
}

SimVfs::~SimVfs() {
  sqlite3_vfs_unregister(Vfs());
  sqlite3_vfs_register(g_before, 1);
  sqlite3_randomness(0, nullptr);
  g_vfs = nullptr;
  g_random = nullptr;
}

SimDisk& SimVfs::disk(const std::string& name) {
  return disks_[name];
}

}  // namespace chatchain::simulation
