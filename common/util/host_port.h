// SPDX-License-Identifier: MIT
// An address as people write it: "127.0.0.1:8081", "chat.example:443", "[::1]:8081".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/util/result.h"

namespace chatchain {

struct HostPort {
  std::string host;  // lower case, without brackets; IPv6 in its shortest form
  uint16_t port = 0;

  bool operator==(const HostPort&) const = default;
  std::string ToString() const;  // IPv6 gets its brackets back
};

// The error completes the sentence "<value> ...", e.g. "has no port". Nothing is resolved. Port 0
// is accepted here: it is for the caller to say whether it means anything.
Result<HostPort, std::string> ParseHostPort(std::string_view text);

// True for the addresses only programs on this machine can reach: 127.0.0.0/8, ::1 and "localhost".
bool IsLoopback(const HostPort& address);

}  // namespace chatchain
