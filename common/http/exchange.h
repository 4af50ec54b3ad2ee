// SPDX-License-Identifier: MIT
// What the two ways of asking a server share, the one that blocks (client.h) and the one on an
// event loop (client_call.h): the request on its way out and the answer on its way in, without
// waiting for anything. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/client.h"
#include "common/http/framing.h"
#include "common/http/resolver.h"
#include "common/util/mutex.h"

namespace chatchain::http {

struct Cancellation::State {
  Mutex mutex;
  bool cancelled GUARDED_BY(mutex) = false;
  int fd GUARDED_BY(mutex) = -1;  // of the call under way; shut down, never closed, from here
};

// What bounds a call, and whether its request was sent.
struct CallState {
  const std::string& address;  // of the server, for errors
  SteadyTime deadline;
  std::shared_ptr<Cancellation::State> cancellation;  // null: nobody will
  bool sent = false;                                  // at least one byte

  bool Cancelled() const;
  // A cancel shuts `fd` down from here on. False: cancelled already.
  bool Watch(int fd) const;
  void Unwatch() const;
  TransportError Fail(TransportError::Kind kind, std::string_view what) const;
};

// A socket on its way to be connected (errno in *error: EINPROGRESS, or 0: it is already); -1:
// none.
int BeginConnect(const Address& address, int* error);
// Once it is writable, or hung up: 0 or what went wrong.
int EndConnect(int fd, bool hung_up);

inline constexpr std::string_view kNotARequest = "the method or the target is not valid";
// The head of a request to `address`; nothing when the request is not a valid one.
std::optional<std::string> MakeRequestHead(const ClientRequest& request,
                                           const std::string& address);

// One request and its answer on one connected socket. Both go on at the same time: a server may
// answer (413) before it has read all, and would be waited for in vain by one who only writes.
class Exchange {
 public:
  // All of it outlives the exchange.
  Exchange(CallState& call, std::string_view head, const ClientRequest& request,
           size_t max_response_bytes);

  // Sends what the socket takes. An error: nothing could be sent at all.
  Result<void, TransportError> Send(int fd);
  bool more_to_send() const { return sent_ < head_.size() + body_.size() && write_error_ == 0; }
  // Takes what has come. The answer is complete: true.
  Result<bool, TransportError> Take(std::string_view input);
  // No more will come: it was closed (0) or has an error.
  TransportError End(int error) const;
  // REQUIRES: Take() was true. `*reusable`: the connection can take another request.
  ClientResponse TakeResponse(bool* reusable);

 private:
  CallState& call_;
  const std::string_view head_;
  const std::string_view body_;
  const size_t max_response_bytes_;
  ResponseFramer framer_;
  size_t sent_ = 0;
  int write_error_ = 0;
  bool surplus_ = false;  // more came than was asked for
};

}  // namespace chatchain::http
