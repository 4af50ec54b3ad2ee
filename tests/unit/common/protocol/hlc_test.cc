// SPDX-License-Identifier: MIT
#include "common/protocol/hlc.h"

#include <catch2/catch.hpp>
#include <limits>
#include <set>
#include <thread>
#include <vector>

#include "common/protocol/limits.h"

namespace chatchain {

namespace {

class ManualClock final : public Clock {
 public:
  int64_t WallMs() const override { return wall_ms; }
  SteadyTime Steady() const override { return {}; }
  std::atomic<int64_t> wall_ms{0};
};

constexpr int64_t kNow_ms = 1'700'000'000'000;

}  // namespace

TEST_CASE("stamps: 48 bits of ms, 16 of counter", "[hlc]") {
  CHECK(StampFromMs(1) == 0x10000);
  CHECK(StampMs(0x1ffff) == 1);
  CHECK(StampFromMs(0) == 0);
  CHECK(StampFromMs(-1) == 0);
  CHECK(StampFromMs(std::numeric_limits<int64_t>::min()) == 0);
  CHECK(StampFromMs((int64_t{1} << 48) - 1) == 0xffffffffffff0000);
  CHECK(StampFromMs(int64_t{1} << 48) == 0xffffffffffff0000);
  CHECK(StampFromMs(std::numeric_limits<int64_t>::max()) == 0xffffffffffff0000);
  CHECK(StampMs(std::numeric_limits<Stamp>::max()) == (int64_t{1} << 48) - 1);
}

TEST_CASE("Next grows whatever the clock does", "[hlc]") {
  ManualClock clock;
  Hlc hlc(clock);
  Stamp previous = 0;
  for (int64_t wall_ms :
       {kNow_ms, kNow_ms, kNow_ms + 1, kNow_ms - 3'600'000, int64_t{0}, int64_t{-5}, kNow_ms + 2}) {
    clock.wall_ms = wall_ms;
    const Stamp next = hlc.Next();
    CHECK(next > previous);
    previous = next;
  }
  CHECK(previous == StampFromMs(kNow_ms + 2));
  // A counter that runs over goes on in the next millisecond.
  for (int i = 0; i < 0x10000; ++i) hlc.Next();
  CHECK(hlc.Next() == StampFromMs(kNow_ms + 3) + 1);
}

TEST_CASE("Next on many threads gives each stamp once", "[hlc]") {
  ManualClock clock;
  clock.wall_ms = kNow_ms;
  Hlc hlc(clock);
  std::vector<std::vector<Stamp>> given(4);
  std::vector<std::thread> threads;
  for (auto& stamps : given) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) stamps.push_back(hlc.Next());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Stamp> all;
  for (const auto& stamps : given) {
    CHECK(std::is_sorted(stamps.begin(), stamps.end()));
    all.insert(stamps.begin(), stamps.end());
  }
  CHECK(all.size() == 8000);
}

TEST_CASE("Observe follows within 60 s and never back", "[hlc]") {
  ManualClock clock;
  clock.wall_ms = kNow_ms;
  Hlc hlc(clock);
  hlc.Observe(StampFromMs(kNow_ms + 100) + 7);
  CHECK(hlc.Next() == StampFromMs(kNow_ms + 100) + 8);
  hlc.Observe(StampFromMs(kNow_ms - 100));
  CHECK(hlc.Next() == StampFromMs(kNow_ms + 100) + 9);
  hlc.Observe(StampFromMs(kNow_ms + limits::kStampLeadMax_ms + 1));
  CHECK(hlc.Next() == StampFromMs(kNow_ms + 100) + 10);
  hlc.Observe(std::numeric_limits<Stamp>::max());
  CHECK(hlc.Next() == StampFromMs(kNow_ms + 100) + 11);
  // The bound is whole: anything of the millisecond at +60 s is still followed.
  hlc.Observe(StampFromMs(kNow_ms + limits::kStampLeadMax_ms) + 0xffff);
  CHECK(hlc.Next() == StampFromMs(kNow_ms + limits::kStampLeadMax_ms + 1));
}

