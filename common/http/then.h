// SPDX-License-Identifier: MIT
// What is done with every answer, also with one that comes later.
#pragma once

#include <functional>

#include "common/http/message.h"

namespace chatchain::http {

// finish(answer), now or when the answer is there: on an event loop too where the answer is
// finished at once. What `finish` refers to must live until then; the request does.
Response Then(Response response, std::function<Response(Response)> finish);

// The same for a `finish` that may block: never on an event loop. REQUIRES, on one: not live, no
// WebSocket.
Response ThenOnWorker(Response response, std::function<Response(Response)> finish);

}  // namespace chatchain::http
