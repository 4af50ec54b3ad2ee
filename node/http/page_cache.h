// SPDX-License-Identifier: MIT
// First pages of GET /messages, kept while nothing changes: many readers ask for the same latest
// messages, and a page that nothing has changed since it was made need not be made again. Bounded;
// thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/util/mutex.h"

namespace chatchain {

class PageCache {
 public:
  static constexpr size_t kMaxPages = 256;
  static constexpr size_t kMaxBytes = 4 << 20;

  struct Page {
    std::string body;
    std::string link;  // the Link header; empty on a last page
  };
  using PagePtr = std::shared_ptr<const Page>;

  // The page that was kept for this target (path and query as they were sent) and
  // LogState::version; null when there is none.
  PagePtr Find(uint64_t version, const std::string& target) const;
  // Forgets all pages of older versions, and all of them where there is no room.
  void Keep(uint64_t version, const std::string& target, PagePtr page);

 private:
  mutable Mutex mutex_;
  uint64_t version_ GUARDED_BY(mutex_) = 0;
  size_t bytes_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, PagePtr> pages_ GUARDED_BY(mutex_);  // by target, all of version_
};

}  // namespace chatchain