TEST_CASE("Accept takes a given stamp unless it is more than 60 s ahead", "[hlc]") {
  ManualClock clock;
  clock.wall_ms = kNow_ms;
  Hlc hlc(clock);
  CHECK(hlc.Accept(std::nullopt) == StampFromMs(kNow_ms));
  // The same stamp again, an old one, the oldest one: as given.
  CHECK(hlc.Accept(StampFromMs(kNow_ms)) == StampFromMs(kNow_ms));
  CHECK(hlc.Accept(StampFromMs(1) + 5) == StampFromMs(1) + 5);
  CHECK(hlc.Accept(Stamp{0}) == 0);
  const Stamp ahead = StampFromMs(kNow_ms + limits::kStampLeadMax_ms) + 3;
  CHECK(hlc.Accept(ahead) == ahead);
  CHECK(hlc.Accept(std::nullopt) == ahead + 1);

  Hlc fresh(clock);
  CHECK(fresh.Accept(StampFromMs(kNow_ms + limits::kStampLeadMax_ms + 1)) == StampFromMs(kNow_ms));
  CHECK(fresh.Accept(std::numeric_limits<Stamp>::max()) == StampFromMs(kNow_ms) + 1);
}

TEST_CASE("the offset of the peers moves the clock and its bound", "[hlc]") {
  ManualClock clock;
  clock.wall_ms = kNow_ms - 3'600'000;  // an hour slow
  Hlc hlc(clock);
  CHECK(hlc.Accept(StampFromMs(kNow_ms)) == StampFromMs(kNow_ms - 3'600'000));
  hlc.set_offset_ms(3'600'000);
  CHECK(hlc.NowMs() == kNow_ms);
  CHECK(hlc.Accept(StampFromMs(kNow_ms)) == StampFromMs(kNow_ms));
  CHECK(hlc.Next() == StampFromMs(kNow_ms) + 1);

  ManualClock fast;
  fast.wall_ms = kNow_ms + 3'600'000;
  Hlc corrected(fast);
  corrected.set_offset_ms(-3'600'000);
  CHECK(corrected.Next() == StampFromMs(kNow_ms));
  CHECK(corrected.Accept(StampFromMs(kNow_ms + 120'000)) == StampFromMs(kNow_ms) + 1);
}

TEST_CASE("FormatTime", "[hlc]") {
  const std::vector<std::pair<int64_t, std::string>> rows = {
      {0, "1970-01-01T00:00:00.000Z"},
      {1, "1970-01-01T00:00:00.001Z"},
      {999, "1970-01-01T00:00:00.999Z"},
      {86'399'999, "1970-01-01T23:59:59.999Z"},
      {86'400'000, "1970-01-02T00:00:00.000Z"},
      {951'782'400'000, "2000-02-29T00:00:00.000Z"},
      {1'795'248'930'123, "2026-11-21T08:15:30.123Z"},
      {253'402'300'799'999, "9999-12-31T23:59:59.999Z"},
      {253'402'300'800'000, "9999-12-31T23:59:59.999Z"},
      {StampMs(std::numeric_limits<Stamp>::max()), "9999-12-31T23:59:59.999Z"},
      {std::numeric_limits<int64_t>::max(), "9999-12-31T23:59:59.999Z"},
      {-1, "1969-12-31T23:59:59.999Z"},
      {-86'400'001, "1969-12-30T23:59:59.999Z"},
      {-62'167'219'200'000, "0000-01-01T00:00:00.000Z"},
      {-62'167'219'200'001, "0000-01-01T00:00:00.000Z"},
      {std::numeric_limits<int64_t>::min(), "0000-01-01T00:00:00.000Z"},
  };
  for (const auto& [ms, text] : rows) CHECK(FormatTime(ms) == text);
}

TEST_CASE("ParseTime: what is read", "[hlc]") {
  const std::vector<std::pair<std::string, int64_t>> rows = {
      {"0", 0},
      {"-0", 0},
      {"1697913600", 1697913600000},
      {"-1", -1000},
      {"007", 7000},
      {"9007199254740992", 9007199254740992000},
      {"-9007199254740992", -9007199254740992000},
      {"1970-01-01T00:00:00Z", 0},
      {"2026-11-21T08:15:30.123Z", 1795248930123},
      {"2026-11-21T08:15:30Z", 1795248930000},
      {"2026-11-21t08:15:30z", 1795248930000},
      {"2026-11-21 08:15:30Z", 1795248930000},
      {"2026-11-21T08:15:30.1Z", 1795248930100},
      {"2026-11-21T08:15:30.12Z", 1795248930120},
      {"2026-11-21T08:15:30.123000Z", 1795248930123},
      {"2026-11-21T08:15:30.1230001Z", 1795248930124},
      {"2026-11-21T08:15:30.9999Z", 1795248931000},
      {"2026-11-21T08:15:30.00000000000000000000000000000000000001Z", 1795248930001},
      {"2026-11-21T09:15:30+01:00", 1795248930000},
      {"2026-11-21T09:15:30 01:00", 1795248930000},  // `+` of a query, not encoded
      {"2026-11-21T02:45:30-05:30", 1795248930000},
      {"2026-11-21T08:15:30-00:00", 1795248930000},
      {"2026-11-22T08:14:30+23:59", 1795248930000},
      {"1969-12-31T23:59:59.5Z", -500},
      {"1969-12-31T23:59:59.9991Z", 0},
      {"2024-02-29T00:00:00Z", 1709164800000},
      {"2016-12-31T23:59:60Z", 1483228800000},
      {"2016-12-31T18:59:60.5-05:00", 1483228800500},
      {"0000-01-01T00:00:00Z", -62167219200000},
      {"9999-12-31T23:59:59.999Z", 253402300799999},
  };
  for (const auto& [text, ms] : rows) {
    INFO(text);
    CHECK(ParseTime(text) == ms);
  }
}

TEST_CASE("ParseTime: what is refused", "[hlc]") {
  for (const std::string& text : std::vector<std::string>{"",
                                                          " ",
                                                          "now",
                                                          "+1",
                                                          " 1",
                                                          "1 ",
                                                          "1.5",
                                                          "1e3",
                                                          "0x10",
                                                          "--1",
                                                          "NaN",
                                                          "inf",
                                                          "9007199254740993",
                                                          "-9007199254740993",
                                                          "99999999999999999999999",
                                                          "2026-11",
                                                          "2026-11-21Z",
                                                          "2026-11-21T08:15Z",
                                                          "2026-11-21T08:15:30",
                                                          "2026-11-21T08:15:30.Z",
                                                          "2026-11-21T08:15:30,5Z",
                                                          "2026-11-21T08:15:30ZZ",
                                                          "2026-11-21T08:15:30Z ",
                                                          "2026-11-21T08:15:30+0100",
                                                          "2026-11-21T08:15:30+01",
                                                          "2026-11-21T08:15:30+24:00",
                                                          "2026-11-21T08:15:30+01:60",
                                                          "2026-11-21T08:15:30+1:00",
                                                          "2026-11-21T24:00:00Z",
                                                          "2026-11-21T08:60:00Z",
                                                          "2026-11-21T08:15:61Z",
                                                          "2026-11-21T08:15:60Z",
                                                          "2026-02-29T00:00:00Z",
                                                          "2100-02-29T00:00:00Z",
                                                          "2026-13-01T00:00:00Z",
                                                          "2026-00-01T00:00:00Z",
                                                          "2026-01-00T00:00:00Z",
                                                          "2026-04-31T00:00:00Z",
                                                          "02026-11-21T08:15:30Z",
                                                          "-026-11-21T08:15:30Z",
                                                          "2026/11/21T08:15:30Z",
                                                          "2026-11-21T08:15:-1Z",
                                                          "2026-11-21T08:15:30\xe2\x88\x92"
                                                          "01:00",
                                                          std::string("2026-11-21T08:15:30Z\0", 21),
                                                          std::string("5\0", 2)}) {
    INFO(text);
    CHECK_FALSE(ParseTime(text));
  }
}

TEST_CASE("what FormatTime writes, ParseTime reads", "[hlc]") {
  for (int64_t ms = -62'167'219'200'000; ms <= 253'402'300'799'999; ms += 86'399'999'977) {
    if (ParseTime(FormatTime(ms)) != ms) FAIL_CHECK(ms);
  }
}

}  // namespace chatchain
