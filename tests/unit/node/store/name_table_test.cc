// SPDX-License-Identifier: MIT
#include "node/store/name_table.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <map>

#include "common/util/encoding.h"
#include "node/store/schema.h"
#include "tests/support/store_test.h"

namespace chatchain {

namespace {

constexpr size_t kMaxEntries = 4;

// As a record of SQLite's has it, https://www.sqlite.org/fileformat2.html section 2.1, with 8
// bytes.
std::string SqlInteger(int64_t value) {
  std::string bytes;
  AppendU64(&bytes, static_cast<uint64_t>(value));
  return bytes;
}

Place PlaceAt(uint64_t stamp, uint8_t id = 0) {
  Place place{stamp, {}};
  place.id.bytes.back() = id;
  return place;
}

struct Fixture {
  test::TempDir dir;
  std::unique_ptr<Database> db;
  std::unique_ptr<NameTable> table;
  bool damaged = false;
  // What is to be there, of each name.
  std::map<std::string, std::map<Place, int64_t>> model;

  Fixture() { Open(); }

  void Open() {
    auto opened = OpenForWriting(dir.File("names.db"), "test", 1);
    REQUIRE(opened);
    db = std::move(*opened);
    table = std::make_unique<NameTable>(*db, NameTable::Options{kMaxEntries});
  }

  void Insert(const std::string& key, const std::map<Place, int64_t>& entries) {
    std::vector<NameEntry> list;
    for (const auto& [place, ref] : entries) {
      list.push_back({place, ref});
      model[key][place] = ref;
    }
    table->Insert(key, list);
  }

  // The entries of the rows that a walk from `from` on reads.
  std::vector<std::pair<Place, int64_t>> Walk(const std::string& key, const Place& from,
                                              bool descending) {
    Statement back(*db, kNameRowsBackSql);
    Statement on(*db, kNameRowsOnSql);
    NameRows rows(back, on, key, from, descending);
    std::vector<std::pair<Place, int64_t>> all;
    while (auto row = rows.Next()) {
      if (!row->entries.empty() && !damaged) REQUIRE(row->begin == row->entries.front().place);
      if (descending) std::reverse(row->entries.begin(), row->entries.end());
      for (const NameEntry& entry : row->entries) all.emplace_back(entry.place, entry.message_ref);
    }
    return all;
  }

  // Walks give what the model has; rows are as they shall be.
  void Check() {
    for (const auto& [key, entries] : model) {
      const std::vector<std::pair<Place, int64_t>> wanted(entries.begin(), entries.end());
      REQUIRE(Walk(key, PlaceAt(0), false) == wanted);
      auto reversed = Walk(key, PlaceAt(UINT64_MAX, 0xff), true);
      std::reverse(reversed.begin(), reversed.end());
      REQUIRE(reversed == wanted);
      for (const auto& [place, ref] : entries) REQUIRE(table->Has(key, {place, ref}));
    }
    Statement sizes(*db, "SELECT length(entries) FROM names");
    while (sizes.Step()) {
      REQUIRE(sizes.Int(0) % 38 == 0);
      REQUIRE(sizes.Int(0) > 0);
      REQUIRE(sizes.Int(0) <= static_cast<int64_t>(38 * kMaxEntries));
    }
  }

  int64_t Changes() { return sqlite3_total_changes64(db->handle()); }

