// SPDX-License-Identifier: MIT
// What the proxy says of itself and of the network: /network, /readyz, /metrics. Pure renderings.
#pragma once

#include <string>

#include "client/config.h"
#include "client/proxy/proxy.h"
#include "common/http/server.h"

namespace chatchain {

std::string NetworkJson(const NetworkReport& network);

// The body of /readyz. `draining` wins over what the nodes are.
std::string ReadyJson(const NetworkReport& network, bool draining);

// Prometheus text format 0.0.4.
std::string RenderMetrics(Proxy& proxy, const http::ServerStats& server);

}  // namespace chatchain
