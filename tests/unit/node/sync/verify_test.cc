// SPDX-License-Identifier: MIT
#include "node/sync/verify.h"

#include <catch2/catch.hpp>

#include "tests/support/fake_log.h"

namespace chatchain {

namespace {

using test::FakeLog;

const EpochKey kMine = {"a", uint64_t{1} << 32 | 7};
const EpochKey kOther = {"b", uint64_t{1} << 32 | 8};
const EpochKey kThird = {"c", uint64_t{1} << 32 | 9};

// All that `log` holds, as an honest peer b answers.
SyncAnswer AnswerOf(const FakeLog& log) {
  SyncAnswer answer;
  answer.node = "b";
  answer.instance = "peer";
  answer.heads = log.state.heads;
  for (const auto& [key, list] : log.records) {
    for (const StoredRecord& stored : list) answer.records.push_back(stored.wire);
  }
  return answer;
}

Verdict Verify(SyncAnswer answer, FakeLog& own) {
  return VerifyAnswer(std::move(answer), {own.state, FakeLog::kCluster, "a", "own"}, own);
}

}  // namespace

TEST_CASE("An honest answer gives one proven run an epoch", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 3);
  peer.Append(kThird, 2);
  peer.AppendPayload(kThird, "room.v2", "bytes");
  FakeLog own;
  SECTION("from nothing") {
    const Verdict verdict = Verify(AnswerOf(peer), own);
    REQUIRE(verdict.refused.empty());
    REQUIRE(verdict.findings.empty());
    REQUIRE(verdict.runs.size() == 2);
    REQUIRE(verdict.runs[0].records.size() == 3);
    REQUIRE(verdict.runs[0].base == Position{0, ChainSeed("test", kOther)});
    REQUIRE(verdict.runs[1].records[2].payload == "bytes");
  }
  SECTION("above our head; what we hold is skipped") {
    own.Append(kOther, 2);
    const Verdict verdict = Verify(AnswerOf(peer), own);
    REQUIRE(verdict.refused.empty());
    REQUIRE(verdict.runs[0].base == own.At(kOther, 2));
    REQUIRE(verdict.runs[0].records.size() == 1);
  }
  SECTION("a body that is left out keeps its hint") {
    SyncAnswer answer = AnswerOf(peer);
    answer.records[1].message.reset();
    const Verdict verdict = Verify(std::move(answer), own);
    REQUIRE(verdict.runs[0].records.size() == 3);
    REQUIRE(verdict.runs[0].records[1].id);
    REQUIRE_FALSE(verdict.runs[0].records[1].message);
  }
}

TEST_CASE("The page behind one that is being written continues its runs", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 5);
  peer.Append(kThird, 1);
  FakeLog own;
  own.Append(kOther, 1);
  SyncAnswer first = AnswerOf(peer);
  SyncAnswer second = AnswerOf(peer);
  first.records.erase(first.records.begin() + 3, first.records.begin() + 5);
  second.records.erase(second.records.begin(), second.records.begin() + 3);

  const Verdict before = Verify(std::move(first), own);
  const HeadVector ends = EndsOf(before.runs);
  REQUIRE(ends == HeadVector{{kOther, peer.At(kOther, 3)}, {kThird, peer.At(kThird, 1)}});
  const LogState after = StateAfter(own.state, ends);
  REQUIRE(after.heads == ends);
  Verdict verdict = VerifyAnswer(std::move(second), {after, FakeLog::kCluster, "a", "own"}, own);
  REQUIRE(verdict.refused.empty());
  REQUIRE(verdict.runs.size() == 1);
  REQUIRE(verdict.runs[0].base == peer.At(kOther, 3));
  REQUIRE(verdict.runs[0].records.size() == 2);

  SECTION("what is held by now, or frozen, does not go back") {
    own.Append(kOther, 4);
    own.Append(kThird, 1);
    own.Freeze(kThird);
    const LogState later = StateAfter(own.state, ends);
    REQUIRE(later.heads == HeadVector{{kOther, peer.At(kOther, 5)}});
    REQUIRE(later.epochs.at(kThird).frozen);
  }
}

TEST_CASE("What fails a check is refused, and what stands before it is taken", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 3);
  peer.AppendPayload(kOther, "room.v2", "bytes");
  peer.Append(kThird, 1);
  FakeLog own;
  SyncAnswer answer = AnswerOf(peer);
  size_t good = 1;
  WireRecord& second = answer.records[1];
  SECTION("text") {
    second.message->text += "!";
  }
  SECTION("sender") {
    second.message->sender = "eve";
  }
  SECTION("key") {
    second.message->key = "other";
  }
  SECTION("timestamp") {
    second.message->timestamp = 1;
  }
  SECTION("invalid message") {
    second.message->text.clear();
  }
  SECTION("stamp") {
    second.record.stamp += 1;
  }
  SECTION("digest") {
    second.record.digest = Sha256("x");
  }
  SECTION("chain") {
    second.record.chain = Sha256("x");
  }
  SECTION("kind") {
    second.record.kind = "other";
  }
  SECTION("payload beside a message") {
    second.payload = "x";
  }
  SECTION("gap") {
    second.record.seq = 3;
  }
  SECTION("dropped") {
    answer.records.erase(answer.records.begin() + 1);
  }
  SECTION("exchanged") {
    std::swap(answer.records[1], answer.records[2]);
  }
  SECTION("first") {
    answer.records[0].record.stamp += 1;
    good = 0;
  }
  SECTION("payload") {
    answer.records[3].payload = "other bytes";
    good = 3;
  }
  SECTION("payload missing") {
    answer.records[3].payload.reset();
    good = 3;
  }
  const Verdict verdict = Verify(std::move(answer), own);
  REQUIRE(verdict.refused.size() == 1);
  REQUIRE(verdict.refused[0].find(ToText(kOther)) != std::string::npos);
  // Other epochs go on.
  REQUIRE(verdict.runs.back().epoch == kThird);
  REQUIRE(verdict.runs.size() == (good > 0 ? 2 : 1));
  if (good > 0) REQUIRE(verdict.runs[0].records.size() == good);
}

