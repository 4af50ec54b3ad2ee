// SPDX-License-Identifier: MIT
#include "client/terminal/output.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "client/terminal/show.h"
#include "common/util/encoding.h"
#include "common/util/error_text.h"
#include "common/util/log.h"

namespace chatchain::terminal {

void FillStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is `fd`. The wrong way round: reading from it, or writing to it, is an
    // error, as it was.
    if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(1);
  }
}

SignalsWait::SignalsWait() {
  sigset_t waiting;
  sigemptyset(&waiting);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&waiting, signal);
  pthread_sigmask(SIG_BLOCK, &waiting, &before_);
}

SignalsWait::~SignalsWait() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

Result<void, std::string> WriteOut(std::string_view text, const SignalsWait* signals) {
  do {
    // So much a pipe takes at once when it takes anything: write() does not block.
    size_t most = text.size();
    if (signals != nullptr) {
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      if (ppoll(&out, 1, nullptr, &signals->before()) < 0 && errno == EINTR) continue;
      most = std::min<size_t>(most, PIPE_BUF);
    }
    const ssize_t n = write(STDOUT_FILENO, text.data(), most);
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      poll(&out, 1, -1);
    } else if (errno != EINTR) {
      return Err("cannot write to standard output: " + ErrorText(errno));
    }
  } while (!text.empty());
  return {};
}

bool OutputIsRead() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return poll(&out, 1, 0) <= 0 || (out.revents & (POLLERR | POLLHUP)) == 0;
}

bool OutputIsTerminal() {
  return isatty(STDOUT_FILENO) == 1;
}

void Complain(std::string_view text) {
  const std::string line =
      "chatchain: " + (IsUtf8(text) ? Printable(text) : LogSafe(text, text.size())) + "\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n = write(STDERR_FILENO, rest.data(), rest.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) rest.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace chatchain::terminal
