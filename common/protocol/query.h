// SPDX-License-Identifier: MIT
// What a reader asks for: filters, order, page size, cursor; and the headers that go with requests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/problem.h"

namespace chatchain {

using QueryParams = std::vector<std::pair<std::string, std::string>>;

// All that are set must hold.
struct Filter {
  std::string sender;                     // empty: any
  std::string recipient;                  // empty: any
  std::string room;                       // empty: any
  std::vector<std::string> participants;  // at most 2; each is the sender or the recipient
  std::optional<int64_t> since_ms;        // inclusive, on acceptance time
  std::optional<int64_t> until_ms;        // exclusive
};

struct ListQuery {
  Filter filter;
  bool descending = false;
  std::optional<size_t> limit;        // none: the default of the answer's form
  std::optional<std::string> cursor;  // as text

  // Of filters and order: equal for two queries that walk the same history the same way.
  uint64_t Hash() const;
};

// The parameters of GET /messages. 400 for an unknown or repeated one, 422 for a bad value.
Try<ListQuery> ParseListQuery(const QueryParams& params);
// 400 when there is any parameter at all.
std::optional<Problem> RefuseParams(const QueryParams& params);

// ChatChain-Acks.
struct Acks {
  enum class Kind { kCount, kMajority, kAll };
  Kind kind = Kind::kCount;
  int count = 1;

  int Needed(int configured_nodes) const;
};
// `text` is the header's value. 422 when it is not 1..configured_nodes, majority or all.
Try<Acks> ParseAcks(std::string_view text, int configured_nodes);

}  // namespace chatchain
