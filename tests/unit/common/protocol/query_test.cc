// SPDX-License-Identifier: MIT
#include "common/protocol/query.h"

#include <catch2/catch.hpp>
#include <set>

namespace chatchain {

TEST_CASE("list query: every parameter, good and bad", "[query]") {
  struct Row {
    std::string name;
    std::string value;
    int status;
  };
  const std::vector<Row> rows = {
      {"limit", "1", 0},
      {"limit", "1000", 0},
      {"limit", "0", 422},
      {"limit", "1001", 422},
      {"limit", "-1", 422},
      {"limit", "", 422},
      {"limit", "1.5", 422},
      {"limit", "1e2", 422},
      {"limit", " 5", 422},
      {"limit", "5 ", 422},
      {"limit", "+5", 422},
      {"limit", "0x10", 422},
      {"limit", "ten", 422},
      {"limit", "99999999999999999999", 422},
      {"limit", std::string("5\0", 2), 422},
      {"order", "asc", 0},
      {"order", "desc", 0},
      {"order", "", 422},
      {"order", "ASC", 422},
      {"order", "ascending", 422},
      {"sender", "user1", 0},
      {"sender", "\xe5\xb0\x8f\xe6\x98\x8e", 0},
      {"sender", std::string(256, 'n'), 0},
      {"sender", std::string(257, 'n'), 422},
      {"sender", "", 422},
      {"sender", "a\nb", 422},
      {"sender", std::string("a\0", 2), 422},
      {"sender", "\xff", 400},
      {"recipient", "user2", 0},
      {"recipient", "", 422},
      {"recipient", "a\x7f", 422},
      {"recipient", "\xe5\xb0", 400},
      {"room", "lobby", 0},
      {"room", "", 422},
      {"room", "\xc2\x85", 422},
      {"room", "\xed\xa0\x80", 400},
      {"participant", "user1", 0},
      {"participant", "", 422},
      {"participant", "\x80", 400},
      {"since", "0", 0},
      {"since", "-5", 0},
      {"since", "2026-11-21T08:15:30.123Z", 0},
      {"since", "2026-11-21T09:15:30 01:00", 0},
      {"since", "", 422},
      {"since", "yesterday", 422},
      {"since", "1.5", 422},
      {"since", "1e30", 422},
      {"since", "2026-11-21", 422},
      {"until", "1697913600", 0},
      {"until", "NaN", 422},
      {"until", "9007199254740993", 422},
      {"cursor", "anything", 0},  // judged by the token codec
      {"cursor", "", 0},
      {"Limit", "5", 400},
      {"limit ", "5", 400},
      {"", "", 400},
      {"offset", "5", 400},
      {"participants", "a", 400},
      {"after", "x", 400},
      {"\xff", "x", 400},
      {std::string("limit\0", 6), "5", 400},
  };
  for (const Row& row : rows) {
    INFO(row.name << "=" << row.value);
    const auto query = ParseListQuery({{row.name, row.value}});
    CHECK(query.has_value() == (row.status == 0));
    if (query) continue;
    CHECK(query.error().status == row.status);
    if (row.status != 422) continue;
    REQUIRE(query.error().errors.size() == 1);
    CHECK(query.error().errors[0].field == row.name);
  }
}

TEST_CASE("list query: what is understood", "[query]") {
  const auto none = ParseListQuery({});
  REQUIRE(none);
  CHECK_FALSE(none->limit);
  CHECK_FALSE(none->descending);
  CHECK_FALSE(none->cursor);
  CHECK_FALSE(none->filter.since_ms);
  CHECK(none->filter.participants.empty());

  const auto query = ParseListQuery({{"participant", "a"},
                                     {"limit", "7"},
                                     {"order", "desc"},
                                     {"cursor", "xyz"},
                                     {"sender", "s"},
                                     {"recipient", "r"},
                                     {"room", "m"},
                                     {"since", "1"},
                                     {"until", "1970-01-01T00:00:02.5Z"},
                                     {"participant", "b"}});
  REQUIRE(query);
  CHECK(query->limit == 7);
  CHECK(query->descending);
  CHECK(query->cursor == "xyz");
  CHECK(query->filter.sender == "s");
  CHECK(query->filter.recipient == "r");
  CHECK(query->filter.room == "m");
  CHECK(query->filter.participants == std::vector<std::string>{"a", "b"});
  CHECK(query->filter.since_ms == 1000);
  CHECK(query->filter.until_ms == 2500);
}

TEST_CASE("list query: each parameter once, participant twice", "[query]") {
  for (const char* name :
       {"limit", "order", "cursor", "sender", "recipient", "room", "since", "until"}) {
    INFO(name);
    const std::string value = std::string(name) == "order" ? "asc" : "5";
    const auto query = ParseListQuery({{name, value}, {name, value}});
    REQUIRE_FALSE(query);
    CHECK(query.error().status == 400);
    CHECK(query.error().detail.find(name) != std::string::npos);
  }
  CHECK(ParseListQuery({{"participant", "a"}, {"participant", "a"}}));
  const auto thrice =
      ParseListQuery({{"participant", "a"}, {"participant", "b"}, {"participant", "c"}});
  REQUIRE_FALSE(thrice);
  CHECK(thrice.error().status == 422);
}

TEST_CASE("a long or odd parameter is not echoed whole", "[query]") {
  const std::string huge(30'000, 'x');
  CHECK(ParseListQuery({{huge, "1"}}).error().detail.size() < 500);
  CHECK(ParseListQuery({{huge, "1"}, {huge, "1"}}).error().detail.size() < 500);
  CHECK(RefuseParams({{huge, "1"}})->detail.size() < 500);
}

TEST_CASE("routes without parameters take none", "[query]") {
  CHECK_FALSE(RefuseParams({}));
  REQUIRE(RefuseParams({{"x", ""}}));
  CHECK(RefuseParams({{"x", ""}})->status == 400);
  CHECK(RefuseParams({{"", ""}}));
}

TEST_CASE("query hash: filters and order, not size and place", "[query]") {
  const auto hash = [](const QueryParams& params) { return ParseListQuery(params)->Hash(); };
  const std::vector<QueryParams> different = {
      {},
      {{"order", "desc"}},
      {{"sender", "a"}},
      {{"recipient", "a"}},
      {{"room", "a"}},
      {{"participant", "a"}},
      {{"participant", "a"}, {"participant", "a"}},
      {{"participant", "a"}, {"participant", "b"}},
      {{"since", "1"}},
      {{"until", "1"}},
      {{"since", "-1"}},
      {{"since", "0"}},
      {{"sender", "a"}, {"recipient", "a"}},
      {{"sender", "a"}, {"order", "desc"}},
      {{"participant", "1000"}},
      {{"sender", "aa"}},
  };
  std::set<uint64_t> hashes;
  for (const QueryParams& params : different) hashes.insert(hash(params));
  CHECK(hashes.size() == different.size());
  CHECK(hash({{"order", "asc"}, {"limit", "5"}}) == hash({{"limit", "7"}, {"cursor", "x"}}));
  CHECK(hash({{"participant", "a"}, {"participant", "b"}}) ==
        hash({{"participant", "b"}, {"participant", "a"}}));
  CHECK(hash({{"since", "1697913600"}}) == hash({{"since", "2023-10-21T18:40:00Z"}}));
}

TEST_CASE("ChatChain-Acks", "[query]") {
  struct Row {
    std::string text;
    int nodes;
    int needed;  // 0: refused
  };
  const std::vector<Row> rows = {{"1", 1, 1},
                                 {"2", 1, 0},
                                 {"1", 3, 1},
                                 {"3", 3, 3},
                                 {"4", 3, 0},
                                 {"0", 3, 0},
                                 {"-1", 3, 0},
                                 {"", 3, 0},
                                 {"1.0", 3, 0},
                                 {" 1", 3, 0},
                                 {"1,2", 3, 0},
                                 {"+1", 3, 0},
                                 {"majority", 1, 1},
                                 {"majority", 2, 2},
                                 {"majority", 3, 2},
                                 {"majority", 4, 3},
                                 {"majority", 5, 3},
                                 {"all", 1, 1},
                                 {"all", 5, 5},
                                 {"All", 3, 0},
                                 {"MAJORITY", 3, 0},
                                 {"any", 3, 0},
                                 {"99999999999999999999", 3, 0},
                                 {"4294967297", 3, 0}};
  for (const Row& row : rows) {
    INFO(row.text << " of " << row.nodes);
    const auto acks = ParseAcks(row.text, row.nodes);
    CHECK(acks.has_value() == (row.needed > 0));
    if (acks) {
      CHECK(acks->Needed(row.nodes) == row.needed);
    } else {
      CHECK(acks.error().status == 422);
      CHECK(acks.error().errors.at(0).field == "ChatChain-Acks");
    }
  }
}

}  // namespace chatchain
