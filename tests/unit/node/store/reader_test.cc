// SPDX-License-Identifier: MIT
#include "node/store/reader.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/support/store_test.h"

namespace chatchain {

namespace {

using test::LogProcess;
using test::ManualClock;
using test::RunOf;
using test::SeededRandom;

// Node b copies from a and c, which accept the same messages under stamps of their own: at b stamps
// shrink while walks are under way.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {}

  void Step() {
    clock_.wall_ms += static_cast<int64_t>(random_.Below(3));
    LogProcess* const accepts[] = {&a_, b_.get(), &c_};
    switch (random_.Below(9)) {
      case 0: Restart(); break;
      case 1:
      case 2:
      case 3:
      case 4: {
        LogProcess& node = *accepts[random_.Below(3)];
        const ValidMessage message =
            !sent_.empty() && random_.OneIn(2) ? sent_[random_.Below(sent_.size())] : Fresh();
        const Stamp stamp = StampFromMs(clock_.wall_ms - static_cast<int64_t>(random_.Below(40)));
        node.Append(message, stamp);
        sent_.push_back(message);
        break;
      }
      default: {
        LogProcess& from = random_.OneIn(2) ? a_ : c_;
        if (!from.State()->live) break;
        const EpochKey epoch = *from.State()->live;
        const LogStatePtr mine = b_->State();
        const auto held = mine->heads.find(epoch);
        VerifiedRun run =
            RunOf(from, epoch,
                  held != mine->heads.end() ? held->second
                                            : Position{0, ChainSeed(LogProcess::kCluster, epoch)});
        if (run.records.size() > 3) run.records.resize(3);
        b_->Do([&](Log& log) { log.Apply(run); });
      }
    }
  }

  Filter RandomFilter() {
    Filter filter;
    if (random_.OneIn(4)) filter.sender = Name();
    if (random_.OneIn(5)) filter.recipient = Name();
    if (random_.OneIn(8)) filter.room = "room";
    if (random_.OneIn(4)) filter.participants.push_back(Name());
    if (!filter.participants.empty() && random_.OneIn(2)) filter.participants.push_back(Name());
    if (random_.OneIn(6))
      filter.since_ms = clock_.wall_ms - static_cast<int64_t>(random_.Below(60));
    if (random_.OneIn(6))
      filter.until_ms = clock_.wall_ms - static_cast<int64_t>(random_.Below(60));
    return filter;
  }

  // What a walk must give that covers `token`, by looking at every record.
  std::vector<Place> Expected(const Filter& filter, bool descending, const TokenVector& token) {
    std::map<MessageId, std::pair<Stamp, Message>> least;
    b_->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
      for (const auto& [key, mark] : token) {
        if (state->epochs.count(key) == 0) continue;
        reader.ReadRecords(key, 1, mark.seq, [&](StoredRecord&& stored) {
          const Stamp stamp = stored.wire.record.stamp;
          auto [it, fresh] = least.try_emplace(*stored.wire.id, stamp, *stored.wire.message);
          it->second.first = std::min(it->second.first, stamp);
          return true;
        });
      }
    });
    std::vector<Place> places;
    for (const auto& [id, entry] : least) {
      if (Matches(filter, entry.second, entry.first)) places.push_back({entry.first, id});
    }
    std::sort(places.begin(), places.end());
    if (descending) std::reverse(places.begin(), places.end());
    return places;
  }

  // A walk, page by page, with steps in between.
  std::vector<Place> Walk(const Filter& filter, bool descending, size_t limit, int steps_between,
                          const TokenVector& token) {
    std::vector<Place> places;
    HistoryQuery query;
    query.filter = &filter;
    query.descending = descending;
    query.limit = limit;
    while (true) {
      const HistoryPage page =
          b_->WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
            ReadPage read =
                reader.ReadHistory(query, *state, CopyNames(b_->log->name_tail(), filter));
            REQUIRE_FALSE(read.damage);
            return std::move(read.page);
          });
      REQUIRE(page.items.size() <= limit);
      for (const HistoryItem& item : page.items) {
        REQUIRE(item.place.id == item.shown.id);
        REQUIRE(item.shown.stamp <= item.place.stamp);
        places.push_back(item.place);
      }
      if (!page.more) return places;
      REQUIRE(page.items.size() == limit);
      query.after = places.back();
      query.covers = &token;
      for (int i = 0; i < steps_between; ++i) Step();
    }
  }

  LogProcess& b() { return *b_; }
  SeededRandom& random() { return random_; }

 private:
  std::unique_ptr<LogProcess> Open() {
    return std::make_unique<LogProcess>(dir_.File("b"), "b", clock_, random_);
  }
  // After a clean stop, or a crash, or in the middle of a transaction.
  void Restart() {
    if (random_.OneIn(3)) b_->log->Flush();
    if (random_.OneIn(3)) {
      b_->log->Begin();
      b_->log->Append({Fresh(), {}});
    } else if (random_.OneIn(2)) {
      b_->log->Begin();
      b_->log->Append({Fresh(), {}});
      b_->log->Rollback();
      return;
    }
    b_.reset();
    b_ = Open();
  }
  std::string Name() { return std::string(1, static_cast<char>('u' + random_.Below(4))); }
  ValidMessage Fresh() {
    Message message{.sender = Name(), .text = "t", .key = "k" + std::to_string(keys_++)};
    (random_.OneIn(4) ? message.room : message.recipient) = Name();
    if (!message.room.empty()) message.room = "room";
    return *Validate(message);
  }
  static bool Matches(const Filter& filter, const Message& message, Stamp stamp) {
    const auto is = [](const std::string& wanted, const std::string& value) {
      return wanted.empty() || wanted == value;
    };
    return is(filter.sender, message.sender) && is(filter.recipient, message.recipient) &&
           is(filter.room, message.room) &&
           std::all_of(filter.participants.begin(), filter.participants.end(),
                       [&](const std::string& who) {
                         return message.sender == who || message.recipient == who;
                       }) &&
           (!filter.since_ms || StampMs(stamp) >= *filter.since_ms) &&
           (!filter.until_ms || StampMs(stamp) < *filter.until_ms);
  }

  test::TempDir dir_;
  SeededRandom random_;
  ManualClock clock_;
  LogProcess a_{dir_.File("a"), "a", clock_, random_};
  std::unique_ptr<LogProcess> b_ = Open();
  LogProcess c_{dir_.File("c"), "c", clock_, random_};
  std::vector<ValidMessage> sent_;
  int keys_ = 0;
};

}  // namespace

