// SPDX-License-Identifier: MIT
// Small readings of request headers that several routes share. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "common/http/message.h"

namespace chatchain::http {

// The only value of a header that must not be repeated; 422 when it is.
Try<std::optional<std::string_view>> SingleHeader(const Request& request, std::string_view name);

// True when the Accept header (absent: everything) allows `type`, e.g. "application/json".
bool Accepts(const Request& request, std::string_view type);
// True when it names exactly that type, not only by a wildcard.
bool AcceptsByName(const Request& request, std::string_view type);
Problem NotAcceptable(std::string_view offered);  // 406

// Lowers request.deadline to what ChatChain-Deadline-Ms leaves. 422 for a value that is no whole
// number.
std::optional<Problem> ApplyDeadlineHeader(Request& request, SteadyTime now);

}  // namespace chatchain::http
