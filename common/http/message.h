// SPDX-License-Identifier: MIT
// What a handler sees of HTTP: plain values, no socket, no library type. Not thread-safe; a Request
// and its Response belong to one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/problem.h"
#include "common/protocol/query.h"
#include "common/util/clock.h"

namespace chatchain::http {

// Header fields in order; names compare without case.
class Headers {
 public:
  void Add(std::string name, std::string value);
  void Set(std::string_view name, std::string value);  // replaces all of that name
  // The first value of that name, or none.
  std::optional<std::string_view> Get(std::string_view name) const;
  size_t Count(std::string_view name) const;
  void Reserve(size_t fields) { fields_.reserve(fields); }
  const std::vector<std::pair<std::string, std::string>>& all() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

using chatchain::QueryParams;

struct Request {
  std::string method;  // "GET" also for HEAD: the server leaves the body out by itself
  std::string target;  // as received: path and query
  std::string path;    // percent-decoded
  QueryParams query;   // percent-decoded, `+` is a space, in order, repetitions kept
  std::map<std::string, std::string> path_params;  // {name} segments of the route's pattern
  Headers headers;
  std::string body;
  std::string remote_address;  // without the port
  SteadyTime deadline;         // when the answer is due at the latest
};

// A body that is made while it is sent, in constant memory. Read() is called on a worker thread,
// one call at a time, only after what it gave before has gone to the socket.
class BodySource {
 public:
  enum class Step {
    kMore,   // `*out` has been filled: call again
    kEnd,    // the body is complete (`*out` may hold the last part)
    kAbort,  // end the connection without the last chunk: the reader must see that it is incomplete
  };
  virtual ~BodySource() = default;
  virtual Step Read(std::string* out) = 0;
};

class LaterAnswer;   // common/http/later.h
class LiveBody;      // common/http/live.h
class WebSocketApp;  // common/http/websocket.h

struct Response {
  int status = 200;
  Headers headers;
  std::string content_type;  // empty: no Content-Type (204, 304)
  std::string body;
  std::unique_ptr<BodySource> source;  // in place of `body`; sent chunked
  std::shared_ptr<LaterAnswer> later;  // in place of all this; the rest is ignored
  std::shared_ptr<LiveBody> live;      // in place of `body`; fed from elsewhere, without a thread
  std::shared_ptr<WebSocketApp> websocket;  // the connection speaks RFC 6455 from here on
};

Response JsonResponse(int status, std::string json);
Response ProblemResponse(const Problem& problem);
Response FailedResponse();  // 500: a handler has thrown

}  // namespace chatchain::http