TEST_CASE("A walk gives what its first token covers, once, while stamps shrink", "[reader]") {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    World world(seed);
    for (int i = 0; i < 60; ++i) world.Step();
    for (int walk = 0; walk < 12; ++walk) {
      const Filter filter = world.RandomFilter();
      const bool descending = world.random().OneIn(2);
      const size_t limit = 1 + world.random().Below(6);
      const TokenVector token = ToTokenVector(world.b().State()->heads);
      const std::vector<Place> expected = world.Expected(filter, descending, token);
      INFO("seed " << seed << ", walk " << walk);
      REQUIRE(world.Walk(filter, descending, limit, static_cast<int>(world.random().Below(4)),
                         token) == expected);
      world.Step();
    }
  }
}

TEST_CASE("An older token gives its own places, also at a node that knows more", "[reader]") {
  World world(77);
  for (int i = 0; i < 40; ++i) world.Step();
  const TokenVector old = ToTokenVector(world.b().State()->heads);
  const Filter all;
  const auto expected = world.Expected(all, false, old);
  for (int i = 0; i < 60; ++i) world.Step();
  world.b().WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    HistoryQuery query;
    query.filter = &all;
    query.limit = 10'000;
    query.covers = &old;
    const ReadPage read =
        reader.ReadHistory(query, *state, CopyNames(world.b().log->name_tail(), all));
    std::vector<Place> places;
    for (const HistoryItem& item : read.page.items) places.push_back(item.place);
    REQUIRE(places == expected);
  });
}

TEST_CASE("A token of another branch covers nothing of ours", "[reader]") {
  World world(5);
  for (int i = 0; i < 40; ++i) world.Step();
  TokenVector token = ToTokenVector(world.b().State()->heads);
  for (auto& [key, mark] : token) mark.chain_prefix ^= 1;
  const Filter all;
  world.b().WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    HistoryQuery query;
    query.filter = &all;
    query.covers = &token;
    REQUIRE(reader.ReadHistory(query, *state, CopyNames(world.b().log->name_tail(), all))
                .page.items.empty());
  });
}

