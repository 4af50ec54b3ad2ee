// SPDX-License-Identifier: MIT
// Callers that ask for the same thing at the same time share one answer: the first one works, those
// who come while it does wait for what it gets. Nothing is kept afterwards.
//
// Thread-safe. As many flights as there are callers at once, which the server bounds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/util/clock.h"
#include "common/util/mutex.h"

namespace chatchain {

template <typename Answer>
class SingleFlight {
  // All of it is guarded by mutex_.
  struct Flight {
    bool landed = false;
    size_t followers = 0;
    std::shared_ptr<const Answer> answer;
    SteadyTime deadline{};  // of the one who works
    CondVar landed_cv;
    std::vector<std::function<void()>> callbacks;
  };

 public:
  // The answer of `work`, called here; or a copy of another caller's who is at work on the same
  // `key` (`*shared`). Nothing when that one's answer was not `good`, or was not there by
  // `deadline`: the caller then does without sharing. Runs `work` at most once.
  template <typename Work, typename Good>
  std::optional<Answer> Do(const std::string& key, SteadyTime deadline, Work work, Good good,
                           bool* shared) EXCLUDES(mutex_) {
    *shared = false;
    std::shared_ptr<Flight> flight;
    {
      MutexLock lock(mutex_);
      auto& slot = flights_[key];
      if (slot == nullptr) {
        slot = flight = std::make_shared<Flight>();
        flight->deadline = deadline;
      } else {
        flight = slot;
        *shared = true;
        ++flight->followers;
        while (!flight->landed && flight->landed_cv.WaitUntil(mutex_, deadline)) {
        }
        --flight->followers;
        if (flight->answer == nullptr) return std::nullopt;
      }
    }
    // What is shared does not change any more: it is copied without the lock.
    if (*shared) return *flight->answer;
    Landing landing(*this, key, *flight);
    std::optional<Answer> answer = work();
    if (landing.Close() && good(*answer)) landing.Publish(std::make_shared<const Answer>(*answer));
    return answer;
  }

  // A place among those who wait for another caller's answer, without a thread.
  class Ticket {
   public:
    Ticket(SingleFlight& all, std::shared_ptr<Flight> flight)
        : all_(all), flight_(std::move(flight)) {}
    ~Ticket() {
      MutexLock lock(all_.mutex_);
      --flight_->followers;
    }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    // Calls `landed` once, when the answer is there or will not come; perhaps within this call.
    void OnLanding(std::function<void()> landed) {
      {
        MutexLock lock(all_.mutex_);
        if (!flight_->landed) {
          flight_->callbacks.push_back(std::move(landed));
          return;
        }
      }
      landed();
    }
    // After that: the answer, or null when it was not good.
    std::shared_ptr<const Answer> Take() const {
      MutexLock lock(all_.mutex_);
      return flight_->answer;
    }

   private:
    SingleFlight& all_;
    const std::shared_ptr<Flight> flight_;
  };
  // Null when nobody is at work on `key`, or may be for longer than `deadline`.
  std::unique_ptr<Ticket> Join(const std::string& key, SteadyTime deadline) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const auto found = flights_.find(key);
    if (found == flights_.end() || found->second->deadline > deadline) return nullptr;
    ++found->second->followers;
    return std::make_unique<Ticket>(*this, found->second);
  }

  // Callers that wait for another one's answer, for tests.
  size_t followers() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    size_t count = 0;
    for (const auto& [key, flight] : flights_) count += flight->followers;
    return count;
  }

 private:
  // Ends the flight, however its work ends.
  class Landing {
   public:
    Landing(SingleFlight& all, const std::string& key, Flight& flight)
        : all_(all), key_(key), flight_(flight) {}
    ~Landing() {
      if (!closed_) Close();
      std::vector<std::function<void()>> callbacks;
      {
        MutexLock lock(all_.mutex_);
        flight_.landed = true;
        flight_.landed_cv.NotifyAll();
        callbacks.swap(flight_.callbacks);
      }
      for (const auto& landed : callbacks) landed();
    }
    Landing(const Landing&) = delete;
    Landing& operator=(const Landing&) = delete;

    // Nobody joins any more. True if somebody has.
    bool Close() {
      closed_ = true;
      MutexLock lock(all_.mutex_);
      all_.flights_.erase(key_);
      return flight_.followers > 0;
    }
    void Publish(std::shared_ptr<const Answer> answer) {
      MutexLock lock(all_.mutex_);
      flight_.answer = std::move(answer);
    }

   private:
    SingleFlight& all_;
    const std::string& key_;
    Flight& flight_;
    bool closed_ = false;
  };

  mutable Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
