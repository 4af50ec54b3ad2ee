// SPDX-License-Identifier: MIT
// How messages look on a terminal. What others wrote can neither drive the terminal nor forge a
// line: one message is one line, and every character that is not plainly visible is shown as an
// escape. Pure; widths are those of the C library's wcwidth() for UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chatchain::terminal {

// Control characters (\n, \t, \r, \xNN), and those that reorder or hide text (\u{NNNN}), escaped.
// REQUIRES: valid UTF-8.
std::string Printable(std::string_view text);
// The same for a whole JSON text, by its own escapes: it stays the same JSON.
std::string PrintableJson(std::string_view json);
// Columns of a terminal that `text` takes. REQUIRES: of Printable().
size_t Width(std::string_view text);

struct Style {
  bool colour = false;
  // `text` as it is, or between `code` (e.g. "2" for dim) and its end.
  std::string Paint(std::string_view text, std::string_view code) const;
};

// Messages in columns: time, sender, recipient or #room, text. A column is as wide as its widest
// value so far, within bounds.
class MessageColumns {
 public:
  explicit MessageColumns(Style style) : style_(style) {}
  struct Row {
    std::string time;  // as LocalTime() gives it
    std::string sender;
    std::string to;
    std::string text;
  };
  // Makes room for a row that is to come: with all of a page known, the page is aligned.
  void Expect(const Row& row);
  std::string Line(const Row& row);

 private:
  const Style style_;
  size_t sender_width_ = 8;
  size_t to_width_ = 8;
};

// "2026-11-21 08:15:30" in the time zone of the process.
std::string LocalTime(int64_t unix_ms);

// Aligned columns with a first row of names; the last column is not filled up.
std::string Table(const std::vector<std::vector<std::string>>& rows, Style style);

}  // namespace chatchain::terminal
