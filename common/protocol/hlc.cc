// SPDX-License-Identifier: MIT
#include "common/protocol/hlc.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "common/protocol/limits.h"

namespace chatchain {

namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr int64_t kMsMax = (int64_t{1} << 48) - 1;
constexpr int64_t kYear0_ms = -62167219200000;
constexpr int64_t kYear9999End_ms = 253402300799999;
constexpr int64_t kMsPerDay = 86'400'000;

// Exactly `digits` decimal digits off the front.
bool TakeNumber(std::string_view* text, size_t digits, int* value) {
  if (text->size() < digits) return false;
  *value = 0;
  for (char c : text->substr(0, digits)) {
    if (c < '0' || c > '9') return false;
    *value = *value * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view* text, std::string_view any_of) {
  if (text->empty() || any_of.find(text->front()) == std::string_view::npos) return false;
  text->remove_prefix(1);
  return true;
}

// A fraction of a second in ms, rounded up; 0 when there is none.
bool TakeFraction(std::string_view* text, int* ms) {
  *ms = 0;
  if (!TakeChar(text, ".")) return true;
  size_t digits = 0;
  bool finer = false;
  for (; digits < text->size() && (*text)[digits] >= '0' && (*text)[digits] <= '9'; ++digits) {
    const int digit = (*text)[digits] - '0';
    if (digits < 3) {
      *ms = *ms * 10 + digit;
    } else {
      finer = finer || digit != 0;
    }
  }
  if (digits == 0) return false;
  for (size_t i = digits; i < 3; ++i) *ms *= 10;
  if (finer) ++*ms;
  text->remove_prefix(digits);
  return true;
}

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0, fraction_ms = 0;
  if (!TakeNumber(&text, 4, &y) || !TakeChar(&text, "-") || !TakeNumber(&text, 2, &mo) ||
      !TakeChar(&text, "-") || !TakeNumber(&text, 2, &d) || !TakeChar(&text, "Tt ") ||
      !TakeNumber(&text, 2, &h) || !TakeChar(&text, ":") || !TakeNumber(&text, 2, &mi) ||
      !TakeChar(&text, ":") || !TakeNumber(&text, 2, &s) || !TakeFraction(&text, &fraction_ms)) {
    return std::nullopt;
  }
  int offset_min = 0;
  if (!TakeChar(&text, "Zz")) {
    const bool west = !text.empty() && text.front() == '-';
    int oh = 0, om = 0;
    // A `+` that was not encoded arrives as a space (form encoding of queries).
    if (!TakeChar(&text, "+- ") || !TakeNumber(&text, 2, &oh) || !TakeChar(&text, ":") ||
        !TakeNumber(&text, 2, &om) || oh > 23 || om > 59) {
      return std::nullopt;
    }
    offset_min = (oh * 60 + om) * (west ? -1 : 1);
  }
  const year_month_day date{year{y}, month{static_cast<unsigned>(mo)},
                            day{static_cast<unsigned>(d)}};
  if (!text.empty() || !date.ok() || h > 23 || mi > 59 || s > 60) return std::nullopt;
  const int64_t days = sys_days(date).time_since_epoch().count();
  const int64_t minutes = days * 24 * 60 + h * 60 + mi - offset_min;
  // A leap second is the last of a day of UTC; it reads as the second that follows.
  constexpr int kMinutesPerDay = 24 * 60;
  const int64_t of_day = (minutes % kMinutesPerDay + kMinutesPerDay) % kMinutesPerDay;
  if (s == 60 && of_day != kMinutesPerDay - 1) return std::nullopt;
  return (minutes * 60 + s) * 1000 + fraction_ms;
}

}  // namespace

Stamp StampFromMs(int64_t unix_ms) {
  return static_cast<Stamp>(std::clamp<int64_t>(unix_ms, 0, kMsMax)) << 16;
}

std::string FormatTime(int64_t unix_ms) {
  // Counted from year 0, so that division rounds down for times before 1970 as well.
  const int64_t ms = std::clamp(unix_ms, kYear0_ms, kYear9999End_ms) - kYear0_ms;
  const auto of_day = static_cast<int>(ms % kMsPerDay);
  const year_month_day date{sys_days(std::chrono::days(ms / kMsPerDay + kYear0_ms / kMsPerDay))};
  std::string out = "0000-00-00T00:00:00.000Z";
  const auto put = [&out](size_t at, size_t digits, int value) {
    for (; digits > 0; value /= 10) out[at + --digits] = static_cast<char>('0' + value % 10);
  };
  put(0, 4, static_cast<int>(date.year()));
  put(5, 2, static_cast<int>(static_cast<unsigned>(date.month())));
  put(8, 2, static_cast<int>(static_cast<unsigned>(date.day())));
  put(11, 2, of_day / 3'600'000);
  put(14, 2, of_day / 60'000 % 60);
  put(17, 2, of_day / 1000 % 60);
  put(20, 3, of_day % 1000);
  return out;
}

std::optional<int64_t> ParseTime(std::string_view text) {
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (seconds > limits::kTimestampMax_s || seconds < -limits::kTimestampMax_s) {
      return std::nullopt;
    }
    return seconds * 1000;
  }
  return ParseRfc3339(text);
}

Stamp Hlc::Next() {
  const Stamp now = StampFromMs(NowMs());
  MutexLock lock(mutex_);
  last_ = std::max(now, last_ + 1);
  return last_;
}

void Hlc::Observe(Stamp stamp) {
  if (StampMs(stamp) > NowMs() + limits::kStampLeadMax_ms) return;
  MutexLock lock(mutex_);
  last_ = std::max(last_, stamp);
}

Stamp Hlc::Accept(std::optional<Stamp> given) {
  if (!given || StampMs(*given) > NowMs() + limits::kStampLeadMax_ms) return Next();
  Observe(*given);
  return *given;
}

}  // namespace chatchain
