// SPDX-License-Identifier: MIT
// The command line of `chatchain`: commands, options, their checks and --help, from one table. Pure
// but for the clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/message.h"
#include "common/protocol/query.h"
#include "common/util/config.h"
#include "common/util/host_port.h"

namespace chatchain::terminal {

// Exit codes, as chatchain(1) documents them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;    // nobody answered in time, or something here failed
inline constexpr int kExitUsage = 2;     // as ConfigExit has it; nothing was sent
inline constexpr int kExitRefused = 3;   // the server says no; the same again would not help
inline constexpr int kExitDegraded = 4;  // done, and not as asked: too few copies, no ready node

enum class Command { kSend, kHistory, kTail, kNetwork };

enum class Order {
  kLatest,      // the last `limit` ones, oldest first
  kAscending,   // oldest first
  kDescending,  // newest first
};

struct CommandLine {
  Command command = Command::kSend;
  HostPort server;
  std::optional<int64_t> timeout_s;  // none: for ever
  bool json = false;

  // send
  Message message;  // what was given; the text may come from standard input
  bool text_from_stdin = false;
  std::string acks;

  // history, tail
  Filter filter;
  std::optional<uint64_t> limit;  // none: all (history), for ever (tail)
  Order order = Order::kLatest;
  std::string cursor;
  bool show_cursor = false;
  std::optional<std::string> after;  // a feed token or "begin"
  uint64_t last = 0;
  std::string state_file;
};

// The error is what main prints before it ends, --help and --version included.
Result<CommandLine, ConfigExit> ParseCommandLine(int argc, const char* const* argv,
                                                 const Environment& environment, int64_t now_ms);

// A time as people give it: RFC 3339, Unix seconds, `10m` ago (s, m, h, d, w), or local
// `YYYY-MM-DD[ HH:MM[:SS]]`; in Unix ms.
std::optional<int64_t> ParseWhen(std::string_view text, int64_t now_ms);

}  // namespace chatchain::terminal
