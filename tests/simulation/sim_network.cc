// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_network.h"

namespace chatchain::simulation {

void SimNetwork::Send(int from, int to, std::function<void()> arrive) {
  const int copies = world_.Happens(rates_.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t delay_us = 100 + static_cast<int64_t>(world_.Below(900));
    if (world_.Happens(rates_.slow)) delay_us += static_cast<int64_t>(world_.Below(3'000'000));
    const auto slow = delays_us_.find({from, to});
    if (slow != delays_us_.end()) delay_us += slow->second;
    if (world_.Happens(rates_.loss)) {
      world_.Count("lost message");
      continue;
    }
    if (IsCut(from, to)) {
      world_.Count("cut message");
      continue;
    }
    // A link that is cut while the message is on it loses it too.
    world_.Post(delay_us, [this, from, to, arrive] {
      if (!IsCut(from, to)) arrive();
    });
  }
}

void SimNetwork::Spoil(std::string* answer) {
  if (answer->empty()) return;
  if (world_.Happens(rates_.truncate)) {
    answer->resize(world_.Below(answer->size()));
    world_.Count("truncated answer");
  } else if (world_.Happens(rates_.bit_flip)) {
    (*answer)[world_.Below(answer->size())] ^= static_cast<char>(1 << world_.Below(7));
    world_.Count("flipped bit");
  }
}

void SimNetwork::HealLinks() {
  cut_.clear();
  delays_us_.clear();
}

void SimNetwork::Calm() {
  HealLinks();
  rates_.loss = rates_.duplicate = rates_.slow = rates_.truncate = rates_.bit_flip = 0;
}

}  // namespace chatchain::simulation
