// SPDX-License-Identifier: MIT
// When a test fails, the logs of its nodes and proxies follow.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
#include <iostream>

#include "tests/support/cluster.h"

namespace chatchain::testing {

namespace {

class LogsOfFailures : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo&) override { shown_ = false; }

  bool assertionEnded(const Catch::AssertionStats& stats) override {
    // The first failure: later ones follow from it, and after the last the processes are gone.
    if (!stats.assertionResult.isOk() && !shown_) {
      shown_ = true;
      for (const Cluster* cluster : Cluster::All()) std::cout << cluster->Logs() << std::endl;
    }
    return false;
  }

 private:
  bool shown_ = false;
};

CATCH_REGISTER_LISTENER(LogsOfFailures)

}  // namespace

}  // namespace chatchain::testing
