// SPDX-License-Identifier: MIT
#include "client/proxy/verdict.h"

namespace chatchain {

namespace {

// Ranks of answers that are not final: the one that says most wins.
constexpr int kRankStale = 6;  // an old answer, and it says so
constexpr int kRankKeyReused = 5;
constexpr int kRankNothing = 4;  // 404, an empty page
constexpr int kRankStaleNothing = 3;
constexpr int kRankOther = 2;  // 412 and what a later version may bring
constexpr int kRankTooMany = 1;

constexpr AnswerVerdict kFinalAnswer{.finality = Finality::kFinal};
constexpr AnswerVerdict kFault{.finality = Finality::kFailed, .node_fault = true};
constexpr AnswerVerdict kRefusal{.finality = Finality::kFailed, .node_fault = false};

AnswerVerdict NotFinal(int rank) {
  return {.finality = Finality::kNotFinal, .rank = rank};
}

}  // namespace

AnswerVerdict Judge(const AnswerFacts& facts) {
  const int status = facts.status;
  if (status >= 500) {
    // 503 is a node that is well and says that it cannot now: read-only, draining, full. It still
    // reads.
    return status == 503 ? kRefusal : kFault;
  }
  if (!facts.genuine || status < 200 || (status >= 300 && status < 400)) return kFault;
  if (status < 300) {
    if (facts.empty_page) return NotFinal(facts.stale ? kRankStaleNothing : kRankNothing);
    return facts.stale ? NotFinal(kRankStale) : kFinalAnswer;
  }
  switch (status) {
    case 400:
    case 401:
    case 403:
    case 413:
    case 415: return kFinalAnswer;
    case 422: return facts.key_reused ? NotFinal(kRankKeyReused) : kFinalAnswer;
    case 404: return NotFinal(facts.stale ? kRankStaleNothing : kRankNothing);
    case 408: return kRefusal;
    case 429: return NotFinal(kRankTooMany);
    default:
      // 412 under strict consistency; 405 or 406 of a node of another version.
      return NotFinal(kRankOther);
  }
}

AnswerVerdict Judge(http::TransportError::Kind error) {
  using Kind = http::TransportError::Kind;
  switch (error) {
    case Kind::kConnect:
    case Kind::kTimeout:
    case Kind::kBroken: return kFault;
    case Kind::kTooLarge:   // our own bound, not the node's failure
    case Kind::kCancelled:  // another node was faster
      return kRefusal;
  }
  return kFault;
}

}  // namespace chatchain
