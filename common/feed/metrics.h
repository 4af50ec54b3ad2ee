// SPDX-License-Identifier: MIT
// The part of /metrics that is of the hub and of waiting polls, the same at a node and at the
// proxy.
#pragma once

#include <cstdint>

#include "common/feed/hub.h"
#include "common/util/metrics_text.h"

namespace chatchain::feed {

void AppendMetrics(const HubStats& stats, uint64_t waiting_polls, MetricsText* text);

}  // namespace chatchain::feed
