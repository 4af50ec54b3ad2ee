// SPDX-License-Identifier: MIT
// What a simulation does, and how often. Rates are per thousand: of network faults per message, of
// everything else per turn of the nemesis or of a client. A seed scales each of them by itself, so
// that one seed is quiet in what another one is full of.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace chatchain::simulation {

enum class Mode {
  kSafety,    // faults all the time, then everything heals
  kLiveness,  // faults stop, and only some of the nodes live on
};

struct Rates {
  // A message between two programs.
  uint64_t loss = 20;
  uint64_t duplicate = 20;
  uint64_t slow = 50;        // up to 3 s late: overtaken by others
  uint64_t truncate = 10;    // bodies of sync
  uint64_t bit_flip = 10;    // bodies of sync
  uint64_t bad_record = 10;  // answers of sync in which a record is not what the peer has stored

  // The nemesis.
  uint64_t partition = 20;  // of some from the others, both ways
  uint64_t one_way = 20;    // one link, one direction
  uint64_t flap = 20;       // one node, for a moment
  uint64_t slow_link = 10;
  uint64_t heal_network = 60;
  uint64_t kill = 30;         // the process; the machine lives
  uint64_t power = 30;        // at once
  uint64_t power_later = 30;  // at the n-th call of the disk
  uint64_t crash_step = 40;   // at a named step of the writer
  uint64_t stop = 10;         // a clean end
  uint64_t start = 200;       // of what is down
  uint64_t disk_full = 10;
  uint64_t disk_error = 10;  // of a write, a sync or a read, at the n-th call
  uint64_t slow_disk = 10;
  uint64_t snapshot = 25;
  uint64_t restore = 8;
  uint64_t restore_elsewhere = 4;  // the same snapshot at a second node
  uint64_t forget_seal = 20;       // a restore that takes a seal from a node on which tokens count
  uint64_t wipe = 5;
  uint64_t clone = 4;    // a further node on a copy of a disk, with the same id
  uint64_t new_id = 3;   // an empty disk, under the id of another node
  uint64_t fork = 6;     // a stored epoch is rewritten from some record on, chain included
  uint64_t damage = 12;  // a stored value changes
  uint64_t clock_jump = 15;
  uint64_t proxy_death = 20;

  // A client's turn.
  uint64_t repeat = 100;  // an earlier message again
  uint64_t reuse = 40;    // an earlier key with another text
  uint64_t batch = 200;
  uint64_t acks = 100;
  uint64_t read = 150;
  uint64_t list = 100;
  uint64_t walk = 100;
  uint64_t poll = 250;
  // Reads and polls, where there is one: at a node that lacks a seal which their token counts on.
  uint64_t astray = 500;
};

inline constexpr size_t kMaxNodes = 7;

struct SimOptions {
  uint64_t seed = 1;
  uint64_t steps = 2000;  // events from the first fault until faults stop
  uint64_t nodes = 0;     // 0: 3 to 5, as the seed says
  // Before the first fault: restarts of all nodes in turn, with messages between, while at times
  // one of them is dead for long and comes back with more. Old epochs, and seals of them, are there
  // then.
  uint64_t restarts = 0;
  Mode mode = Mode::kSafety;
  Rates rates;
  bool trace = false;  // to standard output
};

// Every rate by its name, to be set or shown.
std::vector<std::pair<std::string_view, uint64_t*>> RatesByName(Rates* rates);

}  // namespace chatchain::simulation
