// SPDX-License-Identifier: MIT
// A SQLite VFS that gathers what a commit appends to the write-ahead log, and lets another thread
// wait for the disk.
//
// SQLite writes each frame of the log in two calls, the header and the page. They lie one behind
// the other, and nothing depends on them before the file is synced: with synchronous=FULL, SQLite
// syncs the log and only then shows the frames to other connections. So they wait in a buffer, and
// reach the system in one write before the sync, or before anything else is done with the file. An
// error of that write is what the sync then returns.
//
// Between DeferSync(true) and DeferSync(false) the sync of the log is left out, and must be made up
// for by Sync() before anybody is told of the commit. Meanwhile the connection may go on with the
// next transaction: so SQLite works while the disk does. Checkpoints must not be deferred: they
// sync the log before they copy it.
//
// For the connection that writes; connections that only read open the same files as usual.
// See https://www.sqlite.org/vfs.html and https://www.sqlite.org/walformat.html
#pragma once

#include <string>

#include "node/store/sqlite.h"

namespace chatchain {

// The name of such a VFS over the default one of this moment, for sqlite3_open_v2. Thread-safe.
const char* WalVfs();

// Writes the bytes of the write-ahead log of the database `path` once more and syncs them; nothing
// where there is no log, or no database: then SQLite removes the log. REQUIRES: no other process
// writes the database. Throws SqliteError.
//
// When a sync fails, the system takes the pages for written that it could not write: they are read
// as they should be, no later sync writes them, and a power cut takes them away
// (https://wiki.postgresql.org/wiki/Fsync_errors). A process that starts behind such a failure
// finds its predecessor's commits in the log, cannot know which of them are on disk, and must not
// show what may vanish again; worse, an older part of the log that came back after the rest had
// been copied would lie over newer pages.
void RewriteWal(const std::string& path);

// The write-ahead log of an open connection that was opened through WalVfs() and is in WAL mode.
// Valid as long as the connection.
class WalLog {
 public:
  explicit WalLog(const Database& db);  // throws SqliteError

  // By the thread that uses the connection.
  void DeferSync(bool defer);
  // Makes all durable that commits have written so far. By any thread, one at a time. Throws
  // SqliteError.
  void Sync();

 private:
  sqlite3_file* file_ = nullptr;
};

}  // namespace chatchain
