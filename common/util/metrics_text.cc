// SPDX-License-Identifier: MIT
#include "common/util/metrics_text.h"

#include <array>
#include <charconv>

namespace chatchain {

void MetricsText::Family(std::string_view name, std::string_view type, std::string_view help) {
  family_ = name;
  text_ += "# HELP " + family_ + " ";
  text_ += help;
  text_ += "\n# TYPE " + family_ + " ";
  text_ += type;
  text_ += '\n';
}

void MetricsText::Sample(const Labels& labels, double value, std::string_view suffix) {
  text_ += family_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [name, content] : labels) {
    text_ += separator;
    separator = ',';
    text_ += name;
    text_ += "=\"";
    for (const char c : content) {
      if (c == '\\' || c == '"') text_ += '\\';
      if (c == '\n') {
        text_ += "\\n";
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }
  if (separator == ',') text_ += '}';
  text_ += ' ';
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  text_.append(digits.data(), end);
  text_ += '\n';
}

}  // namespace chatchain
