// SPDX-License-Identifier: MIT
#include "client/terminal/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/error_text.h"

namespace chatchain::terminal {

namespace {

constexpr int kVersion = 1;
// A token, the ids, and filters of the longest names with every byte escaped.
constexpr size_t kMaxBytes = 256 * 1024;

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

StateFile::~StateFile() {
  if (lock_ >= 0) close(lock_);
}

Result<void, std::string> StateFile::Open(const std::string& path, std::string filters) {
  filters_ = std::move(filters);
  // A link stays a link: what it points to is replaced.
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  path_ = error ? path : real.string();

  const std::string lock_path = path_ + ".lock";
  lock_ = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) return Err("--state: cannot open " + lock_path + ": " + ErrorText(errno));
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return Err("--state: " + path_ + " is in use by another chatchain tail");
  }
  return Read();
}

Result<void, std::string> StateFile::Read() {
  const File file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) {
    if (errno == ENOENT) return {};
    return Err("--state: cannot read " + path_ + ": " + ErrorText(errno));
  }
  std::string text(kMaxBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(file.fd(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Err("--state: cannot read " + path_ + ": " + ErrorText(errno));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);

  // What is not ours is never overwritten.
  const auto damaged = Err("--state: " + path_ +
                           " is no state file of chatchain tail, or damaged: name another file, or "
                           "remove it and begin with --since or --after");
  const auto json = ParseJsonObject(text);
  if (!json || json->value("chatchain_tail", Json()) != kVersion) return damaged;
  for (const char* name : {"filters", "after"}) {
    const auto member = json->find(name);
    if (member == json->end() || !member->is_string()) return damaged;
  }
  const auto ids = json->find("printed");
  if (ids == json->end() || !ids->is_array()) return damaged;
  for (const Json& item : *ids) {
    const auto id = item.is_string() ? MessageId::Parse(item.get<std::string>()) : std::nullopt;
    if (!id) return damaged;
    Printed(*id);
  }
  const std::string filters = (*json)["filters"];
  if (filters != filters_) {
    return Err("--state: " + path_ + " belongs to other filters (" +
               (filters.empty() ? "none" : filters) +
               "): give the same ones, or another file for these");
  }
  after_ = (*json)["after"];
  found_ = true;
  return {};
}

void StateFile::Printed(const MessageId& id) {
  ids_.push_back(id);
  if (ids_.size() > kIds) ids_.pop_front();
}

Result<void, std::string> StateFile::Save(std::string after, bool durable) {
  after_ = std::move(after);
  std::string text = "{\"chatchain_tail\":" + std::to_string(kVersion) + ",\"filters\":";
  AppendJsonString(&text, filters_);
  text += ",\"after\":";
  AppendJsonString(&text, after_);
  text += ",\"printed\":[";
  for (const MessageId& id : ids_) {
    if (text.back() != '[') text += ',';
    text.append("\"").append(id.Text()).append("\"");
  }
  text += "]}\n";

  const std::string beside = path_ + ".new";
  const auto failed = [&](const std::string& what) {
    return Err("--state: cannot " + what + ": " + ErrorText(errno));
  };
  const File file(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (file.fd() < 0) return failed("write " + beside);
  if (!WriteAll(file.fd(), text)) return failed("write " + beside);
  if (durable && fdatasync(file.fd()) != 0) return failed("write " + beside);
  if (rename(beside.c_str(), path_.c_str()) != 0) return failed("replace " + path_);
  if (durable) {
    const std::string folder = std::filesystem::path(path_).parent_path().string();
    const File directory(
        open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.fd() < 0 || fsync(directory.fd()) != 0) return failed("replace " + path_);
  }
  return {};
}

}  // namespace chatchain::terminal