  int64_t Rows() {
    Statement count(*db, "SELECT count(*) FROM names");
    count.Step();
    return count.Int(0);
  }
};

}  // namespace

TEST_CASE("what is inserted is found, whatever the order", "[names]") {
  const auto seed = GENERATE(range(1, 21));
  Fixture f;
  test::SeededRandom random(static_cast<uint64_t>(seed));
  uint64_t now = 100;
  for (int step = 0; step < 150; ++step) {
    const std::string key = NameKey(random.Next() % 2 == 0 ? NameRole::kSender : NameRole::kRoom,
                                    random.Next() % 3 == 0 ? "ab" : "a");
    // Mostly behind what is there, sometimes among it; stamps repeat.
    const uint64_t begin = random.Next() % 4 == 0 ? random.Next() % now : now;
    std::map<Place, int64_t> entries;
    for (uint64_t left = 1 + random.Next() % 9; left > 0; --left) {
      const auto id = static_cast<uint8_t>(random.Next() % 3);
      const auto ref = static_cast<int64_t>(random.Next() % 1000);
      entries[PlaceAt(begin + random.Next() % 12, id)] = ref;
    }
    now += random.Next() % 8;
    f.Insert(key, entries);
  }
  f.Check();
  // From any place on nothing is missing; of what lies before it, one row is given at most.
  for (const auto& [key, entries] : f.model) {
    for (uint64_t stamp = 90; stamp < now + 20; stamp += 7) {
      const Place from = PlaceAt(stamp, 1);
      for (const bool descending : {false, true}) {
        std::map<Place, int64_t> walked;
        for (const auto& entry : f.Walk(key, from, descending)) {
          REQUIRE(walked.insert(entry).second);
        }
        const auto is_asked = [&](const Place& place) {
          return descending ? place <= from : place >= from;
        };
        size_t others = 0;
        for (const auto& [place, ref] : entries) {
          if (is_asked(place)) REQUIRE(walked.count(place) == 1);
        }
        for (const auto& [place, ref] : walked) {
          REQUIRE(entries.at(place) == ref);
          if (!is_asked(place)) ++others;
        }
        REQUIRE(others <= kMaxEntries);
      }
    }
  }
}

TEST_CASE("rows are filled, not one for each entry", "[names]") {
  Fixture f;
  SECTION("one by one, in order") {
    for (uint64_t i = 0; i < 400; ++i) f.Insert("sa", {{PlaceAt(i), 1}});
    CHECK(f.Rows() == 400 / kMaxEntries);
  }
  SECTION("in runs") {
    for (uint64_t i = 0; i < 50; ++i) {
      std::map<Place, int64_t> run;
      for (uint64_t at = 0; at < 2 * kMaxEntries; ++at) run[PlaceAt(100 * i + at)] = 1;
      f.Insert("sa", run);
    }
    CHECK(f.Rows() == 100);
  }
  SECTION("one by one, among others") {
    for (uint64_t i = 0; i < 400; ++i) f.Insert("sa", {{PlaceAt((i * 137) % 401), 1}});
    CHECK(f.Rows() <= 2 * 400 / static_cast<int64_t>(kMaxEntries));
  }
  f.Check();
}

TEST_CASE("an entry at a place that is taken replaces the one that is there", "[names]") {
  Fixture f;
  f.Insert("sa", {{PlaceAt(1), 1}, {PlaceAt(2), 2}, {PlaceAt(3), 3}});
  f.Insert("sa", {{PlaceAt(2), 20}});
  f.Check();
  CHECK_FALSE(f.table->Has("sa", {PlaceAt(2), 2}));
  CHECK_FALSE(f.table->Has("sb", {PlaceAt(2), 20}));
  CHECK_FALSE(f.table->Has("sa", {PlaceAt(2, 1), 20}));
}

TEST_CASE("rows that lie between two entries of a run are left alone", "[names]") {
  Fixture f;
  std::map<Place, int64_t> many;
  for (uint64_t i = 100; i < 4100; ++i) many[PlaceAt(i)] = 1;
  f.Insert("sa", many);
  const int64_t before = f.Changes();
  f.Insert("sa", {{PlaceAt(1), 2}, {PlaceAt(2000, 1), 2}, {PlaceAt(9000), 2}});
  CHECK(f.Changes() - before <= 6);
  f.Check();
}

TEST_CASE("a row that is cut off or empty is read as far as it goes, and written over", "[names]") {
  Fixture f;
  f.Insert("sa", {{PlaceAt(1), 1}, {PlaceAt(2), 2}, {PlaceAt(3), 3}});
  f.damaged = true;
  SECTION("cut off") {
    f.db->Execute("UPDATE names SET entries=substr(entries, 1, 75)");
    CHECK(f.Walk("sa", PlaceAt(0), false).size() == 1);
    f.Insert("sa", {{PlaceAt(2), 2}, {PlaceAt(3), 3}});
  }
  SECTION("empty") {
    f.db->Execute("UPDATE names SET entries=x''");
    CHECK(f.Walk("sa", PlaceAt(9), true).empty());
    f.Insert("sa", {{PlaceAt(1), 1}, {PlaceAt(2), 2}, {PlaceAt(3), 3}});
  }
  f.damaged = false;
  f.Check();
}

TEST_CASE("what a damaged row says of places outside of its range is not believed", "[names]") {
  Fixture f;
  for (uint64_t i = 1; i <= 12; ++i) f.Insert("sa", {{PlaceAt(10 * i), 1}});
  REQUIRE(f.Rows() == 3);
  // The first entry of the row that begins at 50 says 5, or 105.
  const char* stamp = GENERATE("x'0000000000000005'", "x'0000000000000069'");
  f.db->Execute((std::string("UPDATE names SET entries=CAST(") + stamp +
                 " || substr(entries, 9) AS BLOB) WHERE ref=2")
                    .c_str());
  f.damaged = true;
  f.Insert("sa", {{PlaceAt(45), 2}});
  f.Insert("sa", {{PlaceAt(55), 2}});
  f.model["sa"].erase(PlaceAt(50));
  f.Check();
  // At the place of the one that is damaged.
  f.Insert("sa", {{PlaceAt(50), 1}});
  f.Check();
}

TEST_CASE("an index that does not match its table ends no writing", "[names][damage]") {
  Fixture f;
  f.Insert("s0", {{PlaceAt(10), 1}});
  f.Insert("sa", {{PlaceAt(10, 7), 1}, {PlaceAt(20, 7), 1}});
  f.Insert("sb", {{PlaceAt(10, 9), 1}, {PlaceAt(20, 9), 1}});
  f.db->Execute("PRAGMA wal_checkpoint(TRUNCATE)");
  f.table.reset();
  f.db.reset();
  // The lowest bit of the second row's stamp or, in the index, of its number, which makes it that
  // of the third one. Pages of the index are of type 10, those of the table of type 13.
  struct Bit {
    char page_type;
    size_t at;
  };
  const auto bit = GENERATE(Bit{10, 2 + 7}, Bit{13, 2 + 7}, Bit{10, 2 + 8 + 22});
  std::fstream file(f.dir.File("names.db"), std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string key = "sa";
  key += SqlInteger(SqlStamp(10));
  key += PlaceAt(10, 7).id.view();
  int found = 0;
  for (size_t at = bytes.find(key); at != std::string::npos; at = bytes.find(key, at + 1)) {
    if (bytes[at / 4096 * 4096] != bit.page_type) continue;
    ++found;
    file.seekp(static_cast<std::streamoff>(at + bit.at));
    file.put(static_cast<char>(bytes[at + bit.at] ^ 1));
  }
  file.close();
  REQUIRE(found == 1);
  f.Open();
  f.damaged = true;
  for (uint64_t i = 3; i < 12; ++i) {
    f.table->Insert("sa", {{PlaceAt(10 * i, 7), 1}});
    CHECK(f.table->Has("sa", {PlaceAt(10 * i, 7), 1}));
  }
  // Its neighbour came to no harm.
  CHECK(f.Walk("sb", PlaceAt(0), false).size() == 2);
}

}  // namespace chatchain
