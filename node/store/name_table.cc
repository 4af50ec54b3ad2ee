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
    : options_(options),
      back_(db, kNameRowsBackSql),
      on_(db, kNameRowsOnSql),
      insert_(db, "INSERT INTO names(name, stamp, id, entries) VALUES (?1, ?2, ?3, ?4)"),
      update_(db, "UPDATE names SET stamp=?2, id=?3, entries=?4 WHERE ref=?1") {}

void NameTable::Insert(std::string_view key, const std::vector<NameEntry>& entries) {
  const NameEntry* begin = entries.data();
  const NameEntry* const all_end = begin + entries.size();
  while (begin != all_end) {
    auto before = FirstOf(back_, key, begin->place);
    auto behind = FirstOf(on_, key, begin->place);
    const NameEntry* const end =
        behind ? std::lower_bound(begin, all_end, behind->begin, IsBefore) : all_end;
    InsertBetween(key, begin, end, std::move(before), std::move(behind));
    begin = end;
  }
}

void NameTable::InsertBetween(std::string_view key, const NameEntry* begin, const NameEntry* end,
                              std::optional<NameRow> before, std::optional<NameRow> behind) {
  const auto entries = static_cast<size_t>(end - begin);
  if (before) {
    // What stands outside of the row's range is damage.
    std::erase_if(before->entries, [&](const NameEntry& entry) {
      return entry.place < before->begin || (behind && entry.place >= behind->begin);
    });
    const bool overlaps =
        std::any_of(before->entries.begin(), before->entries.end(),
                    [&](const NameEntry& old) { return !IsBefore(old, begin->place); });
    const bool has_room = before->entries.size() + entries <= options_.max_entries ||
                          2 * before->entries.size() < options_.max_entries;
    if (!overlaps && !has_room && before->begin != begin->place) before.reset();
  }
  // Whole, or else it is left alone: what follows it is not known here.
  if (before || (behind && behind->entries.size() + entries > options_.max_entries)) behind.reset();

  std::optional<NameRow> old = before ? std::move(before) : std::move(behind);
  std::vector<NameEntry> all;
  if (old) {
    const auto in_order = [](const NameEntry& a, const NameEntry& b) { return a.place < b.place; };
    std::sort(old->entries.begin(), old->entries.end(), in_order);
    // Of two with one place it keeps that of the first range.
    std::set_union(begin, end, old->entries.begin(), old->entries.end(), std::back_inserter(all),
                   in_order);
  } else {
    all.assign(begin, end);
  }
  // Rows of about the same size, so that each keeps room for what comes late.
  const size_t rows = (all.size() + options_.max_entries - 1) / options_.max_entries;
  for (size_t i = 0; i < rows; ++i) {
    const NameEntry* const first = all.data() + all.size() * i / rows;
    const std::string bytes = Encode(first, all.data() + all.size() * (i + 1) / rows);
    Statement& write = old && i == 0 ? update_ : insert_;
    write.Bind(2, SqlStamp(first->place.stamp)).BindBlob(3, first->place.id.view());
    write.BindBlob(4, bytes);
    if (old && i == 0) {
      write.Bind(1, old->ref).Run();
    } else {
      write.BindText(1, key).Run();
    }
  }
}

}  // namespace chatchain
