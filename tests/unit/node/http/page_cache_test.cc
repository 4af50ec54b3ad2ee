// SPDX-License-Identifier: MIT
#include "node/http/page_cache.h"

#include <catch2/catch.hpp>

namespace chatchain {

namespace {

PageCache::PagePtr PageOf(size_t bytes, const std::string& link = "") {
  return std::make_shared<const PageCache::Page>(PageCache::Page{std::string(bytes, 'x'), link});
}

}  // namespace

TEST_CASE("a page is found until the log changes", "[page_cache]") {
  PageCache cache;
  CHECK(cache.Find(0, "/messages") == nullptr);
  const auto page = PageOf(10, "<next>");
  cache.Keep(7, "/messages", page);
  CHECK(cache.Find(7, "/messages") == page);
  CHECK(cache.Find(7, "/messages?limit=1") == nullptr);
  CHECK(cache.Find(8, "/messages") == nullptr);
  CHECK(cache.Find(7, "/messages") == page);

  const auto other = PageOf(20);
  cache.Keep(8, "/messages?limit=1", other);
  CHECK(cache.Find(7, "/messages") == nullptr);
  CHECK(cache.Find(8, "/messages") == nullptr);
  CHECK(cache.Find(8, "/messages?limit=1") == other);

  // Made by a reader that took its time.
  cache.Keep(7, "/messages", page);
  CHECK(cache.Find(7, "/messages") == nullptr);
  CHECK(cache.Find(8, "/messages?limit=1") == other);
}

TEST_CASE("pages take bounded memory", "[page_cache]") {
  PageCache cache;
  cache.Keep(1, "huge", PageOf(PageCache::kMaxBytes));
  CHECK(cache.Find(1, "huge") == nullptr);

  size_t kept = 0;
  for (size_t i = 0; i < 2 * PageCache::kMaxPages; ++i) {
    cache.Keep(1, std::to_string(i), PageOf(1));
    CHECK(cache.Find(1, std::to_string(i)) != nullptr);
  }
  for (size_t i = 0; i < 2 * PageCache::kMaxPages; ++i)
    kept += cache.Find(1, std::to_string(i)) ? 1 : 0;
  CHECK(kept <= PageCache::kMaxPages);

  kept = 0;
  constexpr size_t kLarge = PageCache::kMaxBytes / 5;
  for (size_t i = 0; i < 20; ++i) cache.Keep(2, std::to_string(i), PageOf(kLarge));
  for (size_t i = 0; i < 20; ++i) kept += cache.Find(2, std::to_string(i)) ? 1 : 0;
  CHECK(kept * kLarge <= PageCache::kMaxBytes);
  CHECK(kept > 0);
}

}  // namespace chatchain
