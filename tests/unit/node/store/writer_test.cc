// SPDX-License-Identifier: MIT
#include "node/store/writer.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <future>
#include <semaphore>

#include "node/store/wal_vfs.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/store_test.h"

namespace chatchain {

namespace {

using namespace std::chrono_literals;
using test::FaultVfs;
using test::LogProcess;
using test::MakeMessage;
using test::TempDir;

constexpr auto kLong = 20s;

struct WriterFixture {
  TempDir dir;
  FaultVfs disk;
  SystemClock clock;
  test::SeededRandom random{1};
  StateBoard board;
  std::unique_ptr<LogProcess> process;
  std::unique_ptr<Writer> writer;

  explicit WriterFixture(Writer::Options options = {}) { Open(options); }
  ~WriterFixture() {
    disk.Heal();
    Close();
  }
  void Open(Writer::Options options = {}) {
    process = std::make_unique<LogProcess>(dir.File("db"), "a", clock, random);
    writer = std::make_unique<Writer>(*process->db, *process->log, board, clock, options);
  }
  void Close() {
    writer.reset();
    process.reset();
  }
  Result<void, WriteError> Append(const std::string& key, std::string text = "hello") {
    return writer->Execute(
        [message = MakeMessage(key, std::move(text))](Log& log) {
          log.Append({message, {}});
        },
        clock.Steady() + kLong);
  }
  // Waits for what another thread brings about.
  template <typename Condition>
  bool Eventually(Condition condition) {
    for (const SteadyTime end = clock.Steady() + kLong; clock.Steady() < end;) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return condition();
  }
};

// Holds the writer thread inside a transaction until it is let go.
class Hold {
 public:
  explicit Hold(WriterFixture& f) {
    auto begun = std::make_shared<std::promise<void>>();
    f.writer->Post([begun, gate = gate_.get_future().share()](Log&) {
      begun->set_value();
      gate.wait();
    });
    begun->get_future().wait();
  }
  ~Hold() { Release(); }
  void Release() {
    if (!released_) gate_.set_value();
    released_ = true;
  }

 private:
  std::promise<void> gate_;
  bool released_ = false;
};

}  // namespace

TEST_CASE("What waits together is committed together", "[writer]") {
  WriterFixture f;
  std::vector<std::future<Result<void, WriteError>>> sends;
  {
    Hold hold(f);
    for (int i = 0; i < 8; ++i) {
      sends.push_back(
          std::async(std::launch::async, [&f, i] { return f.Append(std::to_string(i)); }));
    }
    REQUIRE(f.Eventually([&] { return f.writer->stats().queued == 8; }));
  }
  for (auto& send : sends) REQUIRE(send.get());
  REQUIRE(f.writer->stats().commits == 2);
  REQUIRE(f.board.Current()->messages == 8);
}

TEST_CASE("A transaction takes no more than its weight", "[writer]") {
  WriterFixture f({.max_batch_weight = 10});
  std::vector<std::future<Result<void, WriteError>>> sends;
  {
    Hold hold(f);
    for (int i = 0; i < 3; ++i) {
      sends.push_back(std::async(std::launch::async, [&f] {
        return f.writer->Execute([](Log&) {}, f.clock.Steady() + kLong, /*weight=*/6);
      }));
    }
    REQUIRE(f.Eventually([&] { return f.writer->stats().queued == 3; }));
  }
  for (auto& send : sends) REQUIRE(send.get());
  REQUIRE(f.writer->stats().commits == 4);
}

TEST_CASE("The state is published before the answer", "[writer]") {
  WriterFixture f;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(f.Append(std::to_string(i)));
    REQUIRE(f.board.Current()->messages == i + 1);
  }
}

