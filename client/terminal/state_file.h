// SPDX-License-Identifier: MIT
// How far `chatchain tail --state FILE` came: the position in the feed, the filters it belongs to,
// and the ids printed last, for a node that repeats them while it is behind. Replaced as a whole
// (written beside it, renamed), so that a reader finds the old or the new one. One process at a
// time: FILE.lock is held. One thread.
#pragma once

#include <deque>
#include <string>

#include "common/protocol/message.h"
#include "common/util/result.h"

namespace chatchain::terminal {

class StateFile {
 public:
  static constexpr size_t kIds = 500;  // that are kept

  ~StateFile();
  StateFile() = default;
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  // Takes the lock and reads what is there. `filters`: what this run prints, in one fixed form. The
  // error is a sentence that says what to do.
  Result<void, std::string> Open(const std::string& path, std::string filters);
  // Whether there was one to go on from.
  bool found() const { return found_; }
  const std::string& after() const { return after_; }
  const std::deque<MessageId>& ids() const { return ids_; }

  // `durable`: also across a loss of power; costs a wait for the disk.
  Result<void, std::string> Save(std::string after, bool durable);
  // To be saved with the next Save().
  void Printed(const MessageId& id);

 private:
  Result<void, std::string> Read();

  std::string path_;
  std::string filters_;
  int lock_ = -1;
  bool found_ = false;
  std::string after_;
  std::deque<MessageId> ids_;  // the newest last
};

}  // namespace chatchain::terminal
