// SPDX-License-Identifier: MIT
// Both sides of POST /sync: whatever a peer answers, only records that are proven are taken;
// whatever a puller asks, no more is given than it asked for, and the answer can be read.
#include "node/sync/serve.h"
#include "node/sync/verify.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_log.h"

using namespace chatchain;

namespace {

constexpr const char* kCluster = test::FakeLog::kCluster;

const EpochKey kMine = {"me", uint64_t{1} << 32 | 7};
const EpochKey kOther = {"0", 0x00000001a1b2c3d4};

test::FakeLog& OurLog() {
  static test::FakeLog log = [] {
    test::FakeLog made;
    made.Append(kMine, 3);
    made.Append(kOther, 2);
    made.AppendPayload(kOther, "x.test", "payload");
    made.Freeze([&made] {
      const EpochKey forked{"f", uint64_t{1} << 32 | 1};
      made.Append(forked, 1);
      return forked;
    }());
    made.state.live = kMine;
    return made;
  }();
  return log;
}

void CheckAnswer(std::string_view text) {
  auto answer = DecodeSyncAnswer(text);
  if (!answer) return;
  // Every answer is read by a node that holds much of it, and by one that holds nothing.
  test::FakeLog empty;
  for (const auto& [log, cluster] : {std::pair(&OurLog(), kCluster), {&empty, "main"}}) {
    SyncAnswer copy = *answer;
    const Verdict verdict =
        VerifyAnswer(std::move(copy), {log->state, cluster, "me", "instance"}, *log);
    for (const VerifiedRun& run : verdict.runs) {
      FUZZ_CHECK(!run.records.empty());
      const auto held = log->state.epochs.find(run.epoch);
      const Position base = held == log->state.epochs.end()
                                ? Position{0, ChainSeed(cluster, run.epoch)}
                                : held->second.head;
      FUZZ_CHECK(run.base == base);
      Position at = base;
      for (const VerifiedRecord& verified : run.records) {
        const Record& record = verified.record;
        FUZZ_CHECK(record.epoch == run.epoch);
        FUZZ_CHECK(record.seq == at.seq + 1);
        FUZZ_CHECK(record.chain == NextChain(at.chain, record));
        if (verified.message) FUZZ_CHECK(verified.message->digest() == record.digest);
        if (verified.payload) FUZZ_CHECK(Sha256(*verified.payload) == record.digest);
        at = {record.seq, record.chain};
      }
    }
  }
}

void CheckRequest(std::string_view text) {
  const auto request = DecodeSyncRequest(text);
  if (!request) return;
  const auto again = DecodeSyncRequest(EncodeSyncRequest(*request));
  FUZZ_CHECK(again);
  FUZZ_CHECK(EncodeSyncRequest(*again) == EncodeSyncRequest(*request));
  if (request->cluster != kCluster) return;
  test::FakeLog& log = OurLog();
  const Served served = ServeSync(*request, {log.state, log, kCluster, "me", "instance"});
  FUZZ_CHECK(served.records <= request->limit);
  const auto answer = DecodeSyncAnswer(EncodeSyncAnswer(served.answer, served.records_json));
  FUZZ_CHECK(answer);
  FUZZ_CHECK(answer->malformed.empty());
  FUZZ_CHECK(answer->records.size() == served.records);
  FUZZ_CHECK(served.findings.corrupt.empty());  // our log is sound
  if (request->chains) FUZZ_CHECK(answer->records.empty() && served.findings.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = fuzz::Text(data, size);
  CheckAnswer(text);
  CheckRequest(text);
  const auto heads = HeadsFromJson(text);
  if (heads) {
    std::string out;
    AppendHeads(&out, *heads);
    FUZZ_CHECK(HeadsFromJson(out) == heads);
  }
  return 0;
}
