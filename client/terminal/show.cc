// SPDX-License-Identifier: MIT
#include "client/terminal/show.h"

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <cwchar>

namespace chatchain::terminal {

namespace {

constexpr size_t kColumnMax = 20;  // wider names push their own line to the right
constexpr size_t kGap = 2;

// Takes one code point off the front. REQUIRES: valid UTF-8, not empty.
uint32_t TakeCodePoint(std::string_view* text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>((*text)[i]); };
  size_t length = 1;
  uint32_t value = byte(0);
  if (value >= 0xf0) {
    length = 4;
    value &= 0x07;
  } else if (value >= 0xe0) {
    length = 3;
    value &= 0x0f;
  } else if (value >= 0xc0) {
    length = 2;
    value &= 0x1f;
  }
  length = std::min(length, text->size());
  for (size_t i = 1; i < length; ++i) value = (value << 6) | (byte(i) & 0x3f);
  text->remove_prefix(length);
  return value;
}

bool IsControl(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f);
}

// Characters that end lines, reorder what stands around them, or are not seen at all.
bool IsDeceptive(uint32_t c) {
  return c == 0x00ad || c == 0x061c || c == 0x180e || c == 0x200b || c == 0x200e || c == 0x200f ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb);
}

template <typename Escape>
std::string Escaped(std::string_view text, Escape escape) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::string_view rest = text;
    const uint32_t c = TakeCodePoint(&text);
    if (IsControl(c) || IsDeceptive(c)) {
      out += escape(c);
    } else {
      out.append(rest.substr(0, rest.size() - text.size()));
    }
  }
  return out;
}

template <typename... Values>
std::string Formatted(const char* format, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

// wcwidth() speaks of the locale's characters.
bool SpeaksUtf8() {
  return std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr;
}

std::string Padded(std::string text, size_t width) {
  const size_t have = Width(text);
  if (have < width) text.append(width - have, ' ');
  return text;
}

}  // namespace

std::string Printable(std::string_view text) {
  return Escaped(text, [](uint32_t c) -> std::string {
    switch (c) {
      case '\n': return "\\n";
      case '\r': return "\\r";
      case '\t': return "\\t";
      default: break;
    }
    return c < 0x100 ? Formatted("\\x%02x", c) : Formatted("\\u{%x}", c);
  });
}

std::string PrintableJson(std::string_view json) {
  return Escaped(json, [](uint32_t c) { return Formatted("\\u%04x", c); });
}

size_t Width(std::string_view text) {
  static const bool utf8 = SpeaksUtf8();
  size_t width = 0;
  while (!text.empty()) {
    const uint32_t c = TakeCodePoint(&text);
    // Characters that are newer than the C library have no width: one column is a guess.
    const int columns = c < 0x7f || !utf8 ? 1 : wcwidth(static_cast<wchar_t>(c));
    width += columns < 0 ? 1 : static_cast<size_t>(columns);
  }
  return width;
}

std::string Style::Paint(std::string_view text, std::string_view code) const {
  if (!colour) return std::string(text);
  std::string painted = "\x1b[";
  return painted.append(code).append("m").append(text).append("\x1b[0m");
}

void MessageColumns::Expect(const Row& row) {
  sender_width_ = std::max(sender_width_, std::min(Width(row.sender), kColumnMax));
  to_width_ = std::max(to_width_, std::min(Width(row.to), kColumnMax));
}

std::string MessageColumns::Line(const Row& row) {
  Expect(row);
  const std::string gap(kGap, ' ');
  return style_.Paint(row.time, "2") + gap + style_.Paint(Padded(row.sender, sender_width_), "1") +
         gap + style_.Paint(Padded(row.to, to_width_), "36") + gap + row.text + "\n";
}

std::string LocalTime(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm local{};
  std::array<char, 64> text{};
  localtime_r(&seconds, &local);
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return text.data();
}

std::string Table(const std::vector<std::vector<std::string>>& rows, Style style) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i + 1 < row.size() ? Padded(row[i], widths[i] + kGap) : row[i];
    }
    while (line.ends_with(' ')) line.pop_back();
    out += (&row == &rows.front() ? style.Paint(line, "1") : line) + "\n";
  }
  return out;
}

}  // namespace chatchain::terminal
