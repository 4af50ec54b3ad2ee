// SPDX-License-Identifier: MIT
#include "node/store/name_tail.h"

#include <algorithm>
#include <set>

namespace chatchain {

namespace {

void SortByPlace(std::vector<NameEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const NameEntry& a, const NameEntry& b) { return a.place < b.place; });
}

}  // namespace

std::vector<NameEntry> NameTail::Copy(NameRole role, std::string_view name) const {
  std::vector<NameEntry> entries;
  {
    MutexLock lock(mutex_);
    const auto it = groups_.find(NameKey(role, name));
    if (it != groups_.end()) entries = it->second.entries;
  }
  SortByPlace(&entries);
  return entries;
}

void NameTail::Add(NameRole role, std::string_view name, const NameEntry& entry) {
  pending_.push_back({NameKey(role, name), entry});
}

bool NameTail::IsGone(const Turn& turn) const {
  const auto it = groups_.find(turn.key);
  return it == groups_.end() || it->second.number != turn.number;
}

// With the entries of `key` that this transaction adds.
NameTail::Run NameTail::PlanGroup(const Key& key) {
  Run run{key, {}};
  const auto group = groups_.find(key);
  if (group != groups_.end()) run.entries = group->second.entries;
  const auto by_key = [](const Pending& a, const Key& b) { return a.key < b; };
  for (auto it = std::lower_bound(pending_.begin(), pending_.end(), key, by_key);
       it != pending_.end() && it->key == key; ++it) {
    it->planned = true;
    run.entries.push_back(it->entry);
  }
  SortByPlace(&run.entries);
  planned_groups_.push_back(key);
  return run;
}

void NameTail::SortPending() {
  std::stable_sort(pending_.begin(), pending_.end(),
                   [](const Pending& a, const Pending& b) { return a.key < b.key; });
}

std::vector<NameTail::Run> NameTail::Plan(int64_t last_message_ref) {
  SortPending();
  std::vector<Run> runs;
  // On the average as many entries go as come. After a crash more may wait; they are worked off
  // over many commits, so that none of these is much longer than the others.
  const size_t enough = 8 * pending_.size() + 256;
  size_t planned = 0;
  const auto plan = [&](const Key& key) {
    runs.push_back(PlanGroup(key));
    planned += runs.back().entries.size();
  };
  for (auto begin = pending_.begin(); begin != pending_.end();) {
    const auto end = std::find_if(begin, pending_.end(),
                                  [&](const Pending& other) { return other.key != begin->key; });
    const auto group = groups_.find(begin->key);
    const size_t waiting = group == groups_.end() ? 0 : group->second.entries.size();
    const bool full = waiting + static_cast<size_t>(end - begin) >= options_.flush_entries;
    if (full && planned < enough) plan(begin->key);
    begin = end;
  }
  // The oldest, too.
  const auto by_size = static_cast<std::ptrdiff_t>(planned_groups_.size());
  for (auto turn = turns_.begin(); turn != turns_.end() && planned < enough; ++turn) {
    if (turn->oldest_ref + options_.max_messages > last_message_ref) break;
    if (IsGone(*turn)) continue;
    const bool is_planned =
        std::binary_search(planned_groups_.begin(), planned_groups_.begin() + by_size, turn->key);
    if (!is_planned) plan(turn->key);
  }
  return runs;
}

std::vector<NameTail::Run> NameTail::PlanAll() {
  SortPending();
  std::vector<Run> runs;
  std::set<Key> keys;
  for (const auto& [key, group] : groups_) keys.insert(key);
  for (const Pending& pending : pending_) keys.insert(pending.key);
  runs.reserve(keys.size());
  for (const Key& key : keys) runs.push_back(PlanGroup(key));
  return runs;
}

void NameTail::Committed(int64_t last_message_ref) noexcept {
  std::vector<Turn> begun;
  {
    MutexLock lock(mutex_);
    for (const Key& key : planned_groups_) groups_.erase(key);
    for (const Pending& pending : pending_) {
      if (pending.planned) continue;
      Group& group = groups_[pending.key];
      if (group.entries.empty()) {
        group.number = ++last_turn_;
        begun.push_back({pending.key, group.number, pending.entry.message_ref});
      }
      group.entries.push_back(pending.entry);
    }
  }
  planned_groups_.clear();
  pending_.clear();
  std::sort(begun.begin(), begun.end(),
            [](const Turn& a, const Turn& b) { return a.oldest_ref < b.oldest_ref; });
  turns_.insert(turns_.end(), begun.begin(), begun.end());
  while (!turns_.empty() && IsGone(turns_.front())) turns_.pop_front();
  complete_up_to_ = turns_.empty() ? last_message_ref : turns_.front().oldest_ref - 1;
}

void NameTail::RolledBack() {
  planned_groups_.clear();
  pending_.clear();
}

}  // namespace chatchain
