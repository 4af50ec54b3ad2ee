// SPDX-License-Identifier: MIT
#include "common/http/resolver.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "common/http/client_call.h"
#include "tests/support/http_test.h"

namespace chatchain::http {

namespace {

using std::chrono::milliseconds;
using testing::Clock;

// Of one name, whose lookups end as the test says. A lookup has a thread of its own, which may
// outlive the test.
class SlowNames {
 public:
  explicit SlowNames(uint16_t port = 0) : names_(std::make_shared<Names>(port)) {}
  Resolver::Lookup lookup() {
    return [names = names_](const Resolver::HostPort&, bool numeric_only) {
      return numeric_only ? std::vector<Address>() : names->Find();
    };
  }
  void Answer(bool found) { names_->Answer(found); }
  void AwaitBegun(int count) { names_->AwaitBegun(count); }
  int begun() { return names_->begun(); }

 private:
  class Names {
   public:
    explicit Names(uint16_t port) : port_(port) {}
    std::vector<Address> Find() {
      MutexLock lock(mutex_);
      ++begun_;
      changed_.NotifyAll();
      while (answers_.empty()) changed_.Wait(mutex_);
      const bool found = answers_.back();
      answers_.pop_back();
      if (!found) return {};
      Address address{.size = sizeof(sockaddr_in)};
      const sockaddr_in loopback = testing::Loopback(port_);
      memcpy(&address.storage, &loopback, sizeof(loopback));
      return {address};
    }
    void Answer(bool found) {
      MutexLock lock(mutex_);
      answers_.push_back(found);
      changed_.NotifyAll();
    }
    void AwaitBegun(int count) {
      MutexLock lock(mutex_);
      while (begun_ < count) changed_.Wait(mutex_);
    }
    int begun() {
      MutexLock lock(mutex_);
      return begun_;
    }

   private:
    const uint16_t port_;
    Mutex mutex_;
    CondVar changed_;
    int begun_ GUARDED_BY(mutex_) = 0;
    std::vector<bool> answers_ GUARDED_BY(mutex_);
  };
  const std::shared_ptr<Names> names_;
};

// What the caller hears once his lookup has ended.
std::vector<Address> AwaitAnswer(Resolver& resolver, uint64_t* lookup) {
  const auto until = Clock::now() + testing::kPatience;
  while (Clock::now() < until) {
    if (auto found = resolver.TryResolve(lookup)) return *found;
    std::this_thread::yield();
  }
  FAIL("no answer");
  return {};
}

}  // namespace

TEST_CASE("one lookup serves all who ask for the name, whether they wait or not",
          "[http][resolver]") {
  SlowNames names;
  const auto resolver = std::make_shared<Resolver>("somewhere:80", names.lookup());
  uint64_t first = 0;
  uint64_t second = 0;
  CHECK_FALSE(resolver->TryResolve(&first));
  CHECK_FALSE(resolver->TryResolve(&second));
  names.AwaitBegun(1);
  CHECK(resolver->Resolve(Clock::now() + milliseconds(30), [] { return false; }).empty());
  names.Answer(true);
  CHECK(AwaitAnswer(*resolver, &first).size() == 1);
  CHECK(AwaitAnswer(*resolver, &second).size() == 1);
  CHECK(resolver->Former().size() == 1);
  CHECK(names.begun() == 1);
}

TEST_CASE("who waits for a lookup hears how it ended, though others go on asking",
          "[http][resolver]") {
  SlowNames names;
  const auto resolver = std::make_shared<Resolver>("somewhere:80", names.lookup());
  uint64_t first = 0;
  CHECK_FALSE(resolver->TryResolve(&first));
  names.AwaitBegun(1);
  names.Answer(false);
  // The next one asks as soon as the lookup has ended, so that another one is always under way.
  uint64_t next = 1;
  while (names.begun() < 2) {
    next = 0;
    CHECK_FALSE(resolver->TryResolve(&next));
  }
  const auto heard = resolver->TryResolve(&first);
  REQUIRE(heard);
  CHECK(heard->empty());
  names.Answer(false);
  CHECK(AwaitAnswer(*resolver, &next).empty());
}

TEST_CASE("while the resolver hangs, calls go where the name led before", "[http][resolver]") {
  testing::RawListener listener;
  SlowNames names(listener.port());
  const std::string address = "somewhere:80";
  const auto core = std::make_shared<ClientCore>(
      address, ClientOptions{.connect_timeout_ms = 50, .max_idle_connections = 0},
      std::make_shared<Resolver>(address, names.lookup(), milliseconds(0)));
  EventLoop loop("test");
  for (int call = 1; call <= 2; ++call) {
    std::promise<Result<ClientResponse, TransportError>> result;
    StartCall(loop, core, {}, Clock::now() + testing::kPatience, nullptr,
              [&](auto answer) { result.set_value(std::move(answer)); });
    names.AwaitBegun(call);
    if (call == 1) names.Answer(true);
    testing::RawSocket socket = listener.Accept();
    std::string head;
    if (socket.ReadSome(&head) == testing::RawSocket::Read::kData) {
      socket.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    }
    const auto answer = result.get_future().get();
    CHECK(answer);
  }
  names.Answer(false);
}

TEST_CASE("literals need no lookup; what is no address has none", "[http][resolver]") {
  for (const char* literal : {"127.0.0.1:80", "[::1]:80"}) {
    uint64_t lookup = 0;
    const auto found = std::make_shared<Resolver>(literal)->TryResolve(&lookup);
    REQUIRE(found);
    CHECK(found->size() == 1);
  }
  for (const char* none : {"", "host", ":80", "host:"}) {
    uint64_t lookup = 0;
    const auto found = std::make_shared<Resolver>(none)->TryResolve(&lookup);
    REQUIRE(found);
    CHECK(found->empty());
  }
}

}  // namespace chatchain::http
