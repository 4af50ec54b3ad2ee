// SPDX-License-Identifier: MIT
// The HTTP client of both programs: a pool of keep-alive connections to one address, blocking calls
// under one total deadline. Built on cpp-httplib's client over a stream of ours, because the stock
// one bounds each read but not the whole exchange.
//
// Thread-safe: each call takes a connection of its own from the pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/http/message.h"
#include "common/util/clock.h"
#include "common/util/result.h"

namespace chatchain::http {

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, already encoded
  Headers headers;           // without Host and Content-Length
  std::string body;
  std::string content_type;  // for a body
};

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

struct TransportError {
  enum class Kind {
    kConnect,    // refused, unreachable, connect timeout: nothing was sent
    kTimeout,    // the deadline passed
    kBroken,     // closed or reset midway, not HTTP, wrong length
    kTooLarge,   // the answer is over max_response_bytes
    kCancelled,  // Cancellation::Cancel()
  };
  Kind kind = Kind::kBroken;
  std::string detail;  // for people, names the address
  bool sent = false;   // at least one byte of the request went out: the peer may have acted on it
};

struct ClientOptions {
  int connect_timeout_ms = 300;
  size_t max_idle_connections = 16;
  int idle_timeout_ms = 30'000;  // an idle connection older than this is not used again
  size_t max_response_bytes = 64 * 1024 * 1024;
};

// Ends a call from another thread: the blocked Send() returns kCancelled at once. One call each.
class Cancellation {
 public:
  Cancellation();
  ~Cancellation();
  void Cancel();
  bool cancelled() const;

 private:
  friend class Client;
  struct State;
  std::shared_ptr<State> state_;
};

class Client {
 public:
  // `address`: "HOST:PORT".
  Client(std::string address, ClientOptions options = {});
  ~Client();  // REQUIRES: no call under way
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends and waits for the whole answer, until `deadline` at the latest. A kept connection that
  // turns out to be dead before any byte of the request went out is replaced once by a new one;
  // nothing is ever sent twice.
  Result<ClientResponse, TransportError> Send(const ClientRequest& request, SteadyTime deadline,
                                              Cancellation* cancellation = nullptr);

  const std::string& address() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chatchain::http
