// SPDX-License-Identifier: MIT
// Callers that ask for the same thing at the same time share one answer: the first one works, those
// who come while it does wait for what it gets, without a thread. Nothing is kept afterwards.
//
// Thread-safe. As many flights as there are callers at once, which the server bounds.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/util/clock.h"
#include "common/util/contain.h"
#include "common/util/mutex.h"

namespace chatchain {

// An answer that is its holder's own, or that others read too. Not thread-safe.
template <typename Answer>
class SharedAnswer {
 public:
  SharedAnswer(Answer own = {}) : own_(std::move(own)) {}
  explicit SharedAnswer(std::shared_ptr<const Answer> common) : common_(std::move(common)) {}

  const Answer& get() const { return common_ != nullptr ? *common_ : own_; }
  // Copies only what others read too.
  Answer Take() && { return common_ != nullptr ? Answer(*common_) : std::move(own_); }

 private:
  Answer own_;
  std::shared_ptr<const Answer> common_;
};

template <typename Answer>
class SingleFlight {
 public:
  // The answer of the one who works; null: it was no good, or there was none.
  using Landed = std::function<void(const std::shared_ptr<const Answer>&)>;

 private:
  // All of it is guarded by mutex_.
  struct Flight {
    SteadyTime deadline{};  // of the one who works
    std::vector<Landed> followers;
  };

 public:
  // The duty to work. Its end, however it comes, ends the flight. Must end before the SingleFlight.
  class Lead {
   public:
    Lead(SingleFlight& all, std::string key, std::shared_ptr<Flight> flight)
        : all_(all), key_(std::move(key)), flight_(std::move(flight)) {}
    ~Lead() { Land(nullptr); }
    Lead(const Lead&) = delete;
    Lead& operator=(const Lead&) = delete;

    // Nobody joins any more. True if somebody has, and waits for Land().
    bool Close() {
      MutexLock lock(all_.mutex_);
      if (!closed_) all_.flights_.erase(key_);
      closed_ = true;
      return !flight_->followers.empty();
    }
    // Tells the followers, once.
    void Land(const std::shared_ptr<const Answer>& answer) {
      Close();
      std::vector<Landed> followers;
      {
        MutexLock lock(all_.mutex_);
        followers.swap(flight_->followers);
      }
      for (const Landed& landed : followers) {
        Contained("sharing an answer", [&] { landed(answer); });
      }
    }

   private:
    SingleFlight& all_;
    const std::string key_;
    const std::shared_ptr<Flight> flight_;
    bool closed_ = false;
  };

  // The caller works (`lead`), or waits with the one at work (`joined`): `landed` will then be
  // called once, on that one's thread. Neither: that one may be at it for longer than `deadline`.
  struct Entry {
    std::shared_ptr<Lead> lead;
    bool joined = false;
  };
  Entry Enter(const std::string& key, SteadyTime deadline, Landed landed) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    auto& flight = flights_[key];
    if (flight == nullptr) {
      flight = std::make_shared<Flight>();
      flight->deadline = deadline;
      return {.lead = std::make_shared<Lead>(*this, key, flight)};
    }
    if (flight->deadline > deadline) return {};
    flight->followers.push_back(std::move(landed));
    return {.joined = true};
  }

  // The answer of `work(then)`, which calls then(answer) once; or that of another caller who is at
  // work on the same `key`: done(answer, joined). Only what is `good(answer)` is shared, and it is
  // not copied. Calls `work` at most once. Where that one forgets `then`, `done` is forgotten too.
  template <typename Work, typename Good, typename Done>
  void Share(const std::string& key, SteadyTime deadline, Work work, Good good, Done done) {
    struct Caller {
      Work work;
      Done done;
    };
    const auto caller = std::make_shared<Caller>(Caller{std::move(work), std::move(done)});
    Entry entry = Enter(key, deadline, [caller](const std::shared_ptr<const Answer>& answer) {
      if (answer != nullptr) return caller->done(SharedAnswer<Answer>(answer), true);
      // It may be different for this one, who may have more time.
      caller->work([caller](Answer own) { caller->done(std::move(own), false); });
    });
    if (entry.joined) return;
    caller->work([caller, lead = std::move(entry.lead), good](Answer own) {
      if (lead == nullptr || !lead->Close()) return caller->done(std::move(own), false);
      if (!good(own)) {
        lead->Land(nullptr);
        return caller->done(std::move(own), false);
      }
      const auto all = std::make_shared<const Answer>(std::move(own));
      lead->Land(all);
      caller->done(SharedAnswer<Answer>(all), false);
    });
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights_ GUARDED_BY(mutex_);
};

}  // namespace chatchain
