// SPDX-License-Identifier: MIT
// A peer that answers POST /sync with whatever a test makes up, and a log to make answers from.
#pragma once

#include <httplib.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/protocol/sync.h"

namespace chatchain::testing {

// Answers are made on its own threads.
class FakePeer {
 public:
  using Answerer = std::function<void(const httplib::Request&, httplib::Response&)>;
  explicit FakePeer(Answerer answerer);
  ~FakePeer();
  FakePeer(const FakePeer&) = delete;
  FakePeer& operator=(const FakePeer&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int requests() const { return requests_; }
  // True once it is being destroyed: an endless answer ends then.
  const std::atomic<bool>& stopping() const { return stopping_; }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// One epoch's records, each proven by its chain.
class FakeLog {
 public:
  FakeLog(std::string cluster, std::string origin, Epoch epoch = 0x0000000112345678);

  void Append(Message message);
  void AppendPayload(const std::string& kind, const std::string& payload);

  const EpochKey& key() const { return key_; }
  std::vector<WireRecord>& records() { return records_; }
  Position head() const { return {records_.size(), chain_}; }

 private:
  void Seal(WireRecord wire);
  const EpochKey key_;
  Hash chain_;
  std::vector<WireRecord> records_;
};

// A whole answer: the heads and the records of these logs.
std::string SyncAnswerOf(std::vector<FakeLog>& logs, bool more = false);

}  // namespace chatchain::testing