TEST_CASE("Nothing is answered or shown before its log is on disk", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  std::counting_semaphore<> disk(0);  // each sync takes one
  std::atomic<int> syncs = 0;
  std::atomic<int> writes = 0;
  f.disk.Set([&](FaultVfs::Op op, std::string_view name, int*) {
    if (!name.ends_with("-wal")) return SQLITE_OK;
    if (op == FaultVfs::Op::kWrite) ++writes;
    if (op == FaultVfs::Op::kSync) {
      ++syncs;
      disk.acquire();
    }
    return SQLITE_OK;
  });
  const auto shows = [&](const char* key) {
    return f.process->WithReader(
        f.board.Current(), [&](ReadConnection& reader, const LogStatePtr& state) {
          std::optional<Damage> damage;
          bool moved = false;
          return reader.Find(MakeMessage(key).id(), *state, &damage, &moved).has_value();
        });
  };
  auto first = std::async(std::launch::async, [&] { return f.Append("first"); });
  REQUIRE(f.Eventually([&] { return syncs == 1; }));
  const int writes_of_first = writes;
  std::vector<std::future<Result<void, WriteError>>> more;
  for (int i = 0; i < 8; ++i) {
    more.push_back(std::async(std::launch::async, [&f, i] { return f.Append(std::to_string(i)); }));
  }
  REQUIRE(f.Eventually([&] { return writes > writes_of_first; }));
  // The retry of a write that is not on disk yet must not be told that it is.
  auto retry = std::async(std::launch::async, [&] { return f.Append("first"); });
  REQUIRE(first.wait_for(0ms) == std::future_status::timeout);
  REQUIRE(retry.wait_for(0ms) == std::future_status::timeout);
  REQUIRE(f.board.Current()->messages == 1);
  REQUIRE_FALSE(shows("first"));
  REQUIRE_FALSE(f.writer->AwaitDurable(f.clock.Steady() + 10ms));

  disk.release();
  REQUIRE(first.get());
  REQUIRE(f.Eventually([&] { return syncs == 2; }));
  // What is written by now is not on disk yet.
  REQUIRE(f.board.Current()->messages == 2);
  REQUIRE(shows("first"));
  for (int i = 0; i < 8; ++i) REQUIRE_FALSE(shows(std::to_string(i).c_str()));

  disk.release(100);
  REQUIRE(retry.get());
  for (auto& each : more) REQUIRE(each.get());
  REQUIRE(f.writer->AwaitDurable(f.clock.Steady() + kLong));
  REQUIRE(f.board.Current()->messages == 10);
  // The retry and the eight came while the disk was busy: they shared commits.
  REQUIRE(f.writer->stats().commits <= 5);
}

TEST_CASE("A deadline that passes in the queue means: nothing was stored", "[writer]") {
  WriterFixture f;
  {
    Hold hold(f);
    const auto given_up = f.writer->Execute(
        [](Log& log) {
          log.Append({MakeMessage("late"), {}});
        },
        f.clock.Steady() + 20ms);
    REQUIRE_FALSE(given_up);
    REQUIRE(given_up.error().kind == WriteError::Kind::kExpired);
  }
  REQUIRE(f.Append("next"));
  REQUIRE(f.board.Current()->messages == 1);
}

TEST_CASE("A deadline that passes during the write leaves it open", "[writer]") {
  WriterFixture f;
  std::promise<void> gate;
  auto open = gate.get_future().share();
  const auto unknown = f.writer->Execute(
      [open](Log& log) {
        log.Append({MakeMessage("slow"), {}});
        open.wait();
      },
      f.clock.Steady() + 50ms);
  REQUIRE_FALSE(unknown);
  REQUIRE(unknown.error().kind == WriteError::Kind::kUnknown);
  gate.set_value();
  REQUIRE(f.Append("next"));
  REQUIRE(f.board.Current()->messages == 2);
}

TEST_CASE("A full queue is said at once", "[writer]") {
  WriterFixture f({.max_queue = 2});
  Hold hold(f);
  f.writer->Post([](Log&) {});
  f.writer->Post([](Log&) {});
  const auto refused = f.Append("k");
  REQUIRE_FALSE(refused);
  REQUIRE(refused.error().kind == WriteError::Kind::kOverloaded);
}

TEST_CASE("The end finishes what is queued", "[writer]") {
  WriterFixture f;
  {
    Hold hold(f);
    for (int i = 0; i < 5; ++i) {
      f.writer->Post([i](Log& log) { log.Append({MakeMessage(std::to_string(i)), {}}); });
    }
    hold.Release();
    f.writer.reset();
  }
  REQUIRE(f.board.Current()->messages == 5);
}

