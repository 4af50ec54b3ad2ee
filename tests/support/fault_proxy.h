// SPDX-License-Identifier: MIT
// A TCP relay between two programs that can be told to fail like a network. One thread of its own;
// all methods are thread-safe and return when the new fault is in force.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace chatchain::testing {

class FaultProxy {
 public:
  enum class Fault {
    kNone,
    kCut,        // open connections are reset, new ones too
    kStall,      // connections are accepted and stay open; not a byte passes
    kNoAnswers,  // one way: bytes reach the target, what it says waits (TCP would send it again)
  };

  explicit FaultProxy(uint16_t target_port);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void Set(Fault fault);

 private:
  struct Link;

  void Run();
  void Accept();

  const uint16_t target_port_;
  int listener_ = -1;
  uint16_t port_ = 0;
  int wake_[2] = {-1, -1};
  std::atomic<Fault> fault_{Fault::kNone};
  std::atomic<uint64_t> changes_{0};  // Set() calls
  std::atomic<uint64_t> applied_{0};  // of those, in force
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Link>> links_;  // the thread's own
  std::thread thread_;
};

}  // namespace chatchain::testing
