// SPDX-License-Identifier: MIT
#include "client/proxy/convergence.h"

#include <catch2/catch.hpp>

#include "client/proxy/token_hints.h"

namespace chatchain {
namespace {

HeadVector Heads(std::vector<std::pair<std::string, Seq>> entries) {
  HeadVector heads;
  for (auto& [origin, seq] : entries) heads[{origin, 1}] = {seq, {}};
  return heads;
}

}  // namespace

TEST_CASE("lag is what others have and a node has not", "[convergence]") {
  const HeadVector a = Heads({{"0", 10}, {"1", 5}});
  const HeadVector b = Heads({{"0", 7}});
  CHECK(Compare({&a, &b, nullptr}).lag == std::vector<int64_t>{0, 8, -1});
  CHECK(!Compare({&a, &b}).converged);
  CHECK(Compare({&a, nullptr, &a}).converged);
  CHECK(Compare({&a, &a}).lag == std::vector<int64_t>{0, 0});
  CHECK(!Compare({nullptr, nullptr}).converged);
  const HeadVector empty;
  CHECK(Compare({&empty, &empty}).converged);
}

TEST_CASE("the same length with another chain is not converged", "[convergence]") {
  HeadVector a = Heads({{"0", 3}});
  HeadVector b = a;
  b.begin()->second.chain.bytes[0] = 1;
  CHECK(!Compare({&a, &b}).converged);
}

TEST_CASE("a node satisfies a token when it holds every entry", "[convergence]") {
  const HeadVector heads = Heads({{"0", 10}, {"1", 5}});
  CHECK(Satisfies(heads, {}));
  CHECK(Satisfies(heads, {{{"0", 1}, {.seq = 10}}}));
  CHECK(!Satisfies(heads, {{{"0", 1}, {.seq = 11}}}));
  CHECK(!Satisfies(heads, {{{"0", 2}, {.seq = 1}}}));
  CHECK(!Satisfies(heads, {{{"0", 1}, {.seq = 1}}, {{"2", 1}, {.seq = 1}}}));
}

TEST_CASE("the issuer of a token is remembered, and an unknown token has none", "[token_hints]") {
  const auto hints = std::make_unique<TokenHints>();
  CHECK(!hints->Issuer("a"));
  hints->Remember("a", 0);
  hints->Remember("b", 7);
  CHECK(hints->Issuer("a") == 0);
  CHECK(hints->Issuer("b") == 7);
  CHECK(!hints->Issuer("c"));
  hints->Remember("a", 2);
  CHECK(hints->Issuer("a") == 2);
}

}  // namespace chatchain