TEST_CASE("A full disk refuses writes, and writing resumes by itself", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  const LogStatePtr before = f.board.Current();
  f.disk.Fail(FaultVfs::Op::kWrite, SQLITE_FULL);
  for (const char* key : {"full1", "full2"}) {
    const auto full = f.Append(key);
    REQUIRE_FALSE(full);
    REQUIRE(full.error().kind == WriteError::Kind::kDiskFull);
  }
  REQUIRE(f.writer->write_state() == WriteState::kDiskFull);
  REQUIRE_FALSE(f.writer->write_error().empty());
  REQUIRE(f.board.Current()->heads == before->heads);

  SECTION("what writes nothing proves nothing") {
    REQUIRE(f.Append("before"));  // known: answered from what is stored
    REQUIRE(f.writer->write_state() == WriteState::kDiskFull);
    f.disk.Heal();
  }
  SECTION("noticed by the next write") {
    f.disk.Heal();
    REQUIRE(f.Append("after"));
    REQUIRE(f.writer->write_state() == WriteState::kWritable);
    REQUIRE(f.board.Current()->messages == 2);
  }
  SECTION("noticed without any") {
    f.disk.Heal();
    REQUIRE(f.Eventually([&] { return f.writer->write_state() == WriteState::kWritable; }));
  }
  f.disk.Heal();
  f.Close();
  f.Open();
  REQUIRE(f.Append("full1"));
  REQUIRE(f.board.Current()->heads.size() == 2);
}

TEST_CASE("A full disk in the middle of a batch takes the whole batch back", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  // Pages that no longer fit the cache are written before the commit.
  f.disk.Fail(FaultVfs::Op::kWrite, SQLITE_FULL);
  const auto full = f.writer->Execute(
      [](Log& log) {
        for (int i = 0; i < 300; ++i) {
          log.Append({MakeMessage("big" + std::to_string(i), std::string(8000, 'x')), {}});
        }
      },
      f.clock.Steady() + kLong);
  REQUIRE_FALSE(full);
  REQUIRE(full.error().kind == WriteError::Kind::kDiskFull);
  f.disk.Heal();
  REQUIRE(f.Append("after"));
  REQUIRE(f.board.Current()->messages == 2);
  REQUIRE(f.board.Current()->heads.begin()->second.seq == 2);
}

TEST_CASE("After a failed fsync nothing is written any more", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  f.disk.Fail(FaultVfs::Op::kSync, SQLITE_IOERR_FSYNC, EIO);
  const auto failed = f.Append("lost");
  REQUIRE_FALSE(failed);
  REQUIRE(failed.error().kind == WriteError::Kind::kFailed);

  // Not even once the disk claims to be well: what the kernel dropped is not there.
  std::atomic<int> calls = 0;
  f.disk.Set([&](FaultVfs::Op, std::string_view, int*) {
    ++calls;
    return SQLITE_OK;
  });
  const auto later = f.Append("later");
  REQUIRE_FALSE(later);
  REQUIRE(later.error().kind == WriteError::Kind::kFailed);
  REQUIRE(f.writer->write_state() == WriteState::kFailed);
  REQUIRE(f.writer->write_error().find("restart") != std::string::npos);
  // Reading goes on.
  f.process->WithReader(f.board.Current(), [&](ReadConnection& reader, const LogStatePtr& state) {
    std::optional<Damage> damage;
    bool moved = false;
    REQUIRE(reader.Find(MakeMessage("before").id(), *state, &damage, &moved));
    REQUIRE_FALSE(reader.Find(MakeMessage("lost").id(), *state, &damage, &moved));
  });
  f.Close();
  REQUIRE(calls == 0);  // closing copies nothing either
  f.Open();
  REQUIRE(f.board.Current()->messages >= 1);
  REQUIRE(f.Append("after a restart"));
}

