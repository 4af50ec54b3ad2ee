// SPDX-License-Identifier: MIT
#include "client/proxy/single_flight.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

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
        [&](std::string answer, bool shared) { done.emplace_back(std::move(answer), shared); });
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

}  // namespace chatchain
