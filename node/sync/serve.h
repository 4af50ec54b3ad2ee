// SPDX-License-Identifier: MIT
// The answering side of POST /sync: from a puller's `have`, the records that it lacks. Pure: reads
// a snapshot through LogReader, keeps nothing per puller.
#pragma once

#include <string>
#include <vector>

#include "common/protocol/sync.h"
#include "node/sync/log_reader.h"

namespace chatchain {

struct Served {
  SyncAnswer answer;         // without records
  std::string records_json;  // what belongs between its brackets
  size_t records = 0;
  // What the puller is proven to hold, or is taken to hold, of the epochs here: forked epochs,
  // damaged ones and unproven heads of our own origin are left out.
  HeadVector holds;
  Findings findings;
};

struct ServeContext {
  const LogState& state;
  LogReader& reader;
  std::string_view cluster;
  std::string_view node_id;
  std::string_view instance;
};

// REQUIRES: request.cluster == context.cluster.
Served ServeSync(const SyncRequest& request, const ServeContext& context);

// True when ServeSync has something to give to that request: what a long poll waits for.
bool HasNews(const SyncRequest& request, const LogState& state, std::string_view node_id);

}  // namespace chatchain
