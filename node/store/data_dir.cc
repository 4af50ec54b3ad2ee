// SPDX-License-Identifier: MIT
#include "node/store/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace chatchain {

namespace {

std::string LockPath(const std::string& directory) {
  return directory + "/lock";
}

}  // namespace

std::string DatabasePath(const std::string& directory) {
  return directory + "/chatchain.db";
}

Result<std::unique_ptr<DirectoryLock>, std::string> DirectoryLock::Take(
    const std::string& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure) {
    return Err("cannot create the data directory " + directory + ": " + failure.message());
  }
  const int fd = open(LockPath(directory).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return Err("cannot write to the data directory " + directory + ": " + std::strerror(errno));
  }
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Err("the data directory " + directory + " is in use by another process");
  }
  return lock;
}

std::unique_ptr<DirectoryLock> DirectoryLock::TryShare(const std::string& directory) {
  const int fd = open(LockPath(directory).c_str(), O_RDONLY | O_CLOEXEC);
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
  if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0) return nullptr;
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace chatchain
