// SPDX-License-Identifier: MIT
#include "common/util/usage.h"

#include <algorithm>

namespace chatchain {

namespace {

constexpr size_t kLineWidth = 100;

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string Wrapped(std::string_view text, std::string_view indent) {
  std::string out;
  std::string line(indent);
  for (const std::string& word : Split(text, ' ')) {
    if (line.size() > indent.size() && line.size() + 1 + word.size() > kLineWidth) {
      out += line + "\n";
      line = indent;
    }
    if (line.size() > indent.size()) line += ' ';
    line += word;
  }
  return out + line + "\n";
}

std::string DidYouMean(std::string_view wrong, const std::vector<std::string>& candidates) {
  const std::string* nearest = nullptr;
  size_t distance = std::max<size_t>(2, std::min<size_t>(wrong.size(), 100) / 4) + 1;
  for (const std::string& candidate : candidates) {
    // The right name in the wrong table, or in none.
    const size_t here =
        candidate.substr(candidate.find('.') + 1) == wrong.substr(wrong.find('.') + 1)
            ? 1
            : EditDistance(wrong.substr(0, 100), candidate);
    if (here < distance) {
      nearest = &candidate;
      distance = here;
    }
  }
  return nearest == nullptr ? "" : "; did you mean \"" + *nearest + "\"?";
}

}  // namespace chatchain
