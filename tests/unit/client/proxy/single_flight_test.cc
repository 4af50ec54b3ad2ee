// SPDX-License-Identifier: MIT
#include "client/proxy/single_flight.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/util/log.h"

namespace chatchain {
namespace {

using Flights = SingleFlight<std::string>;
constexpr SteadyTime kEarly{std::chrono::seconds(10)};
constexpr SteadyTime kLate{std::chrono::seconds(20)};

// What those who joined were told: "-" for no answer.
struct Told {
  std::vector<std::string> all;
  Flights::Landed Hear() {
    return [this](const std::shared_ptr<const std::string>& answer) {
      all.push_back(answer != nullptr ? *answer : "-");
    };
  }
};

}  // namespace

TEST_CASE("who comes while another works gets its answer", "[single_flight]") {
  Flights flights;
  Told told;
  auto lead = flights.Enter("key", kEarly, told.Hear()).lead;
  REQUIRE(lead != nullptr);
  CHECK(flights.Enter("another key", kEarly, told.Hear()).lead != nullptr);
  for (int i = 0; i < 3; ++i) CHECK(flights.Enter("key", kEarly, told.Hear()).joined);
  CHECK(told.all.empty());
  CHECK(lead->Close());
  lead->Land(std::make_shared<const std::string>("answer"));
  CHECK(told.all == std::vector<std::string>{"answer", "answer", "answer"});
  lead.reset();
  CHECK(told.all.size() == 3);
  // Nothing is kept.
  CHECK(flights.Enter("key", kEarly, told.Hear()).lead != nullptr);
}

TEST_CASE("nobody joins who may have to wait for longer than it can", "[single_flight]") {
  Flights flights;
  Told told;
  auto lead = flights.Enter("key", kLate, told.Hear()).lead;
  const auto hasty = flights.Enter("key", kEarly, told.Hear());
  CHECK_FALSE(hasty.joined);
  CHECK(hasty.lead == nullptr);
  CHECK(flights.Enter("key", kLate, told.Hear()).joined);
  lead.reset();
  CHECK(told.all == std::vector<std::string>{"-"});
}

TEST_CASE("nobody joins what is closed, and its key is free again", "[single_flight]") {
  Flights flights;
  Told told;
  auto lead = flights.Enter("key", kEarly, told.Hear()).lead;
  CHECK_FALSE(lead->Close());
  auto next = flights.Enter("key", kLate, told.Hear()).lead;
  REQUIRE(next != nullptr);
  CHECK(flights.Enter("key", kLate, told.Hear()).joined);
  // The end of the first one is not the end of the second.
  lead.reset();
  CHECK(told.all.empty());
  CHECK(flights.Enter("key", kLate, told.Hear()).joined);
  next->Land(nullptr);
  CHECK(told.all == std::vector<std::string>{"-", "-"});
}

TEST_CASE("work that ends without an answer ends its flight", "[single_flight]") {
  Flights flights;
  Told told;
  {
    const auto lead = flights.Enter("key", kEarly, told.Hear()).lead;
    CHECK(flights.Enter("key", kEarly, told.Hear()).joined);
  }
  CHECK(told.all == std::vector<std::string>{"-"});
  CHECK(flights.Enter("key", kEarly, told.Hear()).lead != nullptr);
}

TEST_CASE("what is good is shared, and what is not is asked for again", "[single_flight]") {
  const std::string made = GENERATE("good", "bad");
  Flights flights;
  std::vector<std::function<void(std::string)>> working;
  std::vector<std::pair<std::string, bool>> done;
  const auto call = [&] {
    flights.Share(
        "key", kEarly, [&](auto then) { working.emplace_back(std::move(then)); },
        [](const std::string& answer) { return answer == "good"; },
        [&](SharedAnswer<std::string> answer, bool joined) {
          done.emplace_back(std::move(answer).Take(), joined);
        });
  };
  call();
  call();
  REQUIRE(working.size() == 1);
  CHECK(done.empty());
  working[0](made);
  if (made == "good") {
    CHECK(done == std::vector<std::pair<std::string, bool>>{{"good", true}, {"good", false}});
  } else {
    CHECK(done == std::vector<std::pair<std::string, bool>>{{"bad", false}});
    REQUIRE(working.size() == 2);
    working[1]("own");
    CHECK(done.back() == std::pair<std::string, bool>{"own", false});
  }
}

TEST_CASE("an answer that a thousand share is there once", "[single_flight]") {
  SingleFlight<std::string> flights;
  std::function<void(std::string)> working;
  std::vector<SharedAnswer<std::string>> done;
  for (int i = 0; i < 1000; ++i) {
    flights.Share(
        "key", kEarly, [&](auto then) { working = std::move(then); },
        [](const std::string&) { return true; },
        [&](SharedAnswer<std::string> answer, bool) { done.push_back(std::move(answer)); });
  }
  working("answer");
  REQUIRE(done.size() == 1000);
  for (const auto& answer : done) CHECK(&answer.get() == &done.front().get());
  // Who takes it has his own; the others still have theirs.
  CHECK(std::move(done.front()).Take() == "answer");
  CHECK(done.back().get() == "answer");
}

TEST_CASE("of those who share an answer one that throws keeps it from nobody", "[single_flight]") {
  spdlog::set_level(spdlog::level::off);
  Flights flights;
  Told told;
  auto lead = flights.Enter("key", kEarly, told.Hear()).lead;
  const auto bad = [](const auto&) { throw std::runtime_error("broken"); };
  CHECK(flights.Enter("key", kEarly, bad).joined);
  CHECK(flights.Enter("key", kEarly, told.Hear()).joined);
  lead->Land(std::make_shared<const std::string>("answer"));
  CHECK(told.all == std::vector<std::string>{"answer"});
}

TEST_CASE("work that is forgotten is done by those who waited for it", "[single_flight]") {
  Flights flights;
  std::vector<std::function<void(std::string)>> working;
  std::vector<std::string> done;
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 2; ++i) {
    flights.Share(
        "key", kEarly, [&](auto then) { working.emplace_back(std::move(then)); },
        [](const std::string&) { return true; },
        [&done, held](SharedAnswer<std::string> answer, bool) {
          done.push_back(std::move(answer).Take());
        });
  }
  REQUIRE(working.size() == 1);
  { const auto forgotten = std::exchange(working.front(), nullptr); }
  REQUIRE(working.size() == 2);
  CHECK(held.use_count() == 2);  // whoever waited for the first is told by dropping what he gave
  working.back()("own");
  CHECK(done == std::vector<std::string>{"own"});
}

}  // namespace chatchain
