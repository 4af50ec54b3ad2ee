// SPDX-License-Identifier: MIT
#include "common/protocol/query.h"

#include <charconv>
#include <set>

#include "common/protocol/hlc.h"
#include "common/protocol/limits.h"
#include "common/protocol/message.h"
#include "common/util/encoding.h"
#include "common/util/sha256.h"

namespace chatchain {

namespace {

std::optional<int64_t> ParseWhole(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Problem> TakeTime(std::string_view name, const std::string& text,
                                std::optional<int64_t>* ms) {
  *ms = ParseTime(text);
  if (*ms) return std::nullopt;
  return Invalid(name, "must be an RFC 3339 time or whole Unix seconds");
}

std::optional<Problem> TakeName(std::string_view name, const std::string& text,
                                std::string* value) {
  if (!IsUtf8(text)) {
    return BadRequest("the query parameter " + Quoted(name) + " must be valid UTF-8");
  }
  if (const std::string_view rule = NameRule(text); !rule.empty()) return Invalid(name, rule);
  *value = text;
  return std::nullopt;
}

// One parameter. False in `*known` when it is none of GET /messages.
std::optional<Problem> TakeParam(const std::string& name, const std::string& value,
                                 ListQuery* query, bool* known) {
  Filter& filter = query->filter;
  if (name == "sender") return TakeName(name, value, &filter.sender);
  if (name == "recipient") return TakeName(name, value, &filter.recipient);
  if (name == "room") return TakeName(name, value, &filter.room);
  if (name == "since") return TakeTime(name, value, &filter.since_ms);
  if (name == "until") return TakeTime(name, value, &filter.until_ms);
  if (name == "participant") {
    if (filter.participants.size() == 2) return Invalid(name, "can be given at most twice");
    return TakeName(name, value, &filter.participants.emplace_back());
  }
  if (name == "order") {
    if (value != "asc" && value != "desc") return Invalid(name, "must be asc or desc");
    query->descending = value == "desc";
    return std::nullopt;
  }
  if (name == "limit") {
    const auto limit = ParseWhole(value);
    if (!limit || *limit < 1 || *limit > static_cast<int64_t>(limits::kPageMaxMessages)) {
      return Invalid(name, "must be a whole number from 1 to 1000");
    }
    query->limit = static_cast<size_t>(*limit);
    return std::nullopt;
  }
  if (name == "cursor") {
    query->cursor = value;
    return std::nullopt;
  }
  *known = false;
  return std::nullopt;
}

}  // namespace

uint64_t ListQuery::Hash() const {
  std::string bytes;
  AppendSized(&bytes, filter.sender);
  AppendSized(&bytes, filter.recipient);
  AppendSized(&bytes, filter.room);
  // The order in which two participants are named changes nothing.
  for (const auto& name :
       std::multiset<std::string>(filter.participants.begin(), filter.participants.end())) {
    AppendSized(&bytes, name);
  }
  for (const auto& bound : {filter.since_ms, filter.until_ms}) {
    AppendSized(&bytes, bound ? std::to_string(*bound) : "");
  }
  AppendSized(&bytes, descending ? "desc" : "asc");
  return Sha256(bytes).Prefix64();
}

Try<ListQuery> ParseListQuery(const QueryParams& params) {
  ListQuery query;
  std::set<std::string_view> seen;
  for (const auto& [name, value] : params) {
    bool known = true;
    if (name != "participant" && !seen.insert(name).second) {
      return Err(BadRequest("the query parameter " + Quoted(name) + " is given twice"));
    }
    if (auto problem = TakeParam(name, value, &query, &known)) return Err(std::move(*problem));
    if (!known) {
      return Err(BadRequest("unknown query parameter " + Quoted(name) +
                            "; known: limit, order, cursor, sender, recipient, room, "
                            "participant, since, until"));
    }
  }
  return query;
}

std::optional<Problem> RefuseParams(const QueryParams& params) {
  if (params.empty()) return std::nullopt;
  return BadRequest("unknown query parameter " + Quoted(params.front().first) +
                    "; this route takes none");
}

int Acks::Needed(int configured_nodes) const {
  switch (kind) {
    case Kind::kMajority: return configured_nodes / 2 + 1;
    case Kind::kAll: return configured_nodes;
    case Kind::kCount: break;
  }
  return count;
}

Try<Acks> ParseAcks(std::string_view text, int configured_nodes) {
  if (text == "majority") return Acks{.kind = Acks::Kind::kMajority};
  if (text == "all") return Acks{.kind = Acks::Kind::kAll};
  const auto count = ParseWhole(text);
  if (!count || *count < 1 || *count > configured_nodes) {
    return Err(Invalid("ChatChain-Acks", "must be majority, all or a whole number from 1 to " +
                                             std::to_string(configured_nodes)));
  }
  return Acks{.count = static_cast<int>(*count)};
}

}  // namespace chatchain
