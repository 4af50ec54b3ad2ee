// SPDX-License-Identifier: MIT
// SQLite's own page cache, without a walk over the whole of it at each commit.
//
// At the end of a transaction SQLite cuts the cache off behind the last page of the file. Its cache
// looks through all that it holds for that, unless the largest number it has ever seen is in the
// file. Since version 3.39 or so, balancing a tree gives a page the number of the lock byte's page
// for a moment (`balance_nonroot`: 262145 with pages of 4 KiB), and nearly every transaction
// balances some tree: measured, a tenth of the writer's time. This layer between SQLite and its
// cache knows whether a page has that number still, and leaves out what would find nothing.
//
// See https://www.sqlite.org/c3ref/pcache_methods2.html. Thread rule: SQLite's, one at a time for
// each cache.
#pragma once

namespace chatchain {

// Puts the layer in place. Before anything else has used SQLite: sqlite3_config() demands it.
// Without effect where SQLite refuses, and where the layer is in place.
void InstallPageCache();

}  // namespace chatchain