TEST_CASE("A failed fsync of a checkpoint stops writing, and keeps what was acknowledged",
          "[writer][disk]") {
  WriterFixture f({.checkpoint_bytes = 4096});
  f.disk.Set([](FaultVfs::Op op, std::string_view name, int*) {
    return op == FaultVfs::Op::kSync && !name.ends_with("-wal") ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  });
  REQUIRE(f.Append("acknowledged"));
  REQUIRE(f.Eventually([&] { return f.writer->write_state() == WriteState::kFailed; }));
  REQUIRE(f.board.Current()->messages == 1);
  f.disk.Heal();
  f.Close();
  f.Open();
  REQUIRE(f.board.Current()->messages == 1);
}

TEST_CASE("Another program that holds the file for a moment stops nothing for good", "[writer]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  sqlite3_busy_timeout(f.process->db->handle(), 0);
  Database other(f.dir.File("db"), SQLITE_OPEN_READWRITE);
  other.Execute("BEGIN IMMEDIATE");
  const auto busy = f.Append("busy");
  REQUIRE_FALSE(busy);
  REQUIRE(busy.error().kind == WriteError::Kind::kOverloaded);
  REQUIRE(f.writer->write_state() == WriteState::kWritable);
  other.Execute("ROLLBACK");
  REQUIRE(f.Append("after"));
  REQUIRE(f.board.Current()->messages == 2);
}

TEST_CASE("Out of memory takes the batch back and stops nothing for good", "[writer]") {
  WriterFixture f;
  const auto refused = f.writer->Execute(
      [](Log& log) {
        log.Append({MakeMessage("lost"), {}});
        throw std::bad_alloc();
      },
      f.clock.Steady() + kLong);
  REQUIRE_FALSE(refused);
  REQUIRE(f.Append("after"));
  REQUIRE(f.board.Current()->messages == 1);
}

TEST_CASE("The WAL stays bounded while readers come and go", "[writer]") {
  WriterFixture f({.checkpoint_bytes = 64 << 10});
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      ReadConnection reader(f.dir.File("db"), 1);
      while (!stop) {
        reader.BeginSnapshot();
        std::optional<Damage> damage;
        bool moved = false;
        reader.Find(MakeMessage("none").id(), *f.board.Current(), &damage, &moved);
        std::this_thread::sleep_for(1ms);
        reader.EndSnapshot();
      }
    });
  }
  for (int i = 0; i < 200; ++i) CHECK(f.Append(std::to_string(i), std::string(4000, 'x')));
  stop = true;
  for (std::thread& reader : readers) reader.join();
  REQUIRE(std::filesystem::file_size(f.dir.File("db-wal")) < (2 << 20));
}

// Else a power cut could leave the old header before frames of two logs.
TEST_CASE("The header of a log that begins anew is on disk before its frames", "[writer][disk]") {
  WriterFixture f({.checkpoint_bytes = 32 << 10});
  std::atomic<int> headers = 0;
  std::atomic<int> too_early = 0;
  bool unsynced = false;  // of the writer thread
  f.disk.Set([&](FaultVfs::Op op, std::string_view name, int*) {
    char thread[16] = {};
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    if (!name.ends_with("-wal") || thread != std::string("writer")) return SQLITE_OK;
    if (op == FaultVfs::Op::kSync) unsynced = false;
    if (op != FaultVfs::Op::kWrite) return SQLITE_OK;
    if (unsynced) ++too_early;
    if (FaultVfs::Offset() == 0) {
      ++headers;
      unsynced = true;
    }
    return SQLITE_OK;
  });
  for (int i = 0; i < 60; ++i) REQUIRE(f.Append(std::to_string(i), std::string(4000, 'x')));
  REQUIRE(headers >= 2);
  REQUIRE(too_early == 0);
}

TEST_CASE("A failed sync is everybody's, whoever was told of it", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("before"));
  // The system tells one caller only.
  std::atomic<bool> told = false;
  f.disk.Set([&](FaultVfs::Op op, std::string_view name, int*) {
    return op == FaultVfs::Op::kSync && name.ends_with("-wal") && !told.exchange(true)
               ? SQLITE_IOERR_FSYNC
               : SQLITE_OK;
  });
  WalLog wal(*f.process->db);
  REQUIRE_THROWS_AS(wal.Sync(), SqliteError);
  const auto later = f.Append("later");
  REQUIRE_FALSE(later);
  REQUIRE(later.error().kind == WriteError::Kind::kFailed);
}

