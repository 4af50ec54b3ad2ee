// SPDX-License-Identifier: MIT
// Changes the database of a stopped node behind its back: flipped bits, and real forks.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "common/protocol/message.h"
#include "common/protocol/record.h"

namespace chatchain::testing {

class Tamper {
 public:
  // REQUIRES: no process has it open.
  explicit Tamper(const std::string& database_path);

  // One statement that changes exactly one row; anything else fails the test.
  void ChangeOneRow(const std::string& sql);
  int64_t Int(const std::string& sql);

  // The longest epoch of that origin, and the store's short name of it.
  EpochKey EpochOf(const std::string& origin, int64_t* ref = nullptr);

  // Puts `message` in the place of the one at that position of EpochOf(origin), and recomputes all
  // chains from there on: a second branch that is as good as the first. The replaced message is
  // gone here.
  void Fork(const std::string& cluster, const std::string& origin, Seq seq,
            const ValidMessage& message);

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
};

}  // namespace chatchain::testing
