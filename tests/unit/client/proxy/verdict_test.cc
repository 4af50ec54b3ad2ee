// SPDX-License-Identifier: MIT
#include "client/proxy/verdict.h"

#include <catch2/catch.hpp>

namespace chatchain {

TEST_CASE("the success rule", "[verdict]") {
  struct Row {
    std::string_view what;
    AnswerFacts facts;
    Finality finality;
    bool node_fault;
  };
  const Row rows[] = {
      {"201", {.status = 201}, Finality::kFinal, false},
      {"200", {.status = 200}, Finality::kFinal, false},
      {"202", {.status = 202}, Finality::kFinal, false},
      {"200 not of a node", {.status = 200, .genuine = false}, Finality::kFailed, true},
      {"an empty page", {.status = 200, .empty_page = true}, Finality::kNotFinal, false},
      {"an old answer", {.status = 200, .stale = true}, Finality::kNotFinal, false},
      {"100", {.status = 100}, Finality::kFailed, true},
      {"302", {.status = 302}, Finality::kFailed, true},
      {"400", {.status = 400}, Finality::kFinal, false},
      {"401", {.status = 401}, Finality::kFinal, false},
      {"403", {.status = 403}, Finality::kFinal, false},
      {"404", {.status = 404}, Finality::kNotFinal, false},
      {"404 not of a node", {.status = 404, .genuine = false}, Finality::kFailed, true},
      {"405", {.status = 405}, Finality::kNotFinal, false},
      {"408", {.status = 408}, Finality::kFailed, false},
      {"412", {.status = 412}, Finality::kNotFinal, false},
      {"413", {.status = 413}, Finality::kFinal, false},
      {"415", {.status = 415}, Finality::kFinal, false},
      {"422 invalid", {.status = 422}, Finality::kFinal, false},
      {"422 key-reused", {.status = 422, .key_reused = true}, Finality::kNotFinal, false},
      {"429", {.status = 429}, Finality::kNotFinal, false},
      {"500", {.status = 500}, Finality::kFailed, true},
      {"502", {.status = 502}, Finality::kFailed, true},
      {"503", {.status = 503}, Finality::kFailed, false},
      {"503 not of a node", {.status = 503, .genuine = false}, Finality::kFailed, false},
      {"504", {.status = 504}, Finality::kFailed, true},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    const AnswerVerdict verdict = Judge(row.facts);
    CHECK(verdict.finality == row.finality);
    CHECK(verdict.node_fault == row.node_fault);
  }
}

TEST_CASE("no transport error is an answer, and cancelling is nobody's fault", "[verdict]") {
  using Kind = http::TransportError::Kind;
  const std::pair<Kind, bool> rows[] = {{Kind::kConnect, true},
                                        {Kind::kTimeout, true},
                                        {Kind::kBroken, true},
                                        {Kind::kTooLarge, false},
                                        {Kind::kCancelled, false}};
  for (const auto& [kind, fault] : rows) {
    CHECK(Judge(kind).finality == Finality::kFailed);
    CHECK(Judge(kind).node_fault == fault);
  }
}

TEST_CASE("of answers that are not final the one that says most wins", "[verdict]") {
  const AnswerFacts descending[] = {
      {.status = 200, .stale = true},
      {.status = 422, .key_reused = true},
      {.status = 404},
      {.status = 404, .stale = true},
      {.status = 412},
      {.status = 429},
  };
  for (size_t i = 0; i + 1 < std::size(descending); ++i) {
    INFO(i);
    CHECK(Judge(descending[i]).rank > Judge(descending[i + 1]).rank);
  }
  CHECK(Judge({.status = 200, .empty_page = true}).rank == Judge({.status = 404}).rank);
}

}  // namespace chatchain