TEST_CASE("Another cluster's chain is refused", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 1);
  FakeLog own;
  const Verdict verdict = VerifyAnswer(AnswerOf(peer), {own.state, "another", "a", "own"}, own);
  REQUIRE(verdict.runs.empty());
  REQUIRE(verdict.refused.size() == 1);
}

TEST_CASE("Heads of another branch are a fork, at the head and below it", "[verify]") {
  FakeLog own;
  own.Append(kOther, 5);
  for (const Seq seq : {Seq{5}, Seq{2}}) {
    SyncAnswer answer;
    answer.node = "b";
    answer.heads = {{kOther, {seq, Sha256("x")}}};
    const Verdict verdict = Verify(std::move(answer), own);
    REQUIRE(verdict.findings.forked.size() == 1);
    REQUIRE(verdict.findings.forked[0].seen_at == seq);
  }
}

TEST_CASE("Records of an epoch that is seen forked are not taken", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 4);
  FakeLog own;
  own.Append(kOther, 2);
  SyncAnswer answer = AnswerOf(peer);
  SECTION("by its list") {
    answer.forks = {kOther};
  }
  SECTION("by its heads") {
    answer.heads = {{kOther, {1, Sha256("x")}}};
  }
  const Verdict verdict = Verify(std::move(answer), own);
  REQUIRE(verdict.findings.forked.size() == 1);
  REQUIRE(verdict.runs.empty());
}

TEST_CASE("A head that we cannot read below ours is damage, not a fork", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 2);
  FakeLog own;
  own.Append(kOther, 4);
  own.records.at(kOther)[1].wire.record.seq = 99;
  const Verdict verdict = Verify(AnswerOf(peer), own);
  REQUIRE(verdict.findings.forked.empty());
  REQUIRE(verdict.findings.corrupt.size() == 1);
  REQUIRE(verdict.findings.corrupt[0].seq == 2);
}

TEST_CASE("Forks of epochs that we do not hold, or have frozen, are no news", "[verify]") {
  FakeLog peer;
  peer.Append(kOther, 2);
  FakeLog own;
  own.Append(kOther, 1);
  own.Freeze(kOther);
  SyncAnswer answer = AnswerOf(peer);
  answer.forks = {kOther, kThird};
  const Verdict verdict = Verify(std::move(answer), own);
  REQUIRE(verdict.findings.empty());
  REQUIRE(verdict.runs.empty());
}

TEST_CASE("Our live epoch in other hands is found", "[verify]") {
  FakeLog own;
  own.Append(kMine, 2);
  own.state.live = kMine;
  SyncAnswer answer;
  answer.node = "b";
  SECTION("beyond our head") {
    answer.heads = {{kMine, {3, Sha256("x")}}};
  }
  SECTION("with records") {
    FakeLog twin;
    twin.Append(kMine, 3);
    answer.records = {twin.records.at(kMine)[2].wire};
  }
  SECTION("named by another process of our id") {
    answer.node = "a";
    answer.instance = "twin";
    answer.epoch = kMine.epoch;
  }
  REQUIRE(Verify(std::move(answer), own).findings.taken_epoch == kMine);
}

// Whether a twin wrote it or a record of ours is damaged, the log finds out.
TEST_CASE("Our live epoch on another branch is a fork", "[verify]") {
  FakeLog own;
  own.Append(kMine, 2);
  own.state.live = kMine;
  SyncAnswer answer;
  answer.node = "b";
  answer.heads = {{kMine, {2, Sha256("x")}}};
  const Verdict verdict = Verify(std::move(answer), own);
  REQUIRE(verdict.findings.forked.size() == 1);
  REQUIRE(verdict.findings.forked[0].epoch == kMine);
  REQUIRE(verdict.findings.forked[0].seen_at == 2);
  REQUIRE_FALSE(verdict.findings.taken_epoch);
}

TEST_CASE("A twin of another epoch is named, and we ourselves are none", "[verify]") {
  FakeLog own;
  own.Append(kMine, 2);
  own.state.live = kMine;
  SyncAnswer answer;
  answer.node = "a";
  answer.heads = own.state.heads;
  answer.instance = "twin";
  answer.epoch = kMine.epoch + 1;
  Verdict verdict = Verify(SyncAnswer(answer), own);
  REQUIRE(verdict.findings.twin);
  REQUIRE_FALSE(verdict.findings.taken_epoch);
  answer.instance = "own";
  answer.epoch = kMine.epoch;
  REQUIRE(Verify(SyncAnswer(answer), own).findings.empty());
}

TEST_CASE("Epochs of our own that only peers know raise the counter", "[verify]") {
  FakeLog own;
  own.Append(kMine, 1);
  SyncAnswer answer;
  answer.node = "b";
  answer.heads = {{{"a", uint64_t{9} << 32 | 1}, {4, Sha256("x")}},
                  {{"b", uint64_t{77} << 32 | 1}, {4, Sha256("y")}}};
  REQUIRE(Verify(std::move(answer), own).findings.own_counter == 9);
}

}  // namespace chatchain
