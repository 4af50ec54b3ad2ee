// SPDX-License-Identifier: MIT
#include "node/store/name_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/util/encoding.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

// As it is in `names.entries`.
constexpr size_t kEntryBytes = 8 + 22 + 8;

bool IsBefore(const NameEntry& entry, const Place& place) {
  return entry.place < place;
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
  entries.reserve(bytes.size() / kEntryBytes);
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

NameRow RowOf(const Statement& rows) {
  NameRow row{rows.Int(0), {StampFromSql(rows.Int(1)), {}}, Decode(rows.Blob(3))};
  MessageId::FromBytes(rows.Blob(2), &row.begin.id);
  return row;
}

std::optional<NameRow> FirstOf(Statement& rows, std::string_view key, const Place& place) {
  const ScopedReset reset(rows);
  BindPlace(&rows, key, place);
  if (!rows.Step()) return std::nullopt;
  return RowOf(rows);
}

}  // namespace

std::string NameKey(NameRole role, std::string_view name) {
  std::string key(1, static_cast<char>(role));
  key += name;
  return key;
}

bool HasName(Statement& back, std::string_view key, const NameEntry& entry) {
  const auto row = FirstOf(back, key, entry.place);
  return row && std::any_of(row->entries.begin(), row->entries.end(), [&](const NameEntry& other) {
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

std::optional<NameRow> NameRows::Next() {
  bool found = false;
  Statement* rows = &back_;
  if (!onward_) found = back_.Step();
  if (!descending_ && !found) {
    rows = &on_;
    found = on_.Step();
  }
  onward_ = !descending_;
  if (!found) return std::nullopt;
  return RowOf(*rows);
}

NameTable::NameTable(const Database& db, Options options)
    : db_(db),
      options_(options),
      back_(db, kNameRowsBackSql),
      on_(db, kNameRowsOnSql),
      insert_(db, "INSERT INTO names(name, stamp, id, entries) VALUES (?1, ?2, ?3, ?4)"),
      // The row under which the index found it, and no other; its keys stay, since those of an
      // index that does not match would end all writing.
      update_(db,
              "UPDATE names SET entries=?4 WHERE ref=?5 AND +name=?1 AND +stamp=?2 AND +id=?3") {}

void NameTable::Insert(std::string_view key, const std::vector<NameEntry>& entries) {
  const NameEntry* begin = entries.data();
  const NameEntry* const all_end = begin + entries.size();
  while (begin != all_end) {
    auto before = FirstOf(back_, key, begin->place);
    std::optional<Place> next;
    if (const auto behind = FirstOf(on_, key, begin->place)) next = behind->begin;
    const NameEntry* const end =
        next ? std::lower_bound(begin + 1, all_end, *next, IsBefore) : all_end;
    InsertBetween(key, begin, end, std::move(before), next);
    begin = end;
  }
}

void NameTable::InsertBetween(std::string_view key, const NameEntry* begin, const NameEntry* end,
                              std::optional<NameRow> before, const std::optional<Place>& next) {
  std::vector<NameEntry> all(begin, end);
  if (before) {
    std::vector<NameEntry>& old = before->entries;
    // What stands outside of the row's range is damage.
    std::erase_if(old, [&](const NameEntry& entry) {
      return entry.place < before->begin || (next && entry.place >= *next);
    });
    const bool overlaps = std::any_of(old.begin(), old.end(), [&](const NameEntry& entry) {
      return entry.place >= begin->place;
    });
    const bool has_room =
        old.size() + all.size() <= options_.max_entries || 2 * old.size() < options_.max_entries;
    if (overlaps || has_room || before->begin == begin->place) {
      const auto in_order = [](const NameEntry& a, const NameEntry& b) {
        return a.place < b.place;
      };
      std::sort(old.begin(), old.end(), in_order);
      all.clear();
      // Of two with one place it keeps that of the first range.
      std::set_union(begin, end, old.begin(), old.end(), std::back_inserter(all), in_order);
    } else {
      before.reset();
    }
  }
  // Rows of about the same size, so that each keeps room for what comes late.
  const size_t rows = (all.size() + options_.max_entries - 1) / options_.max_entries;
  size_t written = 0;
  if (before) {
    written = all.size() / rows;
    if (!Rewrite(key, *before, all.data(), all.data() + written)) {
      all.assign(begin, end);
      written = 0;
    }
  }
  for (size_t left = all.size() - written; left > 0; left = all.size() - written) {
    const size_t more = (left + options_.max_entries - 1) / options_.max_entries;
    const NameEntry* const first = all.data() + written;
    const std::string bytes = Encode(first, first + left / more);
    BindPlace(&insert_, key, first->place);
    insert_.BindBlob(4, bytes).Run();
    written += left / more;
  }
}

bool NameTable::Rewrite(std::string_view key, const NameRow& row, const NameEntry* begin,
                        const NameEntry* end) {
  const std::string bytes = Encode(begin, end);
  BindPlace(&update_, key, row.begin);
  update_.BindBlob(4, bytes).Bind(5, row.ref).Run();
  return sqlite3_changes(db_.handle()) == 1;
}

}  // namespace chatchain
