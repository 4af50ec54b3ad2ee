// SPDX-License-Identifier: MIT
// Writes the Prometheus text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). A value object, one page each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chatchain {

class MetricsText {
 public:
  using Labels = std::vector<std::pair<std::string_view, std::string>>;

  // Begins a family; its samples follow. `type`: counter, gauge or histogram.
  void Family(std::string_view name, std::string_view type, std::string_view help);
  // A sample of the family that was begun last; `suffix` is appended to its name ("_bucket").
  void Sample(const Labels& labels, double value, std::string_view suffix = {});
  void Sample(double value) { Sample({}, value); }

  std::string Take() { return std::move(text_); }
  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  std::string text_;
  std::string family_;
};

}  // namespace chatchain
