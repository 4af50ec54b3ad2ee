// SPDX-License-Identifier: MIT
#include "node/store/sqlite_pcache.h"

#include <sqlite3.h>

#include <algorithm>
#include <new>

namespace chatchain {

namespace {

// SQLite's own; set once, before any cache exists.
sqlite3_pcache_methods2 inner_methods;

// Where the lock byte is, and so which page is never a page of the file:
// https://www.sqlite.org/fileformat2.html#the_lock_byte_page
constexpr unsigned kLockByte = 0x40000000;

struct Cache {
  sqlite3_pcache* inner = nullptr;
  unsigned lock_page = 0;
  unsigned largest = 0;  // of the numbers that pages have had, but for the lock page's
  bool parked = false;   // a page may have the lock page's number
};

Cache& Of(sqlite3_pcache* cache) {
  return *reinterpret_cast<Cache*>(cache);
}

sqlite3_pcache* Create(int page_bytes, int extra_bytes, int purgeable) {
  auto* cache = new (std::nothrow) Cache;
  if (cache == nullptr) return nullptr;
  cache->inner = inner_methods.xCreate(page_bytes, extra_bytes, purgeable);
  cache->lock_page = kLockByte / static_cast<unsigned>(page_bytes) + 1;
  if (cache->inner == nullptr) {
    delete cache;
    return nullptr;
  }
  return reinterpret_cast<sqlite3_pcache*>(cache);
}

void Cachesize(sqlite3_pcache* cache, int pages) {
  inner_methods.xCachesize(Of(cache).inner, pages);
}

int Pagecount(sqlite3_pcache* cache) {
  return inner_methods.xPagecount(Of(cache).inner);
}

sqlite3_pcache_page* Fetch(sqlite3_pcache* cache, unsigned key, int create) {
  Cache& self = Of(cache);
  if (create != 0) self.largest = std::max(self.largest, key);
  return inner_methods.xFetch(self.inner, key, create);
}

void Unpin(sqlite3_pcache* cache, sqlite3_pcache_page* page, int discard) {
  inner_methods.xUnpin(Of(cache).inner, page, discard);
}

void Rekey(sqlite3_pcache* cache, sqlite3_pcache_page* page, unsigned old_key, unsigned new_key) {
  Cache& self = Of(cache);
  inner_methods.xRekey(self.inner, page, old_key, new_key);
  if (old_key == self.lock_page) self.parked = false;
  if (new_key == self.lock_page) {
    self.parked = true;
  } else {
    self.largest = std::max(self.largest, new_key);
  }
}

// Drops the pages from `limit` on.
void Truncate(sqlite3_pcache* cache, unsigned limit) {
  Cache& self = Of(cache);
  if (limit > self.largest && !self.parked) return;  // there are none
  inner_methods.xTruncate(self.inner, limit);
  if (limit <= self.largest) self.largest = limit > 0 ? limit - 1 : 0;
  if (limit <= self.lock_page) self.parked = false;
}

void Destroy(sqlite3_pcache* cache) {
  inner_methods.xDestroy(Of(cache).inner);
  delete &Of(cache);
}

void Shrink(sqlite3_pcache* cache) {
  inner_methods.xShrink(Of(cache).inner);
}

}  // namespace

void InstallPageCache() {
  sqlite3_pcache_methods2 methods{};
  if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &methods) != SQLITE_OK) return;
  if (methods.xCreate == Create) return;  // a layer over itself would call itself without end
  inner_methods = methods;                // with its xInit and xShutdown, which stay
  methods.xCreate = Create;
  methods.xCachesize = Cachesize;
  methods.xPagecount = Pagecount;
  methods.xFetch = Fetch;
  methods.xUnpin = Unpin;
  methods.xRekey = Rekey;
  methods.xTruncate = Truncate;
  methods.xDestroy = Destroy;
  methods.xShrink = Shrink;
  sqlite3_config(SQLITE_CONFIG_PCACHE2, &methods);
}

}  // namespace chatchain
