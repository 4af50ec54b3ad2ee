// SPDX-License-Identifier: MIT
// The layer over SQLite's page cache, held against what SQLite asks of a page cache
// (https://www.sqlite.org/c3ref/pcache_methods2.html) and against a plain map.
#include "node/store/sqlite_pcache.h"

#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "node/store/sqlite.h"
#include "tests/support/store_test.h"

namespace chatchain {

namespace {

constexpr int kPageBytes = 4096;
constexpr int kExtraBytes = 64;
constexpr unsigned kLockPage = 0x40000000 / kPageBytes + 1;
constexpr int kCreate = 2;  // as SQLite says: at any price
constexpr int kLook = 0;

sqlite3_pcache_methods2 below;  // SQLite's own
int walks = 0;                  // how often it was told to truncate

// The layer over SQLite's own cache, which counts; as it was before when this goes. REQUIRES:
// no database is open.
class Layer {
 public:
  Layer() {
    Install([] {
      const sqlite3_pcache_methods2 none{};
      sqlite3_config(SQLITE_CONFIG_PCACHE2, &none);
      sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &below);
      sqlite3_pcache_methods2 counting = below;
      counting.xTruncate = [](sqlite3_pcache* cache, unsigned limit) {
        ++walks;
        below.xTruncate(cache, limit);
      };
      sqlite3_config(SQLITE_CONFIG_PCACHE2, &counting);
    });
    walks = 0;
    sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &methods);
    REQUIRE(sqlite3_initialize() == SQLITE_OK);
  }
  ~Layer() {
    Install([] {
      const sqlite3_pcache_methods2 none{};
      sqlite3_config(SQLITE_CONFIG_PCACHE2, &none);
    });
  }
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  sqlite3_pcache_methods2 methods{};

 private:
  template <typename Below>
  static void Install(Below set_below) {
    sqlite3_shutdown();
    set_below();
    InstallPageCache();
    InstallPageCache();  // once more changes nothing
  }
};

