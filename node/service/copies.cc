// SPDX-License-Identifier: MIT
#include "node/service/copies.h"

#include <algorithm>
#include <set>

namespace chatchain {

namespace {

// Ids are free to choose: their number must not be a way to fill memory.
constexpr size_t kMaxNodes = 256;

}  // namespace

void CopyTracker::Seen(const std::string& node, HeadVector have) {
  if (node == node_id_) return;
  {
    MutexLock lock(mutex_);
    if (have_.size() >= kMaxNodes && have_.count(node) == 0) return;
    have_[node] = std::move(have);
    ++version_;
  }
  changed_.NotifyAll();
}

void CopyTracker::Poke() {
  {
    MutexLock lock(mutex_);
    ++version_;
    ++arrivals_;
  }
  changed_.NotifyAll();
}

int CopyTracker::Count(const std::vector<std::pair<EpochKey, Seq>>& positions) const {
  std::set<std::string> holders = {node_id_};
  for (const auto& [key, seq] : positions) holders.insert(key.origin);
  MutexLock lock(mutex_);
  for (const auto& [node, have] : have_) {
    for (const auto& [key, seq] : positions) {
      if (Covers(have, key, seq)) holders.insert(node);
    }
  }
  return static_cast<int>(holders.size());
}

HeadVector CopyTracker::LastSeen(const std::string& node) const {
  MutexLock lock(mutex_);
  const auto it = have_.find(node);
  return it == have_.end() ? HeadVector{} : it->second;
}

std::vector<HeadVector> CopyTracker::LastSeenExcept(const std::vector<std::string>& ids) const {
  std::vector<HeadVector> seen;
  MutexLock lock(mutex_);
  for (const auto& [node, have] : have_) {
    if (std::find(ids.begin(), ids.end(), node) == ids.end()) seen.push_back(have);
  }
  return seen;
}

uint64_t CopyTracker::arrivals() const {
  MutexLock lock(mutex_);
  return arrivals_;
}

uint64_t CopyTracker::version() const {
  MutexLock lock(mutex_);
  return version_;
}

bool CopyTracker::WaitForChange(uint64_t version, SteadyTime deadline) const {
  MutexLock lock(mutex_);
  while (version_ == version) {
    if (interrupted_ || !changed_.WaitUntil(mutex_, deadline)) return false;
  }
  return true;
}

void CopyTracker::Interrupt() {
  {
    MutexLock lock(mutex_);
    interrupted_ = true;
  }
  changed_.NotifyAll();
}

}  // namespace chatchain
