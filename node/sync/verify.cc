// SPDX-License-Identifier: MIT
#include "node/sync/verify.h"

#include <algorithm>

#include "common/protocol/limits.h"

namespace chatchain {

namespace {

bool Contains(const std::vector<Fork>& forks, const EpochKey& key) {
  return std::any_of(forks.begin(), forks.end(),
                     [&](const Fork& fork) { return fork.epoch == key; });
}

// The record with its body checked against its digest; a text that says why not.
Result<VerifiedRecord, std::string> VerifyBody(WireRecord&& wire) {
  VerifiedRecord verified;
  const Record& record = wire.record;
  if (record.kind == kMessageKind) {
    if (wire.payload) return Err(std::string("a message record with a payload"));
    if (wire.message) {
      auto message = Validate(std::move(*wire.message));
      if (!message) return Err("its message is invalid: " + message.error().front().field);
      if (message->digest() != record.digest) {
        return Err(std::string("its message does not match its digest"));
      }
      verified.message = std::move(*message);
    }
    verified.id = wire.id;
  } else {
    if (!wire.payload) return Err(std::string("a record of another kind without payload"));
    if (Sha256(*wire.payload) != record.digest) {
      return Err(std::string("its payload does not match its digest"));
    }
    verified.payload = std::move(wire.payload);
  }
  verified.record = std::move(wire.record);
  return verified;
}

// Whether a seal may be taken behind the runs so far: what it seals must be held then, on the
// branch that it says. Another branch is a finding.
bool MayTakeSeal(const SealedHead& sealed, const std::vector<EpochKey>& their_forks,
                 const VerifyContext& context, LogReader& reader, Verdict* verdict) {
  const auto known = context.state.epochs.find(sealed.epoch);
  if (known != context.state.epochs.end() && known->second.frozen) return true;
  if (Contains(verdict->findings.forked, sealed.epoch)) return true;
  if (std::find(their_forks.begin(), their_forks.end(), sealed.epoch) != their_forks.end()) {
    // Nobody will send it: it is frozen here as well, although nothing of it is here.
    verdict->findings.forked.push_back({sealed.epoch, 0});
    return true;
  }
  std::optional<Hash> chain;
  const auto run =
      std::find_if(verdict->runs.begin(), verdict->runs.end(),
                   [&](const VerifiedRun& each) { return each.epoch == sealed.epoch; });
  if (run != verdict->runs.end() && run->base.seq < sealed.end.seq) {
    const Seq index = sealed.end.seq - run->base.seq - 1;
    if (index >= run->records.size()) return false;
    chain = run->records[index].record.chain;
  } else {
    if (known == context.state.epochs.end() || known->second.head.seq < sealed.end.seq) {
      return false;
    }
    chain = known->second.head.seq == sealed.end.seq ? known->second.head.chain
                                                     : reader.ChainAt(sealed.epoch, sealed.end.seq);
  }
  if (!chain) return false;
  if (*chain == sealed.end.chain) return true;
  verdict->findings.forked.push_back({sealed.epoch, sealed.end.seq});
  return false;
}

// Takes the records of one epoch, [first, last), as far as they are good.
void VerifyEpoch(std::vector<WireRecord>::iterator first, std::vector<WireRecord>::iterator last,
                 const std::vector<EpochKey>& their_forks, const VerifyContext& context,
                 LogReader& reader, Verdict* verdict) {
  const EpochKey key = first->record.epoch;
  const auto known = context.state.epochs.find(key);
  if (known != context.state.epochs.end() && known->second.frozen) return;

  VerifiedRun run;
  run.epoch = key;
  run.base = known != context.state.epochs.end() ? known->second.head
                                                 : Position{0, ChainSeed(context.cluster, key)};
  Position at = run.base;
  for (auto it = first; it != last; ++it) {
    const Seq seq = it->record.seq;
    if (seq <= run.base.seq) continue;  // held already: another peer was quicker
    if (seq != at.seq + 1) {
      verdict->refused.push_back(ToText(key) + " at " + std::to_string(seq) + ": expected seq " +
                                 std::to_string(at.seq + 1));
      break;
    }
    const Hash chain = it->record.chain;
    if (NextChain(at.chain, it->record) != chain) {
      verdict->refused.push_back(ToText(key) + " at " + std::to_string(seq) +
                                 ": the record does not match its chain");
      break;
    }
    auto verified = VerifyBody(std::move(*it));
    if (!verified) {
      verdict->refused.push_back(ToText(key) + " at " + std::to_string(seq) + ": " +
                                 verified.error());
      break;
    }
    if (verified->record.kind == kSealKind) {
      const auto sealed = DecodeSeal(key, *verified->payload);
      // It and what follows it wait; that is no fault of the peer's.
      if (sealed && !MayTakeSeal(*sealed, their_forks, context, reader, verdict)) break;
    }
    at = {seq, chain};
    run.records.push_back(std::move(*verified));
  }
  if (run.records.empty()) return;
  if (context.state.live == key) verdict->findings.taken_epoch = key;
  verdict->runs.push_back(std::move(run));
}

}  // namespace

HeadVector EndsOf(const std::vector<VerifiedRun>& runs) {
  HeadVector ends;
  for (const VerifiedRun& run : runs) {
    const Record& last = run.records.back().record;
    ends[run.epoch] = {last.seq, last.chain};
  }
  return ends;
}

LogState StateAfter(const LogState& state, const HeadVector& ends) {
  LogState after = state;
  for (const auto& [key, end] : ends) {
    LogState::EpochState& epoch = after.epochs[key];
    if (epoch.frozen || epoch.head.seq >= end.seq) continue;
    epoch.head = end;
    after.heads[key] = end;
  }
  return after;
}

Verdict VerifyAnswer(SyncAnswer&& answer, const VerifyContext& context, LogReader& reader) {
  Verdict verdict;
  const LogState& state = context.state;
  verdict.refused = std::move(answer.malformed);
  Findings& findings = verdict.findings;
  findings.twin = answer.node == context.node_id && !answer.instance.empty() &&
                  answer.instance != context.instance;
  if (findings.twin && state.live && answer.epoch == state.live->epoch) {
    findings.taken_epoch = state.live;
  }

  for (const EpochKey& key : answer.forks) {
    const auto it = state.epochs.find(key);
    if (it != state.epochs.end() && !it->second.frozen) findings.forked.push_back({key, 0});
  }
  for (const auto& [key, theirs] : answer.heads) {
    if (key.origin == context.node_id && state.epochs.count(key) == 0) {
      findings.own_counter = std::max(findings.own_counter, static_cast<uint32_t>(key.epoch >> 32));
    }
    const auto it = state.heads.find(key);
    if (it == state.heads.end()) continue;
    if (theirs.seq > it->second.seq) {
      // Nobody but us can write our live epoch: a clone does.
      if (state.live == key) findings.taken_epoch = key;
      continue;
    }
    const auto chain =
        theirs.seq == it->second.seq ? it->second.chain : reader.ChainAt(key, theirs.seq);
    if (!chain) {
      // Gone since `state`, or damaged: that is no branch.
      findings.corrupt.push_back({key, theirs.seq});
    } else if (*chain != theirs.chain && !Contains(findings.forked, key)) {
      // Or a record of ours is damaged: the log looks at it, and leaves its live epoch either way.
      findings.forked.push_back({key, theirs.seq});
    }
  }

  auto& records = answer.records;
  for (auto first = records.begin(); first != records.end();) {
    const EpochKey key = first->record.epoch;
    const auto last = std::find_if(
        first, records.end(), [&](const WireRecord& wire) { return wire.record.epoch != key; });
    if (!Contains(findings.forked, key))
      VerifyEpoch(first, last, answer.forks, context, reader, &verdict);
    first = last;
  }
  return verdict;
}

}  // namespace chatchain
