// SPDX-License-Identifier: MIT
// The network between simulated programs: messages are lost, late, doubled, and overtake each
// other; links are cut in one direction or both, or slow.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tests/simulation/options.h"
#include "tests/simulation/world.h"

namespace chatchain::simulation {

class SimNetwork {
 public:
  SimNetwork(World& world, const Rates& rates) : world_(world), rates_(rates) {}
  void set_rates(const Rates& rates) { rates_ = rates; }

  // `arrive` runs at the other end: once, never, or twice. False: it is lost already.
  bool Send(int from, int to, std::function<void()> arrive);

  // A request and its answer. `serve` runs at `to` and is given the way back; `done` runs once,
  // with nothing after `timeout_us`.
  template <typename Answer>
  void Call(int from, int to, int64_t timeout_us,
            std::function<void(std::function<void(Answer)>)> serve,
            std::function<void(std::optional<Answer>)> done) {
    const auto waiting =
        std::make_shared<std::function<void(std::optional<Answer>)>>(std::move(done));
    const auto finish = [waiting](std::optional<Answer> answer) {
      if (*waiting == nullptr) return;
      const auto call = std::exchange(*waiting, nullptr);
      call(std::move(answer));
    };
    Send(from, to, [=, this, serve = std::move(serve)] {
      serve([=, this](Answer answer) {
        if (!Send(to, from, [finish, answer = std::move(answer)] { finish(answer); })) {
          world_.Count("lost reply");
        }
      });
    });
    world_.Post(timeout_us, [finish] { finish(std::nullopt); });
  }

  // A body of sync on its way: cut off, or with a bit flipped; false: as it was.
  bool Spoil(std::string* body);
  // The records of an answer, before it gets its checksum: a value in one of them changes.
  void SpoilRecord(std::string* records);

  void Cut(int from, int to) { cut_.insert({from, to}); }
  void Join(int from, int to) { cut_.erase({from, to}); }
  bool IsCut(int from, int to) const { return cut_.count({from, to}) > 0; }
  void SlowDown(int from, int to, int64_t delay_us) { delays_us_[{from, to}] = delay_us; }
  void HealLinks();
  // Nothing goes wrong any more.
  void Calm();

 private:
  World& world_;
  Rates rates_;
  std::set<std::pair<int, int>> cut_;
  std::map<std::pair<int, int>, int64_t> delays_us_;
  std::map<std::pair<int, int>, int64_t> latest_us_;  // when the last message so far arrives
};

}  // namespace chatchain::simulation
