// SPDX-License-Identifier: MIT
// The proxy's budgets for extra work, shared by all its threads. Thread-safe.
#pragma once

#include "client/proxy/budget.h"
#include "common/util/mutex.h"

namespace chatchain {

// Each request earns a share of a token; extra work costs one.
class SharedBudget {
 public:
  SharedBudget(double per_request, double capacity, double per_second)
      : per_request_(per_request), bucket_(capacity, per_second, capacity / 2) {}

  void Earn() {
    MutexLock lock(mutex_);
    bucket_.Deposit(per_request_);
  }
  bool Take(SteadyTime now) {
    MutexLock lock(mutex_);
    return bucket_.Take(now);
  }

 private:
  const double per_request_;
  Mutex mutex_;
  TokenBucket bucket_ GUARDED_BY(mutex_);
};

struct Budgets {
  SharedBudget hedges;
  SharedBudget retries;
};

}  // namespace chatchain
