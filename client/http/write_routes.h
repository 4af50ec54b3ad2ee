// SPDX-License-Identifier: MIT
// POST /messages and POST /messages/batch at the proxy: bad input is answered here, by the same functions
// as at a node; key and stamp are made once; then one call.
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
};

http::Response SendMessage(const WriteRouteContext& context, const http::Request& request);
http::Response SendBatch(const WriteRouteContext& context, const http::Request& request);

}  // namespace chatchain
