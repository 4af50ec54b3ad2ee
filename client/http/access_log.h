// SPDX-License-Identifier: MIT
// One line of JSON for each request that reached a route: when, who, what, and what became of it.
// Bodies and tokens are never in it.
//
// Thread-safe. Write() hands the line to the kernel at once, so nothing is lost with the process,
// and nothing is queued; a line that cannot be written is dropped, and said once in the log.
#pragma once

#include <cstdint>
#include <string>

#include "common/http/message.h"
#include "common/util/mutex.h"
#include "common/util/result.h"

namespace chatchain {

class AccessLog {
 public:
  AccessLog() = default;
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // Appends to that file from now on, made if missing; empty: writes nothing. The same path opens
  // it anew, as after a rotation. The error is one line for the operator, and changes nothing.
  Result<void, std::string> Open(const std::string& path);

  bool enabled() const;
  // `begun_ms`: Unix time.
  void Write(const http::Request& request, const http::Response& response, int64_t begun_ms,
             int64_t took_us);

 private:
  mutable Mutex mutex_;
  int fd_ GUARDED_BY(mutex_) = -1;
  bool failed_ GUARDED_BY(mutex_) = false;
};

// The line with its newline. Pure.
std::string AccessLine(const http::Request& request, const http::Response& response,
                       int64_t begun_ms, int64_t took_us);

}  // namespace chatchain
