// SPDX-License-Identifier: MIT
// The pulling side of POST /sync: what an answer may change here. Pure: an answer and the state
// that it was asked with go in, verified runs of records and findings come out. Nothing that has
// not passed here reaches the store.
#pragma once

#include <string>
#include <vector>

#include "common/protocol/sync.h"
#include "node/sync/log_reader.h"

namespace chatchain {

struct VerifiedRecord {
  Record record;
  std::optional<ValidMessage> message;  // none: a copy is held already, see `id`
  std::optional<std::string> payload;   // of a kind that we do not know
  std::optional<MessageId> id;          // hint for the copy that is held
};

// Records of one epoch without a gap, each proven against the chain that starts at `base`.
struct VerifiedRun {
  EpochKey epoch;
  Position base;
  std::vector<VerifiedRecord> records;
};

struct Verdict {
  std::vector<VerifiedRun> runs;
  std::vector<std::string> refused;  // what failed a check, for the log
  Findings findings;
};

struct VerifyContext {
  const LogState& state;  // at the time of the request or later
  std::string_view cluster;
  std::string_view node_id;
  std::string_view instance;
};

// Where the runs end.
HeadVector EndsOf(const std::vector<VerifiedRun>& runs);

// `state` as it will be when runs that end at `ends` are written: the next answer, asked for with
// SyncRequest::ahead, is checked with it. What it makes findings of is not there yet, and has to be
// looked for again.
LogState StateAfter(const LogState& state, const HeadVector& ends);

// `ChainAt` of our own log decides about heads that lie within it.
Verdict VerifyAnswer(SyncAnswer&& answer, const VerifyContext& context, LogReader& reader);

}  // namespace chatchain
