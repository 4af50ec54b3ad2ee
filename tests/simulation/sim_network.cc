// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_network.h"

#include <algorithm>

namespace chatchain::simulation {

bool SimNetwork::Send(int from, int to, std::function<void()> arrive) {
  const int copies = world_.Happens(rates_.duplicate) ? 2 : 1;
  if (copies > 1) world_.Count("doubled message");
  bool sent = false;
  for (int i = 0; i < copies; ++i) {
    int64_t delay_us = 100 + static_cast<int64_t>(world_.Below(900));
    if (world_.Happens(rates_.slow)) {
      delay_us += static_cast<int64_t>(world_.Below(3'000'000));
      world_.Count("late message");
    }
    const auto slow = delays_us_.find({from, to});
    if (slow != delays_us_.end()) {
      delay_us += slow->second;
      world_.Count("message on a slow link");
    }
    if (world_.Happens(rates_.loss)) {
      world_.Count("lost message");
      continue;
    }
    if (IsCut(from, to)) {
      world_.Count("cut message");
      continue;
    }
    sent = true;
    int64_t& latest_us = latest_us_[{from, to}];
    if (world_.now_us() + delay_us < latest_us) world_.Count("overtaking message");
    latest_us = std::max(latest_us, world_.now_us() + delay_us);
    // A link that is cut while the message is on it loses it too.
    world_.Post(delay_us, [this, from, to, arrive] {
      if (!IsCut(from, to)) arrive();
    });
  }
  return sent;
}

bool SimNetwork::Spoil(std::string* body) {
  if (world_.Happens(rates_.truncate)) {
    body->resize(world_.Below(body->size()));
    world_.Count("truncated body");
    return true;
  }
  if (world_.Happens(rates_.bit_flip)) {
    (*body)[world_.Below(body->size())] ^= static_cast<char>(1 << world_.Below(7));
    world_.Count("flipped bit");
    return true;
  }
  return false;
}

void SimNetwork::SpoilRecord(std::string* records) {
  if (!world_.Happens(rates_.bad_record)) return;
  constexpr std::string_view kMembers[] = {"\"epoch\":\"", "\"stamp\":\"", "\"digest\":\"",
                                           "\"chain\":\"", "\"text\":\"",  "\"sender\":\"",
                                           "\"key\":\""};
  const std::string_view member = kMembers[world_.Below(std::size(kMembers))];
  std::vector<size_t> values;
  for (size_t at = records->find(member); at != std::string::npos;
       at = records->find(member, at + 1)) {
    values.push_back(at + member.size());
  }
  if (values.empty()) return;
  const size_t begin = values[world_.Below(values.size())];
  const size_t end = records->find('"', begin);
  char& changed = (*records)[begin + world_.Below(end - begin)];
  // Still what may stand there: a hex digit, a letter.
  changed = changed == '1' ? '2' : '1';
  world_.Count("bad record");
}

void SimNetwork::HealLinks() {
  cut_.clear();
  delays_us_.clear();
}

void SimNetwork::Calm() {
  HealLinks();
  rates_.loss = rates_.duplicate = rates_.slow = rates_.truncate = rates_.bit_flip =
      rates_.bad_record = 0;
}

}  // namespace chatchain::simulation
