// SPDX-License-Identifier: MIT
#include "node/store/wal_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "common/util/mutex.h"

namespace chatchain {

namespace {

// A larger transaction is written in parts. SQLite's own VFS for Unix takes less than 128 KiB in
// one call (it reports more as a full disk).
constexpr size_t kBufferMaxBytes = 120 << 10;
// At a time: SQLite's own VFS takes less than 128 KiB.
constexpr sqlite3_int64 kRewriteBytes = 64 << 10;

struct Shim {
  sqlite3_vfs base;  // first: SQLite hands us its address
  sqlite3_vfs* real;
  std::string name;
};

sqlite3_vfs* RealOf(sqlite3_vfs* vfs) {
  return reinterpret_cast<Shim*>(vfs)->real;
}

// In the memory that SQLite provides for the file; that of the real file follows.
struct WalFile {
  sqlite3_file base;  // first: SQLite hands us its address
  std::string buffer;
  sqlite3_int64 buffer_at = 0;  // where it belongs in the file
  bool defer_sync = false;
  // The header of a log that begins anew must be on disk before frames of the old one are
  // overwritten: else a power cut could leave the old header with frames of both.
  bool header_unsynced = false;

  Mutex sync_mutex;
  // The system reports a failed write once per open file, to whoever syncs next: all must learn of
  // it.
  int sync_error = SQLITE_OK;

  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }

  // By any thread.
  int RealSync(int flags) {
    MutexLock lock(sync_mutex);
    if (sync_error == SQLITE_OK) sync_error = real()->pMethods->xSync(real(), flags);
    return sync_error;
  }

