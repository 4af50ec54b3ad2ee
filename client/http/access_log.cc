// SPDX-License-Identifier: MIT
#include "client/http/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/protocol/hlc.h"
#include "common/protocol/json.h"
#include "common/util/encoding.h"
#include "common/util/error_text.h"
#include "common/util/log.h"

namespace chatchain {

namespace {

constexpr size_t kTargetMaxBytes = 2'000;

void AppendText(std::string* out, std::string_view name, std::string_view value) {
  out->append(",\"").append(name).append("\":");
  AppendJsonString(out, IsUtf8(value) ? value : "(not UTF-8)");
}

}  // namespace

std::string AccessLine(const http::Request& request, const http::Response& response,
                       int64_t begun_ms, int64_t took_us) {
  std::string line = "{\"time\":\"" + FormatTime(begun_ms) + "\"";
  AppendText(&line, "client", request.remote_address);
  AppendText(&line, "method", request.method);
  AppendText(&line, "target", std::string_view(request.target).substr(0, kTargetMaxBytes));
  line.append(",\"status\":").append(std::to_string(response.status));
  line.append(",\"request_bytes\":").append(std::to_string(request.body.size()));
  // A streamed body has no size yet.
  line.append(",\"response_bytes\":")
      .append(response.source == nullptr ? std::to_string(response.body.size()) : "null");
  char took_ms[32];
  std::snprintf(took_ms, sizeof(took_ms), "%.3f", static_cast<double>(took_us) / 1e3);
  line.append(",\"duration_ms\":").append(took_ms);
  if (const auto node = response.headers.Get("ChatChain-Node")) AppendText(&line, "node", *node);
  if (const auto attempts = response.headers.Get("ChatChain-Attempts")) {
    AppendText(&line, "attempts", *attempts);
  }
  return line + "}\n";
}

AccessLog::~AccessLog() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void, std::string> AccessLog::Open(const std::string& path) {
  int fd = -1;
  if (!path.empty()) {
    fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
      return Err("cannot open the access log " + path + ": " + ErrorText(errno));
    }
  }
  MutexLock lock(mutex_);
  std::swap(fd, fd_);
  failed_ = false;
  if (fd >= 0) ::close(fd);
  return {};
}

bool AccessLog::enabled() const {
  MutexLock lock(mutex_);
  return fd_ >= 0;
}

void AccessLog::Write(const http::Request& request, const http::Response& response,
                      int64_t begun_ms, int64_t took_us) {
  const std::string line = AccessLine(request, response, begun_ms, took_us);
  MutexLock lock(mutex_);
  if (fd_ < 0) return;
  const bool whole = ::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (!whole && !failed_) spdlog::warn("lines of the access log are lost: it cannot be written");
  failed_ = !whole;
}

}  // namespace chatchain
