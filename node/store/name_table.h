// SPDX-License-Identifier: MIT
// The table `names`: the index by sender, recipient and room.
//
// An entry says where in history a message of a name stands. A row holds several entries of one
// name in order of place, and stands under the first of them; the ranges of two rows of a name do
// not overlap. So what a commit brings of a name is written into few rows, and a walk reads few.
//
// `names.name` is the letter of the role, then the name. `names.entries` is, of each entry, the
// stamp (u64), the id (22 bytes) and the number of the message (u64), integers big-endian.
// Entries are not removed: one counts only where the message still has that id and stamp. So a
// flipped bit hides messages at most, and what a row stands under is believed before its entries.
//
// All belongs to the thread of the Database, and throws SqliteError.
#pragma once

#include <cstdint>
#include <optional>
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

struct NameRow {
  int64_t ref = 0;
  Place begin;                     // what it stands under
  std::vector<NameEntry> entries;  // where they are whole, in order of place
};

// Rows of the name ?1: those that begin at the place (?2, ?3) or before it, the last one first; and
// those that begin later.
inline constexpr const char* kNameRowsBackSql =
    "SELECT ref, stamp, id, entries FROM names WHERE name=?1 AND (stamp, id) <= (?2, ?3) "
    "ORDER BY stamp DESC, id DESC";
inline constexpr const char* kNameRowsOnSql =
    "SELECT ref, stamp, id, entries FROM names WHERE name=?1 AND (stamp, id) > (?2, ?3) "
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

  // Nothing: there are no more.
  std::optional<NameRow> Next();

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
    size_t max_entries = 48;  // of a row; two such rows fill a page
  };

  NameTable(const Database& db, Options options);

  bool Has(std::string_view key, const NameEntry& entry) { return HasName(back_, key, entry); }

  // REQUIRES: `entries` in order of place, each place once. One that is there already is replaced.
  // Reads and writes two rows an entry at most. A row that is damaged is left as it is.
  void Insert(std::string_view key, const std::vector<NameEntry>& entries);

 private:
  // What belongs behind the row `before`, if there is one, and before that at `next`.
  void InsertBetween(std::string_view key, const NameEntry* begin, const NameEntry* end,
                     std::optional<NameRow> before, const std::optional<Place>& next);

  // False: it is not what the index says it is.
  bool Rewrite(std::string_view key, const NameRow& row, const NameEntry* begin,
               const NameEntry* end);

  const Database& db_;
  const Options options_;
  Statement back_;
  Statement on_;
  Statement insert_;
  Statement update_;
};

}  // namespace chatchain
