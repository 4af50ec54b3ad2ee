// SPDX-License-Identifier: MIT
// A filter applied to one message, for what does not ask a database. Pure.
#pragma once

#include "common/protocol/hlc.h"
#include "common/protocol/message.h"
#include "common/protocol/query.h"

namespace chatchain {

// All that is set in `filter` holds for a message that was accepted at `stamp`.
bool Matches(const Filter& filter, const Message& message, Stamp stamp);

}  // namespace chatchain
