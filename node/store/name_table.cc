// SPDX-License-Identifier: MIT
#include "node/store/name_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/util/encoding.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

bool Before(const NameEntry& a, const NameEntry& b) {
  return a.place < b.place;
}

void BindPlace(Statement* rows, std::string_view key, const Place& place) {
  rows->BindText(1, key).Bind(2, SqlStamp(place.stamp)).BindBlob(3, place.id.view());
}

std::string Encode(const NameEntry* begin, const NameEntry* end) {
  std::string bytes;
  for (const NameEntry* entry = begin; entry != end; ++entry) {
    AppendU64(&bytes, entry->place.stamp);
    bytes += entry->place.id.view();
    AppendU64(&bytes, static_cast<uint64_t>(entry->message_ref));
  }
  return bytes;
}

// What is cut off is left out.
std::vector<NameEntry> Decode(std::string_view bytes) {
  std::vector<NameEntry> entries;
  ByteReader reader(bytes);
  NameEntry entry;
  std::string_view id;
  uint64_t ref = 0;
  while (reader.TakeU64(&entry.place.stamp) && reader.TakeBytes(entry.place.id.bytes.size(), &id) &&
         reader.TakeU64(&ref)) {
    MessageId::FromBytes(id, &entry.place.id);
    entry.message_ref = static_cast<int64_t>(ref);
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace

std::string NameKey(NameRole role, std::string_view name) {
  std::string key(1, static_cast<char>(role));
  key += name;
  return key;
}

bool HasName(Statement& back, std::string_view key, const NameEntry& entry) {
  const ScopedReset reset(back);
  BindPlace(&back, key, entry.place);
  if (!back.Step()) return false;
  const std::vector<NameEntry> row = Decode(back.Blob(2));
  return std::any_of(row.begin(), row.end(), [&](const NameEntry& other) {
    return other.place == entry.place && other.message_ref == entry.message_ref;
  });
}

NameRows::NameRows(Statement& back, Statement& on, std::string key, const Place& from,
                   bool descending)
    : back_(back),
      on_(on),
      reset_back_(back),
      reset_on_(on),
      key_(std::move(key)),
      from_(from),
      descending_(descending) {
  BindPlace(&back_, key_, from_);
  BindPlace(&on_, key_, from_);
}

bool NameRows::Next(std::vector<NameEntry>* entries) {
  bool found = false;
  Statement* rows = &back_;
  if (!onward_) found = back_.Step();
  if (!descending_ && !found) {
    rows = &on_;
    found = on_.Step();
  }
  onward_ = !descending_;
  if (found) *entries = Decode(rows->Blob(2));
  return found;
}

NameTable::NameTable(const Database& db, Options options)
    : options_(options),
      back_(db, kNameRowsBackSql),
      on_(db, kNameRowsOnSql),
      write_(db, "INSERT OR REPLACE INTO names(name, stamp, id, entries) VALUES (?1, ?2, ?3, ?4)"),
      remove_(db, "DELETE FROM names WHERE name=?1 AND stamp=?2 AND id=?3") {}

void NameTable::Insert(std::string_view key, const std::vector<NameEntry>& entries) {
  if (entries.empty()) return;
  const Place first = entries.front().place;
  const Place last = entries.back().place;

  // Rows among which the entries fall are written anew; so is the one before them, or else the one
  // behind, where it has room.
  std::vector<NameEntry> old;
  std::vector<Place> old_rows;
  const auto has_room = [&](const std::vector<NameEntry>& row) {
    return row.size() + entries.size() <= options_.max_entries ||
           2 * row.size() < options_.max_entries;
  };
  const auto take = [&](const Statement& row, std::vector<NameEntry> its) {
    Place begin{StampFromSql(row.Int(0)), {}};
    MessageId::FromBytes(row.Blob(1), &begin.id);
    old_rows.push_back(begin);
    old.insert(old.end(), its.begin(), its.end());
  };
  {
    const ScopedReset reset(back_);
    BindPlace(&back_, key, first);
    if (back_.Step()) {
      std::vector<NameEntry> row = Decode(back_.Blob(2));
      const bool overlaps = row.empty() || row.back().place >= first;
      if (overlaps || has_room(row)) take(back_, std::move(row));
    }
  }
  {
    const ScopedReset reset(on_);
    BindPlace(&on_, key, first);
    while (on_.Step()) {
      std::vector<NameEntry> row = Decode(on_.Blob(2));
      const bool behind = !row.empty() && row.front().place > last;
      if (behind && (!old_rows.empty() || !has_room(row))) break;
      take(on_, std::move(row));
      if (behind) break;
    }
  }
  std::vector<NameEntry> all;
  all.reserve(old.size() + entries.size());
  if (!std::is_sorted(old.begin(), old.end(), Before)) std::sort(old.begin(), old.end(), Before);
  // Of two with one place it keeps that of the first range.
  std::set_union(entries.begin(), entries.end(), old.begin(), old.end(), std::back_inserter(all),
                 Before);

  for (const Place& begin : old_rows) {
    BindPlace(&remove_, key, begin);
    remove_.Run();
  }
  // Rows of about the same size, so that each keeps room for what comes late.
  const size_t rows = (all.size() + options_.max_entries - 1) / options_.max_entries;
  for (size_t i = 0; i < rows; ++i) {
    const NameEntry* begin = all.data() + all.size() * i / rows;
    const NameEntry* end = all.data() + all.size() * (i + 1) / rows;
    const std::string bytes = Encode(begin, end);
    BindPlace(&write_, key, begin->place);
    write_.BindBlob(4, bytes).Run();
  }
}

}  // namespace chatchain
