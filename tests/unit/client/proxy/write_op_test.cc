// SPDX-License-Identifier: MIT
#include "client/proxy/write_op.h"

#include <catch2/catch.hpp>

namespace chatchain {
namespace {

ItemReport Item(int status, bool key_reused = false) {
  return {.status = status,
          .body = "{}",
          .verdict = Judge(AnswerFacts{.status = status, .key_reused = key_reused})};
}

struct Said {
  int node;
  std::vector<ItemReport> items;  // empty: the node failed
};

// Plays the reports and closes.
std::pair<WriteOp::Progress, WriteOutcome> Play(size_t count, int copies,
                                                const std::vector<Said>& reports) {
  WriteOp op("", count, copies, SteadyTime::max());
  for (size_t i = 0; i < reports.size(); ++i) op.Expect();
  for (const Said& said : reports) {
    const std::string id = "n" + std::to_string(said.node);
    if (said.items.empty()) {
      op.ReportFailure(id + " failed");
    } else {
      op.ReportItems(said.node, id, "token-" + id, said.items);
    }
  }
  const auto progress = op.progress();
  return {progress, op.Close()};
}

}  // namespace

TEST_CASE("one item: any success wins", "[write_op]") {
  struct Row {
    std::string_view what;
    std::vector<Said> reports;
    int status;
    int node;
    bool done;
  };
  const Row rows[] = {
      {"nothing", {}, 0, -1, false},
      {"201", {{0, {Item(201)}}}, 201, 0, true},
      {"failure, then 201", {{0, {}}, {1, {Item(201)}}}, 201, 1, true},
      {"503, then 201", {{0, {Item(503)}}, {1, {Item(201)}}}, 201, 1, true},
      {"key-reused, then 201", {{0, {Item(422, true)}}, {1, {Item(201)}}}, 201, 1, true},
      {"key-reused twice", {{0, {Item(422, true)}}, {1, {Item(422, true)}}}, 422, 0, false},
      {"429, then key-reused", {{0, {Item(429)}}, {1, {Item(422, true)}}}, 422, 1, false},
      {"key-reused, then 429", {{0, {Item(422, true)}}, {1, {Item(429)}}}, 422, 0, false},
      {"invalid is final", {{0, {Item(422)}}}, 422, 0, true},
      {"503 everywhere", {{0, {Item(503)}}, {1, {Item(503)}}}, 0, -1, false},
      {"201, then 200: the first", {{0, {Item(201)}}, {1, {Item(200)}}}, 201, 0, true},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    const auto [progress, outcome] = Play(1, 1, row.reports);
    CHECK(progress.done == row.done);
    CHECK(progress.outstanding == 0);
    CHECK(outcome.items[0].status == row.status);
    CHECK(outcome.items[0].node == row.node);
  }
}

TEST_CASE("items of a batch are final one by one", "[write_op]") {
  const auto [progress, outcome] = Play(
      3, 1,
      {{0, {Item(201), Item(503), Item(422, true)}}, {1, {Item(200), Item(201), Item(422, true)}}});
  CHECK(!progress.done);
  CHECK(progress.answered);
  CHECK(outcome.items[0].node == 0);
  CHECK(outcome.items[1].node == 1);
  CHECK(outcome.items[2].status == 422);
  REQUIRE(outcome.sources.size() == 2);
  CHECK(outcome.sources[1].token == "token-n1");
}

TEST_CASE("copies are distinct nodes", "[write_op]") {
  CHECK(!Play(1, 2, {{0, {Item(201)}}}).first.done);
  CHECK(Play(1, 2, {{0, {Item(201)}}}).first.stored);
  CHECK(!Play(1, 2, {{0, {Item(201)}}, {0, {Item(200)}}}).first.done);
  CHECK(Play(1, 2, {{0, {Item(201)}}, {1, {Item(200)}}}).first.done);
  CHECK(!Play(1, 2, {{0, {Item(201)}}, {1, {}}}).first.done);
  CHECK(Play(1, 2, {{0, {Item(422)}}}).first.done);  // nothing to copy
}

TEST_CASE("nobody waits for more once it is done or closed", "[write_op]") {
  WriteOp op("", 1, 1, SteadyTime::max());
  op.Expect();
  op.Expect();
  CHECK(op.wanted());
  int called = 0;
  op.set_on_report([&] { ++called; });
  op.ReportItems(0, "n0", "", {Item(201)});
  CHECK(called == 1);
  CHECK(!op.wanted());
  CHECK(op.progress().done);
  op.ReportItems(1, "n1", "", {Item(201)});
  CHECK(op.progress().outstanding == 0);

  WriteOp closed("", 1, 1, SteadyTime::max());
  closed.Expect();
  closed.set_on_report([&] { ++called; });
  called = 0;
  CHECK(closed.Close().items[0].status == 0);
  CHECK(!closed.wanted());
  closed.ReportItems(0, "n0", "", {Item(201)});
  CHECK(called == 0);
}

}  // namespace chatchain
