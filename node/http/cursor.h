// SPDX-License-Identifier: MIT
// The cursor that a client hands back. Pure.
#pragma once

#include <optional>
#include <string>

#include "common/protocol/token.h"

namespace chatchain {

// None for none. 400 for what is no cursor, or belongs to another query than the one of
// `query_hash`.
inline Try<std::optional<Cursor>> TakeCursor(const TokenCodec& tokens,
                                             const std::optional<std::string>& text,
                                             uint64_t query_hash) {
  if (!text) return std::nullopt;
  auto cursor = tokens.DecodeCursor(*text);
  if (!cursor) {
    cursor.error().detail = "cursor: " + cursor.error().detail;
    return Err(std::move(cursor.error()));
  }
  if (cursor->query_hash != query_hash) {
    return Err(BadRequest(
        "cursor: it belongs to another list: other filters, another order or another participant"));
  }
  return std::move(*cursor);
}

}  // namespace chatchain
