// SPDX-License-Identifier: MIT
// After SQLite's own example of a shim, https://www.sqlite.org/vfs.html
#include "tests/support/fault_vfs.h"

#include <sqlite3.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

namespace chatchain::test {

namespace {

struct Shared {
  std::mutex mutex;
  std::shared_ptr<const FaultVfs::Decide> decide;
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs vfs;
};

Shared& State() {
  static Shared shared;
  return shared;
}

thread_local int last_errno = 0;
thread_local sqlite3_int64 write_offset = 0;

int Verdict(FaultVfs::Op op, const char* name) {
  std::shared_ptr<const FaultVfs::Decide> decide;
  {
    const std::lock_guard<std::mutex> lock(State().mutex);
    decide = State().decide;
  }
  last_errno = 0;
  return decide && *decide ? (*decide)(op, name == nullptr ? "" : name, &last_errno) : SQLITE_OK;
}

// The real file follows in the same allocation.
struct File {
  sqlite3_file base;
  const char* name;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File* Of(sqlite3_file* file) {
  return reinterpret_cast<File*>(file);
}
sqlite3_file* Real(sqlite3_file* file) {
  return Of(file)->real();
}

int Close(sqlite3_file* file) {
  return Real(file)->pMethods->xClose(Real(file));
}
int Read(sqlite3_file* file, void* to, int n, sqlite3_int64 at) {
  return Real(file)->pMethods->xRead(Real(file), to, n, at);
}
int Write(sqlite3_file* file, const void* from, int n, sqlite3_int64 at) {
  write_offset = at;
  const int verdict = Verdict(FaultVfs::Op::kWrite, Of(file)->name);
  return verdict != SQLITE_OK ? verdict : Real(file)->pMethods->xWrite(Real(file), from, n, at);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const int verdict = Verdict(FaultVfs::Op::kTruncate, Of(file)->name);
  return verdict != SQLITE_OK ? verdict : Real(file)->pMethods->xTruncate(Real(file), size);
}
int Sync(sqlite3_file* file, int flags) {
  const int verdict = Verdict(FaultVfs::Op::kSync, Of(file)->name);
  return verdict != SQLITE_OK ? verdict : Real(file)->pMethods->xSync(Real(file), flags);
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Real(file)->pMethods->xFileSize(Real(file), size);
}
int Lock(sqlite3_file* file, int level) {
  return Real(file)->pMethods->xLock(Real(file), level);
}
int Unlock(sqlite3_file* file, int level) {
  return Real(file)->pMethods->xUnlock(Real(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* reserved) {
  return Real(file)->pMethods->xCheckReservedLock(Real(file), reserved);
}
int FileControl(sqlite3_file* file, int op, void* arg) {
  return Real(file)->pMethods->xFileControl(Real(file), op, arg);
}
int SectorSize(sqlite3_file* file) {
  return Real(file)->pMethods->xSectorSize(Real(file));
}
int Characteristics(sqlite3_file* file) {
  return Real(file)->pMethods->xDeviceCharacteristics(Real(file));
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** to) {
  return Real(file)->pMethods->xShmMap(Real(file), page, size, extend, to);
}
int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  return Real(file)->pMethods->xShmLock(Real(file), offset, n, flags);
}
void ShmBarrier(sqlite3_file* file) {
  Real(file)->pMethods->xShmBarrier(Real(file));
}
int ShmUnmap(sqlite3_file* file, int remove) {
  return Real(file)->pMethods->xShmUnmap(Real(file), remove);
}

// Version 2: shared memory, but no memory-mapped reads around us.
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

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  std::memset(file, 0, sizeof(File));
  Of(file)->name = name;  // lives as long as the file is open, says SQLite
  sqlite3_vfs* real = State().real;
  const int code = real->xOpen(real, name, Real(file), flags, out_flags);
  if (Real(file)->pMethods != nullptr) file->pMethods = &kMethods;
  return code;
}
int GetLastError(sqlite3_vfs*, int n, char* text) {
  if (last_errno != 0) return last_errno;
  sqlite3_vfs* real = State().real;
  return real->xGetLastError != nullptr ? real->xGetLastError(real, n, text) : 0;
}

}  // namespace

int64_t FaultVfs::Offset() {
  return write_offset;
}

FaultVfs::FaultVfs() {
  Shared& state = State();
  if (state.real != nullptr) std::abort();
  state.real = sqlite3_vfs_find(nullptr);
  state.vfs = *state.real;
  state.vfs.zName = "fault";
  state.vfs.pNext = nullptr;
  state.vfs.szOsFile = static_cast<int>(sizeof(File)) + state.real->szOsFile;
  state.vfs.xOpen = Open;
  state.vfs.xGetLastError = GetLastError;
  sqlite3_vfs_register(&state.vfs, 1);
}

FaultVfs::~FaultVfs() {
  Set({});
  Shared& state = State();
  sqlite3_vfs_unregister(&state.vfs);
  sqlite3_vfs_register(state.real, 1);
  state.real = nullptr;
}

void FaultVfs::Set(Decide decide) {
  auto fresh = std::make_shared<const Decide>(std::move(decide));
  const std::lock_guard<std::mutex> lock(State().mutex);
  State().decide = std::move(fresh);
}

void FaultVfs::Fail(Op op, int code, int system_errno) {
  Set([=](Op called, std::string_view, int* error) {
    if (called != op) return SQLITE_OK;
    *error = system_errno;
    return code;
  });
}

}  // namespace chatchain::test
