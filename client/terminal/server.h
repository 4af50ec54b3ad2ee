// SPDX-License-Identifier: MIT
// The proxy, or a node, as the commands see it: a request is tried until it has a final answer or
// the time is up. One thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "client/terminal/options.h"
#include "common/http/client.h"
#include "common/util/clock.h"
#include "common/util/host_port.h"
#include "common/util/random.h"
#include "common/util/result.h"

namespace chatchain::terminal {

// How a command ends when it does not succeed.
struct Failure {
  int code = kExitFailed;  // of the process
  std::string text;        // for people: what happened, what to do
};

class Server {
 public:
  explicit Server(const HostPort& address);

  const std::string& url() const { return url_; }

  struct Tries {
    std::optional<SteadyTime> until;         // none: for ever
    std::chrono::milliseconds each{10'000};  // one try
    // Said once before the second try; empty: nothing is.
    std::string notice;
  };
  // An answer 2xx. Connections that fail and answers 429, 502, 503 and 504 are tried again, with
  // growing pauses; others are refusals. Requests are safe to repeat: reads, and sends with a key.
  Result<http::ClientResponse, Failure> Ask(const http::ClientRequest& request, const Tries& tries);

  // One try; the error is a sentence. Answers that call for another try are errors, too.
  struct Once {
    std::optional<http::ClientResponse> answer;  // final
    std::string error;                           // otherwise
    int retry_after_ms = 0;
  };
  Once TryOnce(const http::ClientRequest& request, SteadyTime deadline);
  // The failure that a final answer other than 2xx is.
  Failure Refusal(const http::ClientResponse& answer) const;
  // What ends a command that had no answer in time.
  Failure Unreachable(const std::string& error) const;

  // 0.1 s and more for each failure in a row, 5 s at most, at random below that.
  std::chrono::milliseconds Pause(int failures);

 private:
  const std::string url_;
  http::Client client_;
  SystemRandom random_;
};

}  // namespace chatchain::terminal
