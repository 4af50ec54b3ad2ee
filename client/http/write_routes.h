// SPDX-License-Identifier: MIT
// POST /messages and POST /messages/batch at the proxy: bad input is answered here, by the same
// functions as at a node; key and stamp are made once; then one call. The request's deadline is
// lowered to what ChatChain-Deadline-Ms leaves.
#pragma once

#include "client/proxy/proxy.h"
#include "common/http/message.h"
#include "common/protocol/hlc.h"
#include "common/util/random.h"

namespace chatchain {

struct WriteRouteContext {
  Proxy& proxy;
  Hlc& hlc;
  Random& random;
  const Clock& clock;
};

http::Response SendMessage(const WriteRouteContext& context, http::Request& request);
http::Response SendBatch(const WriteRouteContext& context, http::Request& request);

}  // namespace chatchain
