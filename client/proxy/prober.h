// SPDX-License-Identifier: MIT
// Asks one node how it is: GET /readyz each interval (state, heads), GET /nodes now and then (id,
// number of messages). One thread a node, so that a hung one delays no other's probe. Thread-safe.
#pragma once

#include <memory>
#include <thread>

#include "client/proxy/node_link.h"

namespace chatchain {

class Prober {
 public:
  Prober(NodeLink& link, int interval_ms, const Clock& clock);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

 private:
  void Run();
  // One exchange that ends at once when the prober stops.
  Result<http::ClientResponse, http::TransportError> Get(const std::string& target);
  void ProbeOnce();
  void AskForDetails();

  NodeLink& link_;
  const int interval_ms_;
  const Clock& clock_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<http::Cancellation> in_flight_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace chatchain
