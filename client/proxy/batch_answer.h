// SPDX-License-Identifier: MIT
// The answer to POST /messages/batch, taken apart. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/proxy/write_op.h"

namespace chatchain {

// One report an item, with views into `body`; nothing when it is not an answer to `expected` items.
std::optional<std::vector<ItemReport>> ParseBatchAnswer(std::string_view body, size_t expected);

// "copies" of a message object; 0 when it has none.
int CopiesOf(std::string_view message);
// The message object with "copies" set to `copies`. REQUIRES: `message` is an object.
std::string WithCopies(std::string_view message, int copies);

}  // namespace chatchain
