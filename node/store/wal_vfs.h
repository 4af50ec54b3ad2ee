// SPDX-License-Identifier: MIT
// A SQLite VFS that gathers what a commit appends to the write-ahead log.
//
// SQLite writes each frame of the log in two calls, the header and the page. They lie one behind
// the other, and nothing depends on them before the file is synced: with synchronous=FULL, SQLite
// syncs the log and only then shows the frames to other connections. So they wait in a buffer, and
// reach the system in one write before the sync, or before anything else is done with the file. An
// error of that write is what the sync then returns.
//
// For the connection that writes; connections that only read open the same files as usual.
// See https://www.sqlite.org/vfs.html and https://www.sqlite.org/walformat.html
#pragma once

namespace chatchain {

// The name of such a VFS over the default one of this moment, for sqlite3_open_v2. Thread-safe.
const char* WalVfs();

}  // namespace chatchain
