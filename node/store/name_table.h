// SPDX-License-Identifier: MIT
// The table `names`: the index by sender, recipient and room.
//
// An entry says where in history a message of a name stands. A row holds several entries of one
// name in order of place, and stands under the first of them; the ranges of two rows of a name do
// not overlap. So what a commit brings of a name is written into few rows, and a walk reads few.
//
// `names.name` is the letter of the role, then the name. `names.entries` is, of each entry, the
// stamp (u64), the id (22 bytes) and the number of the message (u64), integers big-endian.
// Entries are not removed: one counts only where the message still has that id and stamp.
//
// All belongs to the thread of the Database, and throws SqliteError.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/token.h"
#include "node/store/sqlite.h"

namespace chatchain {

enum class NameRole : char { kSender = 's', kRecipient = 'r', kRoom = 'm' };

// As `names.name` has it.
std::string NameKey(NameRole role, std::string_view name);

struct NameEntry {
  Place place;
  int64_t message_ref = 0;
};

// Rows of the name ?1: those that begin at the place (?2, ?3) or before it, the last one first; and
// those that begin later. Both give what ReadNameRow() reads.
inline constexpr const char* kNameRowsBackSql =
    "SELECT stamp, id, entries FROM names WHERE name=?1 AND (stamp, id) <= (?2, ?3) "
    "ORDER BY stamp DESC, id DESC";
inline constexpr const char* kNameRowsOnSql =
    "SELECT stamp, id, entries FROM names WHERE name=?1 AND (stamp, id) > (?2, ?3) "
    "ORDER BY stamp, id";

// `back`: of kNameRowsBackSql.
bool HasName(Statement& back, std::string_view key, const NameEntry& entry);

// The rows of a name in order of place, or against it, beginning with the one that `from` is in.
class NameRows {
 public:
  // The statements, of kNameRowsBackSql and kNameRowsOnSql, must outlive it and serve nobody else.
  NameRows(Statement& back, Statement& on, std::string key, const Place& from, bool descending);
  NameRows(const NameRows&) = delete;
  NameRows& operator=(const NameRows&) = delete;

  // False: there are no more.
  bool Next(std::vector<NameEntry>* entries);

 private:
  Statement& back_;
  Statement& on_;
  const ScopedReset reset_back_;
  const ScopedReset reset_on_;
  const std::string key_;
  const Place from_;
  const bool descending_;
  bool onward_ = false;
};

class NameTable {
 public:
  struct Options {
    // Of a row. With more, and names of 40 bytes, SQLite would keep a part of the row on a page of
    // its own: https://www.sqlite.org/fileformat2.html section 1.6, index b-tree cells.
    size_t max_entries = 24;
  };

  NameTable(const Database& db, Options options);

  bool Has(std::string_view key, const NameEntry& entry) { return HasName(back_, key, entry); }

  // REQUIRES: `entries` in order of place, each place once. One that is there already is replaced.
  void Insert(std::string_view key, const std::vector<NameEntry>& entries);

 private:
  const Options options_;
  Statement back_;
  Statement on_;
  Statement write_;
  Statement remove_;
};

}  // namespace chatchain