// A cache as a connection has it.
class Pages {
 public:
  explicit Pages(const Layer& layer, int most = 10'000)
      : methods_(layer.methods), cache_(methods_.xCreate(kPageBytes, kExtraBytes, 1)) {
    REQUIRE(cache_ != nullptr);
    methods_.xCachesize(cache_, most);
  }
  ~Pages() { methods_.xDestroy(cache_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  // Pinned.
  sqlite3_pcache_page* Fetch(unsigned key, int create) {
    return methods_.xFetch(cache_, key, create);
  }
  // Pinned, with `value` in it.
  sqlite3_pcache_page* Put(unsigned key, int value) {
    sqlite3_pcache_page* page = Fetch(key, kCreate);
    REQUIRE(page != nullptr);
    std::memcpy(page->pBuf, &value, sizeof(value));
    return page;
  }
  void Unpin(sqlite3_pcache_page* page, bool discard = false) {
    methods_.xUnpin(cache_, page, discard ? 1 : 0);
  }
  // What is in the page; -1 where there is none. It is not pinned afterwards.
  int ValueAt(unsigned key) {
    sqlite3_pcache_page* page = Fetch(key, kLook);
    if (page == nullptr) return -1;
    int value = 0;
    std::memcpy(&value, page->pBuf, sizeof(value));
    Unpin(page);
    return value;
  }
  void Rekey(sqlite3_pcache_page* page, unsigned from, unsigned to) {
    methods_.xRekey(cache_, page, from, to);
  }
  void Truncate(unsigned limit) { methods_.xTruncate(cache_, limit); }
  int count() { return methods_.xPagecount(cache_); }
  void Shrink() { methods_.xShrink(cache_); }

 private:
  const sqlite3_pcache_methods2& methods_;
  sqlite3_pcache* const cache_;
};

}  // namespace

TEST_CASE("a page is found until it is discarded, and stays where it is while pinned", "[pcache]") {
  const Layer layer;
  Pages pages(layer);
  CHECK(pages.Fetch(1, kLook) == nullptr);
  CHECK(pages.count() == 0);
  sqlite3_pcache_page* page = pages.Put(1, 41);
  REQUIRE(page->pExtra != nullptr);
  CHECK(pages.Fetch(1, kCreate) == page);
  CHECK(pages.count() == 1);
  pages.Unpin(page);
  CHECK(pages.ValueAt(1) == 41);
  pages.Unpin(pages.Fetch(1, kLook), /*discard=*/true);
  CHECK(pages.ValueAt(1) == -1);
  CHECK(pages.count() == 0);
}

TEST_CASE("a page that gets another number is found under that one alone", "[pcache]") {
  const Layer layer;
  Pages pages(layer);
  sqlite3_pcache_page* page = pages.Put(7, 70);
  pages.Rekey(page, 7, 9);
  CHECK(pages.ValueAt(7) == -1);
  CHECK(pages.ValueAt(9) == 70);
  // A number above all others counts as one.
  pages.Truncate(9);
  CHECK(pages.count() == 0);
}

TEST_CASE("a cut takes every page from there on, pinned or not, and no other", "[pcache]") {
  const Layer layer;
  Pages pages(layer);
  for (unsigned key = 1; key <= 20; ++key) {
    sqlite3_pcache_page* page = pages.Put(key, static_cast<int>(key));
    if (key % 2 == 0) pages.Unpin(page);
  }
  pages.Truncate(11);
  CHECK(pages.count() == 10);
  for (unsigned key = 1; key <= 20; ++key) {
    CHECK(pages.ValueAt(key) == (key <= 10 ? static_cast<int>(key) : -1));
  }
  // Those numbers may come again, and be cut again.
  pages.Unpin(pages.Put(15, 150));
  pages.Truncate(15);
  CHECK(pages.ValueAt(15) == -1);
  pages.Truncate(0);
  CHECK(pages.count() == 0);
}

TEST_CASE("a commit that leaves nothing behind its file walks over nothing", "[pcache]") {
  const Layer layer;
  Pages pages(layer);
  for (unsigned key = 1; key <= 20; ++key) pages.Unpin(pages.Put(key, static_cast<int>(key)));
  pages.Truncate(21);
  CHECK(walks == 0);
  // As the balancing of a tree does it: two pages change numbers by way of the lock byte's.
  sqlite3_pcache_page* three = pages.Fetch(3, kLook);
  sqlite3_pcache_page* five = pages.Fetch(5, kLook);
  pages.Rekey(three, 3, kLockPage);
  pages.Rekey(five, 5, 3);
  pages.Rekey(three, kLockPage, 5);
  pages.Unpin(three);
  pages.Unpin(five);
  pages.Truncate(21);
  CHECK(walks == 0);
  CHECK(pages.ValueAt(3) == 5);
  CHECK(pages.ValueAt(5) == 3);
  CHECK(pages.count() == 20);

  // One that is left there, as by a statement that fails halfway, is cut off.
  pages.Rekey(pages.Fetch(4, kLook), 4, kLockPage);
  pages.Truncate(kLockPage + 1);
  CHECK(pages.count() == 20);
  pages.Truncate(21);
  CHECK(pages.ValueAt(kLockPage) == -1);
  CHECK(pages.count() == 19);
  const int before = walks;
  pages.Truncate(21);
  CHECK(walks == before);
}

TEST_CASE("whatever is done, the cache holds what a map would", "[pcache]") {
  const Layer layer;
  Pages pages(layer);
  std::map<unsigned, int> model;
  std::mt19937 random(1);  // the same on every machine
  const auto below_n = [&](unsigned n) { return static_cast<unsigned>(random()) % n; };
  // Beside the lock byte's page, too: a file may be larger than that.
  const auto any_key = [&] {
    return below_n(2) == 0 ? 1 + below_n(30) : kLockPage - 4 + below_n(8);
  };
  for (int step = 0; step < 20'000; ++step) {
    const unsigned key = any_key();
    switch (below_n(5)) {
      case 0:
      case 1:
        pages.Unpin(pages.Put(key, step));
        model[key] = step;
        break;
      case 2:
        if (sqlite3_pcache_page* page = pages.Fetch(key, kLook)) {
          pages.Unpin(page, /*discard=*/true);
          model.erase(key);
        }
        break;
      case 3: {
        // As SQLite does it: what has the number now goes first.
        const unsigned to = any_key();
        if (to == key) break;
        if (sqlite3_pcache_page* page = pages.Fetch(key, kLook)) {
          if (sqlite3_pcache_page* other = pages.Fetch(to, kLook)) pages.Unpin(other, true);
          pages.Rekey(page, key, to);
          pages.Unpin(page);
          model[to] = model[key];
          model.erase(key);
        }
        break;
      }
      case 4:
        if (below_n(4) != 0) break;
        pages.Truncate(key);
        model.erase(model.lower_bound(key), model.end());
        break;
    }
    if (pages.count() != static_cast<int>(model.size())) {
      FAIL("step " << step << ": " << pages.count() << " pages, not " << model.size());
    }
    if (pages.ValueAt(key) != (model.count(key) > 0 ? model[key] : -1)) {
      FAIL("step " << step << ": page " << key << " is not what it was");
    }
  }
  for (const auto& [key, value] : model) CHECK(pages.ValueAt(key) == value);
}

TEST_CASE("the cache stays within its size: pages that nobody uses make room", "[pcache]") {
  const Layer layer;
  constexpr int kMost = 50;
  Pages pages(layer, kMost);
  std::vector<sqlite3_pcache_page*> pinned;
  for (unsigned key = 1; key <= 10; ++key) {
    pinned.push_back(pages.Put(key, static_cast<int>(key)));
  }
  for (unsigned key = 11; key <= 2000; ++key) {
    pages.Unpin(pages.Put(key, static_cast<int>(key)));
    REQUIRE(pages.count() <= kMost);
  }
  CHECK(pages.ValueAt(2000) == 2000);
  for (unsigned key = 1; key <= 10; ++key) CHECK(pages.Fetch(key, kLook) == pinned[key - 1]);
  pages.Shrink();
  CHECK(pages.count() == 10);
  CHECK(pages.ValueAt(1) == 1);
}

TEST_CASE("a database works on it: what is rolled back or dropped does not stay", "[pcache]") {
  const Layer layer;
  const test::TempDir dir;
  {
    Database db(dir.File("some.db"), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    db.Execute("PRAGMA journal_mode=WAL");
    db.Execute("CREATE TABLE t(n INTEGER PRIMARY KEY, b BLOB)");
    db.Execute("CREATE INDEX i ON t(b)");
    const auto insert = [&](int rows) {
      db.Execute(("WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM c LIMIT " +
                  std::to_string(rows) + ") INSERT INTO t(b) SELECT randomblob(300) FROM c")
                     .c_str());
    };
    insert(2000);
    // Without the layer each commit is a walk.
    walks = 0;
    for (int i = 0; i < 200; ++i) db.Execute("INSERT INTO t(b) VALUES (randomblob(300))");
    CHECK(walks < 20);
    db.Execute("BEGIN");
    insert(2000);
    db.Execute("ROLLBACK");
    db.Execute("DELETE FROM t WHERE n % 3 <> 0");
    db.Execute("VACUUM");
    insert(500);
    Statement check(db, "PRAGMA integrity_check");
    REQUIRE(check.Step());
    CHECK(check.Text(0) == "ok");
    Statement rows(db, "SELECT count(*) FROM t");
    REQUIRE(rows.Step());
    CHECK(rows.Int(0) == 2200 / 3 + 500);
  }
}

}  // namespace chatchain
