// SPDX-License-Identifier: MIT
// `chatchain tail`: follows the feed by long polls, through whatever happens to the server and to
// itself. What was printed is remembered after it was printed, message by message: killed in
// between, the next run repeats that one message.
#pragma once

#include "client/terminal/messages.h"
#include "client/terminal/options.h"
#include "client/terminal/server.h"
#include "client/terminal/state_file.h"
#include "common/feed/poll.h"
#include "common/feed/repeats.h"

namespace chatchain::terminal {

class Tail {
 public:
  Tail(const CommandLine& line, Server& server, Style style);
  // Returns when `limit` messages are printed, or with the reason why it cannot go on.
  Result<int, Failure> Run();

 private:
  // The position to begin at, with the last messages printed where they are asked for.
  Result<void, Failure> Begin();
  Result<feed::PollPage, Failure> NextPage(size_t limit, int wait_ms);
  Result<void, Failure> PrintPage(const feed::PollPage& page);
  // Prints, then moves to `after` (empty: stays). Signals wait meanwhile.
  Result<void, Failure> Print(const ReadMessage& message, const std::string& after);
  Result<void, Failure> Save(const std::string& after, bool durable);
  bool Done() const { return line_.limit && printed_ >= *line_.limit; }

  const CommandLine& line_;
  Server& server_;
  MessageLines lines_;
  StateFile state_;
  feed::Repeats repeats_;
  std::optional<std::string> after_;  // none: not known yet
  uint64_t printed_ = 0;
};

}  // namespace chatchain::terminal
