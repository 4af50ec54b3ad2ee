// SPDX-License-Identifier: MIT
#include "node/http/page_cache.h"

#include <utility>

namespace chatchain {

PageCache::PagePtr PageCache::Find(uint64_t version, const std::string& target) const {
  MutexLock lock(mutex_);
  if (version != version_) return nullptr;
  const auto it = pages_.find(target);
  return it == pages_.end() ? nullptr : it->second;
}

void PageCache::Keep(uint64_t version, const std::string& target, PagePtr page) {
  const size_t bytes = target.size() + page->body.size() + page->link.size();
  if (bytes > kMaxBytes / 4) return;
  MutexLock lock(mutex_);
  if (version < version_) return;  // a slow reader's
  if (version > version_ || pages_.size() >= kMaxPages || bytes_ + bytes > kMaxBytes) {
    pages_.clear();
    bytes_ = 0;
    version_ = version;
  }
  if (pages_.emplace(target, std::move(page)).second) bytes_ += bytes;
}

}  // namespace chatchain
