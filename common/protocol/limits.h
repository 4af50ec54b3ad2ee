// SPDX-License-Identifier: MIT
// Every bound of the protocol, with its unit. What depends on the machine (connections, queues) is
// configuration; what two programs must agree on is here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chatchain::limits {

inline constexpr size_t kNameMaxBytes = 256;  // sender, recipient, room
inline constexpr size_t kTextMaxBytes = 65536;
inline constexpr size_t kKeyMaxBytes = 256;  // Idempotency-Key
inline constexpr size_t kNodeIdMaxBytes = 64;
inline constexpr size_t kClusterMaxBytes = 64;
inline constexpr size_t kKindMaxBytes = 32;
inline constexpr size_t kInstanceMaxBytes = 64;               // of a process, in POST /sync
inline constexpr int64_t kTimestampMax_s = int64_t{1} << 53;  // and its negative

inline constexpr size_t kMessageBodyMaxBytes = 1024 * 1024;
inline constexpr size_t kBatchBodyMaxBytes = 8 * 1024 * 1024;
inline constexpr size_t kBatchMaxMessages = 1000;
inline constexpr size_t kJsonMaxDepth = 16;

inline constexpr size_t kPageDefaultMessages = 100;
inline constexpr size_t kPageMaxMessages = 1000;

inline constexpr int64_t kFeedWaitMax_ms = 30'000;

inline constexpr size_t kSyncBodyMaxBytes = 16 * 1024 * 1024;    // a request: its `have`
inline constexpr size_t kSyncAnswerMaxBytes = 64 * 1024 * 1024;  // hard end for a client's buffer
inline constexpr size_t kSyncPageMaxRecords = 10'000;
inline constexpr size_t kSyncPageMaxBytes = 16 * 1024 * 1024;
inline constexpr size_t kRecordTailBytes = 8 * 1024 * 1024;  // what a node keeps at hand for peers
inline constexpr int64_t kSyncWaitMax_ms = 30'000;
inline constexpr size_t kSyncChainsMax = 1000;  // positions that one request asks the chain of
inline constexpr size_t kPayloadMaxBytes =
    1024 * 1024;  // of a record of a kind that we do not know

inline constexpr size_t kVectorMaxEntries = 100'000;  // epochs in one vector
inline constexpr size_t kTokenMaxBytes = 48 * 1024;   // as text, in a header

inline constexpr int64_t kStampLeadMax_ms = 60'000;  // a given stamp further ahead is replaced

}  // namespace chatchain::limits
