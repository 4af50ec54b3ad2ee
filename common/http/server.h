// SPDX-License-Identifier: MIT
// The HTTP/1.1 server of both programs. Connections are parked on an event loop and cost no thread
// until a whole, strictly framed request is there; a worker thread then runs its handler, which may
// block, unless its route says that it is quick. Public routes are one table: 404, 405 with Allow,
// HEAD and CORS follow from it.
//
// Threads: Routes are set before Start(); everything else is thread-safe. Handlers run
// concurrently.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/http/message.h"
#include "common/util/result.h"

namespace chatchain::http {

using Handler = std::function<Response(Request&)>;

struct Route {
  std::string method;   // "GET" serves HEAD too
  std::string pattern;  // "/messages/{id}": a {name} matches one whole, non-empty segment
  Handler handler;
  size_t max_body_bytes = 0;  // over it: 413, without reading the rest
  bool json_body = false;     // demands Content-Type: application/json, else 415
  // The handler never blocks and takes microseconds: it runs on the event loop, without the way to
  // a worker and back.
  bool quick = false;
  bool never_shed =
      false;  // answered also while draining or over max_in_flight (/healthz, /readyz)
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: any free one; see Server::port()
  size_t max_connections = 12000;
  size_t max_connections_per_address = 12000;
  size_t max_in_flight = 1024;  // requests with a worker; over it: 503 with Retry-After
  // Held for requests and answers on their way, in all. Over it, whoever needs more than a little
  // is refused with 503, or cut where it does not read its answer.
  size_t max_buffered_bytes = 256 * 1024 * 1024;
  size_t min_workers = 8;  // workers grow on demand up to max_in_flight, shrink when idle
  size_t max_head_bytes = 64 * 1024;    // request line and fields; over it: 431
  size_t max_target_bytes = 32 * 1024;  // over it: 414
  int head_timeout_ms = 10'000;  // from the first byte of a request to its last head byte: then 408
  int body_timeout_ms = 30'000;  // for the body: then 408
  int write_timeout_ms = 30'000;   // without any progress in sending: then closed
  int idle_timeout_ms = 120'000;   // keep-alive without a request: closed silently
  int request_timeout_ms = 5'000;  // Request::deadline = arrival + this
  size_t gzip_min_bytes =
      8 * 1024;  // answers at least this large are compressed if accepted; 0: never
  // In every answer, those of the server itself included, e.g. who gave it.
  std::vector<std::pair<std::string, std::string>> fixed_headers;
  std::vector<std::string> cors_origins;  // exact origins, or "*"; empty: no CORS
};

// Counters since the start; a snapshot.
struct ServerStats {
  uint64_t connections_open = 0;
  uint64_t connections_accepted = 0;
  uint64_t connections_refused = 0;
  uint64_t requests = 0;
  uint64_t requests_shed = 0;
  uint64_t in_flight = 0;
  uint64_t workers = 0;
  uint64_t buffered_bytes = 0;
  uint64_t live = 0;  // event streams and WebSockets
};

class EventLoops;

class Server {
 public:
  // `loops`: where connections wait, beside what else does, until the server has ended, which stops
  // them; they outlive the server. Null: one of its own.
  Server(ServerOptions options, std::vector<Route> routes, EventLoops* loops = nullptr);
  // Stops hard what Drain() has not ended; waits only for handlers that have not returned.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds (without SO_REUSEPORT), listens and serves. The error is one line for the operator, e.g.
  // "cannot listen on 127.0.0.1:8081: address already in use".
  Result<void, std::string> Start();
  uint16_t port() const;
  // "HOST:PORT" with the real port.
  std::string address() const;

  // Ends gracefully: no new connections, idle ones closed, requests in flight answered with
  // `Connection: close`. Returns when none is left or after `timeout_ms`, then cuts what remains.
  // True if nothing had to be cut.
  bool Drain(int timeout_ms);

  ServerStats stats() const;

  // Runs `work` on the event loop, where live bodies and WebSockets are called, after all that was
  // posted before. REQUIRES: Start() has succeeded. Dropped once the server has ended.
  void PostToLive(std::function<void()> work);
  // The same at `at`, or soon after.
  void PostToLiveAt(SteadyTime at, std::function<void()> work);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chatchain::http
