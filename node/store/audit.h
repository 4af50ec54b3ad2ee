// SPDX-License-Identifier: MIT
// Checks a whole database: every digest and every chain is computed anew, SQLite checks the file,
// and what is derived from the records (heads, stamps, the index by name) is compared with them.
// Reads only, in short snapshots, so a node that writes the same file meanwhile is not held up;
// only SQLite's own check holds one snapshot from its beginning to its end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/record.h"
#include "common/util/result.h"
#include "node/store/sqlite.h"
#include "node/sync/log_reader.h"

namespace chatchain {

struct AuditOptions {
  // Told now and then what is being done, and how far it is (0..1).
  std::function<void(std::string_view step, double part)> progress;
  // Asked now and then: true ends the audit.
  std::function<bool()> stop;
  size_t max_named = 20;  // damage beyond is counted only
};

struct AuditReport {
  std::string cluster;
  std::map<EpochKey, LogState::EpochState> epochs;  // as the database has them
  HeadVector heads;                                 // of those that are not frozen
  uint64_t records = 0;                             // checked
  uint64_t messages = 0;
  uint64_t damaged = 0;            // places
  std::vector<std::string> named;  // the first of them, in the order of the log; a line each
};

// The error is one line: it could not be checked, which says nothing about damage.
// REQUIRES: no transaction is open.
Result<AuditReport, std::string> Audit(Database& db, const AuditOptions& options);

}  // namespace chatchain
