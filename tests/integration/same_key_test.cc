// SPDX-License-Identifier: MIT
// The same Idempotency-Key from many connections at the same moment: one message, whoever asks, at
// the node and through the proxy.
#include <catch2/catch.hpp>
#include <future>
#include <set>

#include "tests/support/ledger.h"

namespace chatchain::testing {

namespace {

constexpr int kClients = 16;

// All send at once; what each was told.
std::vector<Answer> SendTogether(const std::string& address,
                                 const std::vector<Outgoing>& messages) {
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  std::vector<std::promise<void>> ready(messages.size());
  std::vector<std::future<Answer>> clients;
  for (size_t i = 0; i < messages.size(); ++i) {
    clients.push_back(std::async(std::launch::async, [&, i] {
      Api api(address);
      api.Get("/healthz");  // connects
      ready[i].set_value();
      gone.wait();
      return api.Send(messages[i]);
    }));
  }
  for (auto& each : ready) each.get_future().wait();
  go.set_value();
  std::vector<Answer> answers;
  for (auto& client : clients) answers.push_back(client.get());
  return answers;
}

}  // namespace

TEST_CASE("one key from many connections at once is one message") {
  Cluster cluster;
  cluster.StartAll();
  const bool through_proxy = GENERATE(false, true);
  if (through_proxy && !ClientProgram()) return;
  CAPTURE(through_proxy);
  const std::string address =
      through_proxy ? cluster.StartProxy().address() : cluster.node(0).address();
  for (int round = 0; round < 10; ++round) {
    Outgoing message = MakeMessage("alice");
    message.key = "round-" + std::to_string(round);
    int fresh = 0;
    std::set<std::string> ids;
    for (const Answer& answer : SendTogether(address, std::vector(kClients, message))) {
      INFO(answer.text());
      CHECK((answer.status == 201 || answer.status == 200));
      CHECK(answer.header("Idempotent-Replayed") == (answer.status == 200 ? "true" : ""));
      fresh += answer.status == 201 ? 1 : 0;
      ids.insert(answer.id());
    }
    CHECK(ids.size() == 1);
    // Two that reach the proxy in one millisecond may both hear that they were first.
    CHECK(fresh >= 1);
    CHECK((through_proxy || fresh == 1));
  }
  AwaitEqualDigests(cluster.addresses());
  CHECK(cluster.api(1).Nodes()["self"]["messages"] == 10);
}

TEST_CASE("one key for many messages at once is one message at a node, and an error for the rest") {
  Cluster cluster({.nodes = 1});
  cluster.StartAll();
  std::vector<Outgoing> messages;
  for (int i = 0; i < kClients; ++i) {
    messages.push_back(MakeMessage("alice"));
    messages.back().text = "text " + std::to_string(i);
    messages.back().key = "the-key";
  }
  int stored = 0;
  for (const Answer& answer : SendTogether(cluster.node(0).address(), messages)) {
    INFO(answer.text());
    CHECK((answer.status == 201 || answer.status == 422));
    stored += answer.status == 201 ? 1 : 0;
  }
  CHECK(stored == 1);
  CHECK(cluster.api(0).Nodes()["self"]["messages"] == 1);
}

}  // namespace chatchain::testing
