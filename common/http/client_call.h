// SPDX-License-Identifier: MIT
// Client::Start(): a call that waits on an event loop and costs no thread.
#pragma once

#include <memory>

#include "common/http/client.h"
#include "common/http/client_core.h"
#include "common/http/event_loop.h"

namespace chatchain::http {

void StartCall(EventLoop& loop, std::shared_ptr<ClientCore> core, ClientRequest request,
               SteadyTime deadline, std::shared_ptr<Cancellation::State> cancellation,
               Client::Done done);

}  // namespace chatchain::http
