// SPDX-License-Identifier: MIT
// What is done with every answer, also with one that comes later.
#pragma once

#include <functional>

#include "common/http/message.h"

namespace chatchain::http {

// finish(answer), now or when the answer is there, then on a worker thread. What `finish` refers to
// must live until then; the request does.
Response Then(Response response, std::function<Response(Response)> finish);

}  // namespace chatchain::http
