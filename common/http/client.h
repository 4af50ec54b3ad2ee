// SPDX-License-Identifier: MIT
// The HTTP client of both programs: keep-alive connections to one address, and calls under one
// total deadline, which block their thread or wait on an event loop.
//
// Thread-safe: each call takes a connection of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
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

class EventLoop;
struct ClientCore;

// Ends a call from another thread: it fails with kCancelled at once. One call each.
class Cancellation {
 public:
  struct State;
  Cancellation();
  ~Cancellation();
  void Cancel();
  bool cancelled() const;

 private:
  friend class Client;
  std::shared_ptr<State> state_;
};

class Client {
 public:
  // `address`: "HOST:PORT".
  Client(std::string address, ClientOptions options = {});
  ~Client();  // REQUIRES: no Send() under way
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends and waits for the whole answer, until `deadline` at the latest. A kept connection that
  // turns out to be dead before any byte of the request went out is replaced once by a new one;
  // nothing is ever sent twice.
  Result<ClientResponse, TransportError> Send(const ClientRequest& request, SteadyTime deadline,
                                              Cancellation* cancellation = nullptr);

  // The same without a thread, on `loop`, which outlives this object. `done` is called once, on the
  // loop, never within this call; a deadline is seen up to EventLoop::kTick late. Where the loop
  // stops first, or this call throws, `done` is dropped. The client may end before its calls.
  using Done = std::function<void(Result<ClientResponse, TransportError>)>;
  void Start(EventLoop& loop, ClientRequest request, SteadyTime deadline,
             const Cancellation* cancellation, Done done);

  const std::string& address() const;

 private:
  const std::shared_ptr<ClientCore> core_;
};

}  // namespace chatchain::http
