// SPDX-License-Identifier: MIT
// JSON as programs write it, read several times faster than the library does: into the same events.
// It is no judge: whatever it does not take at once is left to the library, which decides, and
// finds the words for what is wrong. So it must never take what the library would refuse, nor read
// it otherwise.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace chatchain {

// False: `text` is not JSON, or has something rare (a byte-order mark, a fraction, a number of more
// than 18 digits), or `events` said no. Some events have been given then: begin anew with fresh
// ones.
bool ScanJson(std::string_view text, nlohmann::json_sax<nlohmann::json>* events);

}  // namespace chatchain
