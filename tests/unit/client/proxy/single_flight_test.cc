// SPDX-License-Identifier: MIT
#include "client/proxy/single_flight.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace chatchain {
namespace {

using std::chrono::milliseconds;

struct Outcome {
  std::optional<std::string> answer;
  bool shared = false;
};

SteadyTime In(int ms) {
  return std::chrono::steady_clock::now() + milliseconds(ms);
}

bool IsGood(const std::string& answer) {
  return answer != "bad";
}

// One call that is held at work while others join it.
class Held {
 public:
  explicit Held(std::string answer)
      : leader_(std::async(std::launch::async, [this, answer = std::move(answer)] {
          Outcome outcome;
          outcome.answer = flights_.Do(
              "key", In(60'000),
              [&] {
                begun_.set_value();
                released_.get_future().wait();
                if (answer == "throw") throw std::runtime_error("no answer");
                return answer;
              },
              IsGood, &outcome.shared);
          return outcome;
        })) {
    begun_.get_future().wait();
  }

  std::future<Outcome> Join(int patience_ms, const std::string& key = "key") {
    return std::async(std::launch::async, [this, patience_ms, key] {
      Outcome outcome;
      outcome.answer = flights_.Do(
          key, In(patience_ms), [] { return std::string("own"); }, IsGood, &outcome.shared);
      return outcome;
    });
  }
  void AwaitFollowers(size_t count) {
    while (flights_.followers() < count) std::this_thread::yield();
  }
  Outcome Release() {
    released_.set_value();
    return leader_.get();
  }
  SingleFlight<std::string>& flights() { return flights_; }
  std::future<Outcome>& leader() { return leader_; }
  void Let() { released_.set_value(); }

 private:
  SingleFlight<std::string> flights_;
  std::promise<void> begun_;
  std::promise<void> released_;
  std::future<Outcome> leader_;
};

}  // namespace

TEST_CASE("who comes while another works gets its answer", "[single_flight]") {
  Held held("answer");
  std::vector<std::future<Outcome>> followers;
  for (int i = 0; i < 5; ++i) followers.push_back(held.Join(60'000));
  held.AwaitFollowers(5);
  CHECK(held.Join(60'000, "another key").get().answer == "own");
  const Outcome leader = held.Release();
  CHECK(leader.answer == "answer");
  CHECK_FALSE(leader.shared);
  for (auto& follower : followers) {
    const Outcome outcome = follower.get();
    CHECK(outcome.answer == "answer");
    CHECK(outcome.shared);
  }
  // Nothing is kept.
  CHECK(held.Join(60'000).get().answer == "own");
}

TEST_CASE("an answer that is no good is not shared", "[single_flight]") {
  Held held("bad");
  auto follower = held.Join(60'000);
  held.AwaitFollowers(1);
  CHECK(held.Release().answer == "bad");
  CHECK_FALSE(follower.get().answer);
}

TEST_CASE("a follower waits no longer than it may", "[single_flight]") {
  Held held("answer");
  CHECK_FALSE(held.Join(20).get().answer);
  CHECK(held.Release().answer == "answer");
}

TEST_CASE("a ticket waits without a thread", "[single_flight]") {
  Held held("answer");
  CHECK(held.flights().Join("another key", In(90'000)) == nullptr);
  // The one at work may take longer than this caller has.
  CHECK(held.flights().Join("key", In(1'000)) == nullptr);
  const auto ticket = held.flights().Join("key", In(90'000));
  REQUIRE(ticket != nullptr);
  std::promise<void> landed;
  ticket->OnLanding([&] { landed.set_value(); });
  CHECK(held.Release().answer == "answer");
  landed.get_future().wait();
  REQUIRE(ticket->Take() != nullptr);
  CHECK(*ticket->Take() == "answer");
  // Too late to wait: it is told at once.
  bool called = false;
  ticket->OnLanding([&] { called = true; });
  CHECK(called);
}

TEST_CASE("a ticket for an answer that is no good gets none", "[single_flight]") {
  Held held("bad");
  const auto ticket = held.flights().Join("key", In(90'000));
  REQUIRE(ticket != nullptr);
  std::promise<void> landed;
  ticket->OnLanding([&] { landed.set_value(); });
  CHECK(held.Release().answer == "bad");
  landed.get_future().wait();
  CHECK(ticket->Take() == nullptr);
}

TEST_CASE("work that throws ends its flight", "[single_flight]") {
  Held held("throw");
  auto follower = held.Join(60'000);
  held.AwaitFollowers(1);
  held.Let();
  CHECK_THROWS(held.leader().get());
  CHECK_FALSE(follower.get().answer);
  CHECK(held.Join(60'000).get().answer == "own");
}

}  // namespace chatchain
