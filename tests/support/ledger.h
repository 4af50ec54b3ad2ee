// SPDX-License-Identifier: MIT
// What writers were promised, and the check that the promise was kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/api.h"
#include "tests/support/cluster.h"

namespace chatchain::testing {

// The sends of a test. Thread-safe. Every text is used for one message only: that is how a doubled
// message is seen.
class Ledger {
 public:
  // `id`: of the acknowledgement, a 2xx.
  void Acknowledged(const Outgoing& sent, const std::string& id);
  // No answer that settles it: it may be stored or not.
  void Unanswered(const Outgoing& sent);
  // A retry has settled it elsewhere.
  void Settled(const Outgoing& sent);
  // Something that must never happen, e.g. a 4xx to a good message.
  void Wrong(const std::string& what);

  std::map<std::string, Outgoing> acknowledged() const;  // by id
  std::vector<Outgoing> unanswered() const;              // those that no retry settled
  std::vector<std::string> wrong() const;
  size_t size() const;  // acknowledged messages

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Outgoing> acknowledged_;
  std::map<std::string, Outgoing> unanswered_;  // by text
  std::vector<std::string> wrong_;
};

// A message of its own kind: names, rooms, timestamps, sizes and alphabets vary, the text is
// unique.
Outgoing MakeMessage(const std::string& sender);

// Sends them one by one to `address`; each must be answered 201. Records them.
void SendAll(const std::string& address, Ledger& ledger, int count, const std::string& sender);

// Writers that send all the time. One that fails tries the next address with the same key, until it
// is acknowledged or the load ends.
class Load {
 public:
  struct Options {
    int writers = 4;
    milliseconds pause{4};       // of each writer between two messages
    milliseconds timeout{1000};  // of one try
    bool retry = true;           // false: a failed send is left unanswered
  };
  Load(std::vector<std::string> addresses, Ledger& ledger)
      : Load(std::move(addresses), ledger, Options{}) {}
  Load(std::vector<std::string> addresses, Ledger& ledger, Options options);
  ~Load() { Stop(); }
  void Stop();

  // Waits until `count` more messages have been acknowledged; fails the test if that takes longer.
  void AwaitMore(size_t count, milliseconds patience = seconds(30));
  uint64_t failures() const { return failures_; }  // tries that were not acknowledged

 private:
  void Write(size_t writer);

  const std::vector<std::string> addresses_;
  Ledger& ledger_;
  const Options options_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> failures_{0};
  std::vector<std::thread> threads_;
};

// Waits until all these nodes show the same digest; fails the test, with what each says, if they do
// not.
void AwaitEqualDigests(const std::vector<std::string>& addresses,
                       milliseconds patience = seconds(30));

// Waits until `holder` has every record that `source` has now.
void AwaitHolds(const std::string& holder, const std::string& source,
                milliseconds patience = seconds(30));

// P2: waits for equal digests, then reads every message of every node and checks that each
// acknowledged one is there exactly once, byte for byte, that no text is there twice, and that all
// nodes show the same messages in the same order.
void CheckConverged(const std::vector<std::string>& addresses, const Ledger& ledger,
                    milliseconds patience = seconds(30));
// The same for the messages of one node, as they are now.
void CheckHolds(const std::string& address, const Ledger& ledger);
// No position was ever issued twice: nobody has frozen an epoch.
void CheckNoForks(const std::vector<std::string>& addresses);

}  // namespace chatchain::testing
