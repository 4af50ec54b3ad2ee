// SPDX-License-Identifier: MIT
// A SQLite VFS over the machine's own that fails on demand: the error of a disk, at a call that the
// test chooses. While one exists it is the default VFS: connections opened meanwhile go through it,
// and must be closed before it goes. One at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace chatchain::test {

class FaultVfs {
 public:
  enum class Op { kWrite, kSync, kTruncate };
  // What the call gives in place of doing its work: SQLITE_OK lets it through. `name`: the file's
  // path. Called on the thread that makes the call. `system_errno`: what the shim then reports as
  // errno.
  using Decide = std::function<int(Op op, std::string_view name, int* system_errno)>;

  // Where in the file the write goes that is being decided about; on that thread.
  static int64_t Offset();

  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  // Takes effect for calls that begin afterwards; an empty function lets all through.
  void Set(Decide decide);

  // Conveniences: fail every call of that kind from now on.
  void Fail(Op op, int code, int system_errno = 0);
  void Heal() { Set({}); }
};

}  // namespace chatchain::test
