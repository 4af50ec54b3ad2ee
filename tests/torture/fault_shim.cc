// SPDX-License-Identifier: MIT
// Preloaded (LD_PRELOAD) into a program under test: a disk and a wall clock that fail on command.
// The program itself knows nothing of it. CHATCHAIN_FAULTS names a file that holds a Faults, mapped
// here and written by the test at any time; without it, nothing fails.
//
// Why not libfaketime: it also changes how threads wait. Why not strace: it needs a privilege, and
// its errors cannot be switched on and off while the program runs.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

// tests/torture/faults.py writes the same layout.
struct Faults {
  std::atomic<int64_t> clock_offset_ns;  // added to what the wall clock says
  std::atomic<uint32_t> sync;            // a SyncMode, else the errno of a failure
  std::atomic<uint32_t> write;           // errno of every write at a position, 0: as usual
  std::atomic<uint32_t> read;            // the same of reads
};
static_assert(sizeof(Faults) == 24 && std::atomic<int64_t>::is_always_lock_free);

enum SyncMode : uint32_t {
  kSync = 0,
  kPretend = 1,
  // What PRAGMA synchronous=NORMAL means: the log of SQLite is synced by checkpoints, and not by
  // commits. Those are synced by the node itself (node/store/wal_vfs.h), on its thread "syncer":
  // that is what is left out. With the pragma itself the frames of a commit would not even leave
  // the node's memory.
  kNormal = 2,
};

bool OnThread(const char* name) {
  char own[16];
  return pthread_getname_np(pthread_self(), own, sizeof(own)) == 0 && std::strcmp(own, name) == 0;
}

const Faults* MapFaults() {
  static const Faults none{};
  const char* path = std::getenv("CHATCHAIN_FAULTS");
  if (path == nullptr) return &none;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  void* mapped = mmap(nullptr, sizeof(Faults), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  // A test that asks for faults and gets none would prove nothing.
  if (mapped == MAP_FAILED) std::abort();
  return static_cast<const Faults*>(mapped);
}

const Faults& Current() {
  static const Faults* const faults = MapFaults();
  return *faults;
}

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int64_t Offset() {
  return Current().clock_offset_ns.load(std::memory_order_relaxed);
}

// -1 with errno where it is to fail.
ssize_t Refused(uint32_t error) {
  errno = static_cast<int>(error);
  return -1;
}

int Sync(int (*real)(int), int fd) {
  const uint32_t mode = Current().sync.load(std::memory_order_relaxed);
  switch (mode) {
    case kSync: return real(fd);
    case kPretend: return 0;
    case kNormal: return OnThread("syncer") ? 0 : real(fd);
    default: return static_cast<int>(Refused(mode));
  }
}

}  // namespace

extern "C" {

int fsync(int fd) {
  static auto* const real = Real<int(int)>("fsync");
  return Sync(real, fd);
}

int fdatasync(int fd) {
  static auto* const real = Real<int(int)>("fdatasync");
  return Sync(real, fd);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  static auto* const real = Real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  const uint32_t error = Current().write.load(std::memory_order_relaxed);
  return error == 0 ? real(fd, data, size, at) : Refused(error);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  return pwrite64(fd, data, size, at);
}

ssize_t pread64(int fd, void* data, size_t size, off64_t at) {
  static auto* const real = Real<ssize_t(int, void*, size_t, off64_t)>("pread64");
  const uint32_t error = Current().read.load(std::memory_order_relaxed);
  return error == 0 ? real(fd, data, size, at) : Refused(error);
}

ssize_t pread(int fd, void* data, size_t size, off_t at) {
  return pread64(fd, data, size, at);
}

int clock_gettime(clockid_t clock, timespec* time) {
  static auto* const real = Real<int(clockid_t, timespec*)>("clock_gettime");
  const int status = real(clock, time);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    constexpr int64_t kSecond = 1'000'000'000;
    const int64_t ns = time->tv_sec * kSecond + time->tv_nsec + Offset();
    time->tv_sec = ns / kSecond;
    time->tv_nsec = ns % kSecond;
  }
  return status;
}

int gettimeofday(timeval* time, void*) noexcept {
  timespec now{};
  const int status = clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return status;
}

time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