TEST_CASE("A damaged copy that a retry replaces is on disk before the answer", "[writer][disk]") {
  WriterFixture f;
  REQUIRE(f.Append("k"));
  REQUIRE(
      f.writer->Execute([&](Log&) { f.process->db->Execute("UPDATE messages SET text='other'"); },
                        f.clock.Steady() + kLong));
  std::atomic<int> syncs = 0;
  f.disk.Set([&](FaultVfs::Op op, std::string_view, int*) {
    if (op == FaultVfs::Op::kSync) ++syncs;
    return SQLITE_OK;
  });
  REQUIRE(f.Append("k"));
  REQUIRE(syncs == 1);
}

TEST_CASE("A write that is submitted is answered once: stored, refused, or late",
          "[writer][disk]") {
  WriterFixture f;
  const auto submit = [&](const char* key, std::chrono::milliseconds within) {
    auto answer = std::make_shared<std::promise<Result<void, WriteError>>>();
    auto result = answer->get_future();
    f.writer->Submit(
        [message = MakeMessage(key)](Log& log) {
          log.Append({message, {}});
        },
        f.clock.Steady() + within,
        [answer](Result<void, WriteError> outcome) { answer->set_value(outcome); });
    return result;
  };
  REQUIRE(submit("a", kLong).get());
  REQUIRE(f.board.Current()->messages == 1);
  {
    Hold hold(f);
    auto late = submit("b", 20ms);
    const auto expired = late.get();  // while the writer is still held
    REQUIRE_FALSE(expired);
    REQUIRE(expired.error().kind == WriteError::Kind::kExpired);
  }
  std::promise<void> disk;
  f.disk.Set([synced = disk.get_future().share()](FaultVfs::Op op, std::string_view, int*) {
    if (op == FaultVfs::Op::kSync) synced.wait();
    return SQLITE_OK;
  });
  const auto unknown = submit("c", 20ms).get();  // while the disk hangs
  REQUIRE_FALSE(unknown);
  REQUIRE(unknown.error().kind == WriteError::Kind::kUnknown);
  disk.set_value();
  REQUIRE(submit("d", kLong).get());
  REQUIRE(f.board.Current()->messages == 3);
  f.disk.Fail(FaultVfs::Op::kSync, SQLITE_IOERR_FSYNC, EIO);
  REQUIRE(submit("e", kLong).get().error().kind == WriteError::Kind::kFailed);
  REQUIRE(submit("f", kLong).get().error().kind == WriteError::Kind::kFailed);
}

TEST_CASE("The log is copied beside the writing", "[writer]") {
  WriterFixture f({.checkpoint_bytes = 64 << 10});
  std::atomic<int> beside = 0;
  f.disk.Set([&](FaultVfs::Op op, std::string_view name, int*) {
    char thread[16] = {};
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    if (op == FaultVfs::Op::kWrite && !name.ends_with("-wal") &&
        thread == std::string("checkpointer")) {
      ++beside;
    }
    return SQLITE_OK;
  });
  for (int i = 0; i < 60; ++i) REQUIRE(f.Append(std::to_string(i), std::string(4000, 'x')));
  REQUIRE(f.Eventually([&] { return beside > 0; }));
}

TEST_CASE("A wait on the board ends with the state, the deadline or the interruption", "[writer]") {
  WriterFixture f;
  const auto has = [](int64_t n) {
    return [n](const LogState& state) { return state.messages >= n; };
  };
  REQUIRE(f.board.WaitUntil(has(1), f.clock.Steady() + 10ms)->messages == 0);
  auto waiting = std::async(std::launch::async,
                            [&] { return f.board.WaitUntil(has(1), f.clock.Steady() + kLong); });
  REQUIRE(f.Append("k"));
  REQUIRE(waiting.get()->messages == 1);
  auto interrupted = std::async(
      std::launch::async, [&] { return f.board.WaitUntil(has(9), f.clock.Steady() + kLong); });
  f.board.Interrupt();
  REQUIRE(interrupted.get()->messages == 1);
  REQUIRE(f.board.WaitUntil(has(9), f.clock.Steady() + kLong)->messages == 1);
}

}  // namespace chatchain
