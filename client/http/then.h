// SPDX-License-Identifier: MIT
// What is done with every answer, also with one that comes later.
#pragma once

#include <functional>

#include "common/http/message.h"

namespace chatchain {

// finish(answer), now or when the answer is there, then on a worker thread. What `finish` refers to
// must live until then; the request does.
http::Response Then(http::Response response, std::function<http::Response(http::Response)> finish);

}  // namespace chatchain