  int Flush() {
    if (buffer.empty()) return SQLITE_OK;
    // What could not be written belongs to a commit that fails by this; it must not be written
    // later.
    const int code =
        real()->pMethods->xWrite(real(), buffer.data(), static_cast<int>(buffer.size()), buffer_at);
    buffer.clear();
    return code;
  }
};

WalFile* Of(sqlite3_file* file) {
  return reinterpret_cast<WalFile*>(file);
}

// Flushes, then does `call` with the real file.
template <typename Call>
int Through(sqlite3_file* file, Call call) {
  if (const int code = Of(file)->Flush(); code != SQLITE_OK) return code;
  sqlite3_file* real = Of(file)->real();
  return call(real, *real->pMethods);
}

int Close(sqlite3_file* file) {
  // Whatever is still buffered was never committed.
  sqlite3_file* real = Of(file)->real();
  const int code = real->pMethods->xClose(real);
  Of(file)->~WalFile();
  return code;
}
int Read(sqlite3_file* file, void* to, int n, sqlite3_int64 at) {
  return Through(file, [&](auto* real, auto& methods) { return methods.xRead(real, to, n, at); });
}
int Write(sqlite3_file* file, const void* from, int n, sqlite3_int64 at) {
  WalFile* wal = Of(file);
  const auto size = static_cast<size_t>(n);
  const bool follows = at == wal->buffer_at + static_cast<sqlite3_int64>(wal->buffer.size());
  if (!follows || wal->buffer.size() + size > kBufferMaxBytes) {
    if (const int code = wal->Flush(); code != SQLITE_OK) return code;
  }
  if (wal->buffer.empty()) wal->buffer_at = at;
  if (at == 0) wal->header_unsynced = true;
  try {
    wal->buffer.append(static_cast<const char*>(from), size);
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  return SQLITE_OK;
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  return Through(file, [&](auto* real, auto& methods) { return methods.xTruncate(real, size); });
}
int Sync(sqlite3_file* file, int flags) {
  WalFile* wal = Of(file);
  if (const int code = wal->Flush(); code != SQLITE_OK) return code;
  if (wal->defer_sync && !wal->header_unsynced) return SQLITE_OK;
  wal->header_unsynced = false;
  return wal->RealSync(flags);
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Through(file, [&](auto* real, auto& methods) { return methods.xFileSize(real, size); });
}
int Lock(sqlite3_file* file, int level) {
  return Through(file, [&](auto* real, auto& methods) { return methods.xLock(real, level); });
}
int Unlock(sqlite3_file* file, int level) {
  return Through(file, [&](auto* real, auto& methods) { return methods.xUnlock(real, level); });
}
int CheckReservedLock(sqlite3_file* file, int* reserved) {
  return Through(
      file, [&](auto* real, auto& methods) { return methods.xCheckReservedLock(real, reserved); });
}
int FileControl(sqlite3_file* file, int op, void* arg) {
  return Through(file,
                 [&](auto* real, auto& methods) { return methods.xFileControl(real, op, arg); });
}
int SectorSize(sqlite3_file* file) {
  return Of(file)->real()->pMethods->xSectorSize(Of(file)->real());
}
int Characteristics(sqlite3_file* file) {
  return Of(file)->real()->pMethods->xDeviceCharacteristics(Of(file)->real());
}

// Version 1: a log is neither shared memory nor mapped.
constexpr sqlite3_io_methods kMethods = {1,
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
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* real = RealOf(vfs);
  if ((flags & SQLITE_OPEN_WAL) == 0) return real->xOpen(real, name, file, flags, out_flags);
  auto* wal = new (file) WalFile{};
  const int code = real->xOpen(real, name, wal->real(), flags, out_flags);
  if (wal->real()->pMethods != nullptr) {
    wal->base.pMethods = &kMethods;  // SQLite closes it, even when it could not be opened
  } else {
    wal->~WalFile();
    file->pMethods = nullptr;
  }
  return code;
}

}  // namespace

const char* WalVfs() {
  static Mutex mutex;
  static std::map<sqlite3_vfs*, std::unique_ptr<Shim>> shims;
  const MutexLock lock(mutex);
  sqlite3_vfs* real = sqlite3_vfs_find(nullptr);
  std::unique_ptr<Shim>& shim = shims[real];
  if (shim == nullptr) {
    shim = std::make_unique<Shim>();
    shim->base = *real;
    shim->real = real;
    shim->name = std::string("chatchain-wal-") + real->zName;
    shim->base.zName = shim->name.c_str();
    shim->base.pNext = nullptr;
    shim->base.szOsFile = static_cast<int>(sizeof(WalFile)) + real->szOsFile;
    shim->base.xOpen = Open;
    sqlite3_vfs_register(&shim->base, 0);
  }
  return shim->base.zName;
}

void RewriteWal(const std::string& path) {
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  const auto check = [](int code) {
    if (code != SQLITE_OK) throw SqliteError(code, sqlite3_errstr(code));
  };
  // SQLite hands names over in full, with an empty list of URI parameters behind.
  std::string name(static_cast<size_t>(vfs->mxPathname) + 1, '\0');
  check(vfs->xFullPathname(vfs, (path + "-wal").c_str(), vfs->mxPathname, name.data()));
  name.append(2, '\0');
  for (const char* file : {path.c_str(), name.c_str()}) {
    int exists = 0;
    check(vfs->xAccess(vfs, file, SQLITE_ACCESS_EXISTS, &exists));
    if (exists == 0) return;
  }

  std::vector<std::max_align_t> room(static_cast<size_t>(vfs->szOsFile) / sizeof(std::max_align_t) +
                                     1);
  auto* file = reinterpret_cast<sqlite3_file*>(room.data());
  file->pMethods = nullptr;
  const int opened =
      vfs->xOpen(vfs, name.c_str(), file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, nullptr);
  const auto close = [](sqlite3_file* open) {
    if (open->pMethods != nullptr) open->pMethods->xClose(open);
  };
  const std::unique_ptr<sqlite3_file, decltype(close)> closer(file, close);
  check(opened);
  sqlite3_int64 size = 0;
  check(file->pMethods->xFileSize(file, &size));
  std::vector<char> bytes(kRewriteBytes);
  for (sqlite3_int64 at = 0; at < size; at += kRewriteBytes) {
    const int part = static_cast<int>(std::min<sqlite3_int64>(kRewriteBytes, size - at));
    check(file->pMethods->xRead(file, bytes.data(), part, at));
    check(file->pMethods->xWrite(file, bytes.data(), part, at));
  }
  if (size > 0) check(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL));
}

WalLog::WalLog(const Database& db) {
  const int code = sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &file_);
  if (code != SQLITE_OK || file_ == nullptr || file_->pMethods != &kMethods) {
    throw SqliteError(SQLITE_MISUSE, "the database has no write-ahead log of ours");
  }
}

void WalLog::DeferSync(bool defer) {
  Of(file_)->defer_sync = defer;
}

void WalLog::Sync() {
  const int code = Of(file_)->RealSync(SQLITE_SYNC_NORMAL);
  if (code != SQLITE_OK) throw SqliteError(code, sqlite3_errstr(code));
}

}  // namespace chatchain
