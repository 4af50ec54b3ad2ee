// SPDX-License-Identifier: MIT
// The hub's part of /metrics, the same at a node and at the proxy.
#pragma once

#include "common/feed/hub.h"
#include "common/util/metrics_text.h"

namespace chatchain::feed {

void AppendMetrics(const HubStats& stats, MetricsText* text);

}  // namespace chatchain::feed
