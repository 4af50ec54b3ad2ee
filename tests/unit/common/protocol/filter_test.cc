// SPDX-License-Identifier: MIT
#include "common/protocol/filter.h"

#include <catch2/catch.hpp>

namespace chatchain {

TEST_CASE("a filter of one message is that of a list", "[filter]") {
  const Message direct{.sender = "ann", .recipient = "bob", .text = "x"};
  const Message room{.sender = "ann", .room = "tea", .text = "x"};
  const Message self{.sender = "ann", .recipient = "ann", .text = "x"};
  const Stamp stamp = StampFromMs(5000) + 7;
  const auto with = [](auto set) {
    Filter filter;
    set(filter);
    return filter;
  };
  const Filter sender = with([](Filter& f) { f.sender = "ann"; });
  CHECK(Matches({}, direct, stamp));
  CHECK(Matches(sender, room, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.sender = "bob"; }), direct, stamp));
  CHECK(Matches(with([](Filter& f) { f.recipient = "bob"; }), direct, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.recipient = "bob"; }), room, stamp));
  CHECK(Matches(with([](Filter& f) { f.room = "tea"; }), room, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.room = "tea"; }), direct, stamp));
  for (const char* name : {"ann", "bob"}) {
    CHECK(Matches(with([&](Filter& f) { f.participants = {name}; }), direct, stamp));
  }
  CHECK_FALSE(Matches(with([](Filter& f) { f.participants = {"eve"}; }), direct, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.participants = {"bob"}; }), room, stamp));
  const Filter both = with([](Filter& f) { f.participants = {"bob", "ann"}; });
  CHECK(Matches(both, direct, stamp));
  CHECK_FALSE(Matches(both, room, stamp));
  CHECK_FALSE(Matches(both, self, stamp));
  CHECK(Matches(with([](Filter& f) { f.participants = {"ann", "ann"}; }), self, stamp));
  CHECK(Matches(with([](Filter& f) { f.since_ms = 5000; }), direct, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.since_ms = 5001; }), direct, stamp));
  CHECK(Matches(with([](Filter& f) { f.until_ms = 5001; }), direct, stamp));
  CHECK_FALSE(Matches(with([](Filter& f) { f.until_ms = 5000; }), direct, stamp));
}

}  // namespace chatchain
