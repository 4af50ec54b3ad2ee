// SPDX-License-Identifier: MIT
// POST /sync as values and as JSON. Unknown members are ignored on both sides, so that nodes of two
// versions can live together. What is written here ends with a checksum; what is read is refused if
// it has one that does not fit: a bit that flips on the way must not look like a fork.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/record.h"

namespace chatchain {

struct LogPosition {
  EpochKey epoch;
  Seq seq = 0;

  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

struct SyncRequest {
  std::string cluster;
  std::string node;  // the puller's id
  HeadVector have;
  size_t limit = 1000;                 // records
  size_t max_bytes = 8 * 1024 * 1024;  // of bodies and framing, roughly
  int64_t wait_ms = 0;                 // how long the answer may wait for a first record
  bool relay = true;                   // false: records of the answering node's own origin only

  // Beyond the contract's minimum, all optional:
  std::string instance;         // of the puller's process; tells a clone with the same id apart
  std::optional<Epoch> epoch;   // the puller's live epoch
  std::vector<EpochKey> forks;  // epochs that the puller has frozen: not to be sent
  // Present: nothing is pulled, the chains at these positions are asked for. `have` says nothing
  // then.
  std::optional<std::vector<LogPosition>> chains;
  // Positions beyond `have` that the puller is just writing: the answer goes on behind them. They
  // acknowledge nothing, and no body is left out on their account.
  HeadVector ahead;
};

struct SyncAnswer {
  std::string node;
  int64_t now_ms = 0;  // Unix ms of the answering node's own clock
  HeadVector heads;
  std::vector<EpochKey> forks;  // epochs that the answering node has frozen or now sees forked
  bool more = false;
  std::vector<WireRecord> records;  // in (origin, epoch, seq) order

  std::string instance;  // optional, as in the request
  std::optional<Epoch> epoch;
  // Where they were asked for: of those positions that the answering node holds.
  std::optional<std::vector<std::pair<LogPosition, Hash>>> chains;

  // Records that could not be read, described; decoding leaves them out. What follows them in their
  // epoch then fails its position check, and other epochs go on.
  std::vector<std::string> malformed;
};

std::string EncodeSyncRequest(const SyncRequest& request);
Try<SyncRequest> DecodeSyncRequest(std::string_view json);

// The answer in pieces, so that records are encoded once, straight from the store.
void AppendWireRecord(std::string* out, const WireRecord& record);
// `records_json`: what AppendWireRecord gave, joined with commas.
std::string EncodeSyncAnswer(const SyncAnswer& answer_without_records,
                             std::string_view records_json);
Result<SyncAnswer, std::string> DecodeSyncAnswer(std::string_view json);

// `[["0","00000001a1b2c3d4",17,"<64 hex digits>"], ...]`, also in /readyz and /nodes.
void AppendHeads(std::string* out, const HeadVector& heads);
// Nothing when it is not such a list.
std::optional<HeadVector> HeadsFromJson(std::string_view json);

}  // namespace chatchain
