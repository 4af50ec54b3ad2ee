// SPDX-License-Identifier: MIT
// A simulated proxy: the production's choice of nodes, pacing, success rule, breakers and merging
// of answers (client/proxy), driven by events in place of threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/sim_api.h"
#include "tests/simulation/sim_network.h"

namespace chatchain {
struct Choice;
}

namespace chatchain::simulation {

struct ProxyWrite {
  std::vector<ItemAnswer> items;  // status 503: no node took it
  std::vector<std::string> sessions;
};

class SimProxy {
 public:
  SimProxy(World& world, SimNetwork& network, const NodePorts& ports, int endpoint);
  ~SimProxy();

  bool up() const { return up_; }
  void Die();
  void Start();

  // `done` runs once, unless the proxy dies before. `die_after`: so many nodes are asked, then it
  // does.
  void Write(std::vector<WriteItem> items, int copies, std::optional<size_t> die_after,
             std::function<void(ProxyWrite)> done);
  void Read(ReadRequest request, std::function<void(ReadAnswer)> done);

 private:
  struct Node;
  struct WriteRun;
  struct ReadRun;

  std::string name() const { return "p" + std::to_string(endpoint_); }
  void Post(int64_t delay_us, std::function<void()> work);
  void Probe();
  Node& NodeAt(int slot);
  void ChooseFor(Choice* choice, bool for_write, const std::optional<std::string>& session);
  void BeginRound(const std::shared_ptr<WriteRun>& run);
  void StepWrite(const std::shared_ptr<WriteRun>& run);
  void AskWrite(const std::shared_ptr<WriteRun>& run, int slot);
  void FinishWrite(const std::shared_ptr<WriteRun>& run);
  void StepRead(const std::shared_ptr<ReadRun>& run);

  World& world_;
  SimNetwork& network_;
  const NodePorts& ports_;
  const int endpoint_;
  const TokenCodec tokens_;
  bool up_ = true;
  uint64_t life_ = 0;
  uint64_t rotation_ = 0;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace chatchain::simulation