TEST_CASE("A state that is older than the snapshot gives no more than it covers", "[reader]") {
  World world(9);
  for (int i = 0; i < 40; ++i) world.Step();
  const LogStatePtr old = world.b().State();
  const Filter all;
  const auto expected = world.Expected(all, false, ToTokenVector(old->heads));
  for (int i = 0; i < 40; ++i) world.Step();
  world.b().WithReader([&](ReadConnection& reader, const LogStatePtr&) {
    HistoryQuery query;
    query.filter = &all;
    query.limit = 10'000;
    std::vector<Place> places;
    for (const HistoryItem& item :
         reader.ReadHistory(query, *old, CopyNames(world.b().log->name_tail(), all)).page.items) {
      places.push_back(item.place);
      // What is shown agrees with the order, and with the session's token: both know the old state.
      REQUIRE(item.shown.stamp == item.place.stamp);
      std::optional<Damage> damage;
      bool moved = false;
      const auto found = reader.Find(item.place.id, *old, &damage, &moved);
      REQUIRE(found);
      REQUIRE(found->stamp == item.place.stamp);
    }
    REQUIRE(places == expected);
  });
}

TEST_CASE("Every walk is served by its index, without sorting", "[reader]") {
  World world(3);
  for (int i = 0; i < 30; ++i) world.Step();
  // Every statement that a walk over any filter prepares, asked for its plan.
  std::vector<std::string> plans;
  sqlite3* handle = world.b().db->handle();
  for (int i = 0; i < 60; ++i) {
    const Filter filter = world.RandomFilter();
    for (const bool descending : {false, true}) {
      for (const std::string& sql : HistoryStatements(filter, descending)) {
        sqlite3_stmt* plan = nullptr;
        REQUIRE(sqlite3_prepare_v2(handle, ("EXPLAIN QUERY PLAN " + sql).c_str(), -1, &plan,
                                   nullptr) == SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
          const std::string line = reinterpret_cast<const char*>(sqlite3_column_text(plan, 3));
          INFO(sql);
          INFO(line);
          CHECK(line.find("SEARCH") == 0);
          CHECK(line.find("TEMP B-TREE") == std::string::npos);
          // By place, not only by what is equal in all its rows.
          if (line.find(" names ") != std::string::npos) {
            CHECK(line.find("stamp,id") != std::string::npos);
          }
        }
        sqlite3_finalize(plan);
      }
    }
  }
}

TEST_CASE("A damaged index by name hides messages at most", "[reader][damage]") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 31)));
  test::TempDir dir;
  test::ManualClock clock;
  test::SeededRandom random(seed);
  LogProcess process(dir.File("a.db"), "a", clock, random);
  std::set<MessageId> stored;
  for (int i = 0; i < 60; ++i) {
    const ValidMessage message = test::MakeMessage(std::to_string(i));
    process.Append(message);
    stored.insert(message.id());
    if (i % 3 == 0) ++clock.wall_ms;
  }
  for (uint64_t flips = 1 + random.Next() % 4; flips > 0; --flips) {
    Statement pick(*process.db,
                   "SELECT ref, entries FROM names ORDER BY ref LIMIT 1 OFFSET ?%(SELECT count(*) "
                   "FROM names)");
    pick.Bind(1, static_cast<int64_t>(random.Next() >> 1));
    REQUIRE(pick.Step());
    const int64_t ref = pick.Int(0);
    std::string entries(pick.Blob(1));
    pick.Reset();
    entries[random.Next() % entries.size()] ^= static_cast<char>(1 << random.Next() % 8);
    Statement damage(*process.db, "UPDATE names SET entries=? WHERE ref=?");
    damage.BindBlob(1, entries).Bind(2, ref).Run();
  }
  // Some of them among the rows.
  for (int i = 0; i < 20; ++i) {
    const ValidMessage message = test::MakeMessage("late" + std::to_string(i));
    std::optional<Stamp> stamp;
    if (i % 2 == 0) stamp = StampFromMs(clock.wall_ms - static_cast<int64_t>(random.Next() % 25));
    process.Append(message, stamp);
    stored.insert(message.id());
  }
  Filter filter;
  filter.sender = "ann";
  process.WithReader([&](ReadConnection& reader, const LogStatePtr& state) {
    for (const bool descending : {false, true}) {
      HistoryQuery query;
      query.filter = &filter;
      query.limit = 5;
      query.descending = descending;
      size_t given = 0;
      while (true) {
        const ReadPage read =
            reader.ReadHistory(query, *state, CopyNames(process.log->name_tail(), filter));
        for (const HistoryItem& item : read.page.items) {
          REQUIRE(stored.count(item.place.id) == 1);
          if (query.after) {
            REQUIRE((descending ? item.place < *query.after : item.place > *query.after));
          }
          query.after = item.place;
          ++given;
        }
        if (!read.page.more) break;
      }
      CHECK(given <= 80);
      CHECK(given >= 80 - 4 * 4);  // of each damaged row, all of it
    }
  });
}

}  // namespace chatchain
