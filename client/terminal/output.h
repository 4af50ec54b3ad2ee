// SPDX-License-Identifier: MIT
// Standard output, written whole or with an error: a full disk or a closed file is never silent.
// A reader that went away ends the program by SIGPIPE, as it ends others. One thread.
#pragma once

#include <csignal>
#include <string>
#include <string_view>

#include "common/util/result.h"

namespace chatchain::terminal {

// The descriptors 0 to 2 that are closed are given something that fails, so that no connection ever
// becomes somebody's standard output. Called first in main.
void FillStandardDescriptors();

// SIGINT, SIGTERM and SIGHUP wait while it lives: what belongs together is done together.
class SignalsWait {
 public:
  SignalsWait();
  ~SignalsWait();
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_{};
};

// The error is a sentence; with an empty text, whether standard output can be written at all. With
// `signals`, a reader that does not read can be waited for and the program be interrupted, until
// the last byte is out; from there on the signals wait.
Result<void, std::string> WriteOut(std::string_view text, const SignalsWait* signals = nullptr);

// False: whoever read standard output is gone.
bool OutputIsRead();

bool OutputIsTerminal();

// "chatchain: <text>" on standard error. `text` may hold what others wrote.
void Complain(std::string_view text);

}  // namespace chatchain::terminal
