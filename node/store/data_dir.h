// SPDX-License-Identifier: MIT
// The data directory of a node: where its database lies, and who may use it.
#pragma once

#include <memory>
#include <string>

#include "common/util/result.h"

namespace chatchain {

std::string DatabasePath(const std::string& directory);

// Held by a node from its start to its end. Gone with the process, whatever ends it.
class DirectoryLock {
 public:
  // For a node, or who makes a database for one. The error is one line for the operator.
  static Result<std::unique_ptr<DirectoryLock>, std::string> Take(const std::string& directory);
  // For who only reads: keeps Take() from succeeding. Null while somebody has it from Take().
  // Creates nothing: in a directory where no node has ever run there is nothing to lock, and what
  // it gives locks nothing.
  static std::unique_ptr<DirectoryLock> TryShare(const std::string& directory);

  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace chatchain
