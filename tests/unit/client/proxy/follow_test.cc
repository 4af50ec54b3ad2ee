// SPDX-License-Identifier: MIT
// What all who follow the proxy share, with a scripted node and an event loop that the test runs.
#include "client/proxy/follow.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/http/router.h"
#include "common/util/random.h"
#include "tests/support/manual_loop.h"
#include "tests/support/running_proxy.h"

namespace chatchain::testing {
namespace {

class ShiftedClock final : public Clock {
 public:
  int64_t WallMs() const override { return system_.WallMs(); }
  SteadyTime Steady() const override {
    return system_.Steady() + std::chrono::seconds(ahead_s.load());
  }
  std::atomic<int> ahead_s{0};

 private:
  SystemClock system_;
};

// A node with one epoch, whose message n has `n` as its text.
class FeedNode {
 public:
  std::string address() const { return node_.address(); }
  std::string Token(Seq seq) const {
    return tokens_.EncodeFeed({{EpochKey{"0", 1}, Mark{seq, seq}}});
  }

  std::atomic<Seq> last{0};
  std::atomic<int> waiting{0};  // polls that wait for more than there is
  std::atomic<int> begun{0};    // polls from now on

 private:
  ScriptedAnswer Answer(const ScriptedRequest& request) {
    const auto end = std::chrono::steady_clock::now() + milliseconds(20);
    Seq seq = last;
    const size_t after = request.target.find("&after=");
    if (after == std::string::npos) {
      ++begun;
    } else {
      const auto text = request.target.substr(after + 7);
      const auto covers = tokens_.DecodeFeed(text);
      seq = covers && !covers->empty() ? covers->begin()->second.seq : 0;
    }
    const bool waits = request.target.find("wait_ms=0") == std::string::npos;
    if (waits) ++waiting;
    while (waits && seq == last && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    if (waits) --waiting;
    std::string blocks;
    while (after != std::string::npos && seq < last) {
      ++seq;
      MessageId id;
      id.bytes[6] = static_cast<uint8_t>(seq);  // of the digest: what ids differ by
      blocks += "id: " + Token(seq) + "\nevent: message\ndata: {\"id\":\"" + id.Text() +
                R"(","sender":"s","room":"r","text":")" + std::to_string(seq) +
                "\",\"accepted_at\":\"2026-11-21T08:15:30.123Z\"}\n\n";
    }
    return NodeSays(200, blocks + "id: " + Token(seq) + "\n\n");
  }

  const TokenCodec tokens_{std::string(kCluster)};
  ScriptedNode node_{[this](const ScriptedRequest& request) { return Answer(request); }};
};

struct Fixture {
  Fixture() : proxy(config, clock, random), follower(proxy, config.nodes, 300, clock) {
    follower.Start(loop.post());
  }
  ~Fixture() { follower.Stop(); }

  std::shared_ptr<feed::Subscription> Subscribe(const std::string& after) {
    auto subscription = follower.Subscribe({.after = after});
    REQUIRE(subscription);
    return *subscription;
  }
  // The next message that it is given.
  std::string Next(feed::Subscription& subscription) {
    std::string json;
    Await([&] {
      loop.RunAll();
      const auto item = subscription.Next();
      if (item && item->event) json = item->event->json;
      return !json.empty();
    });
    return json;
  }
  template <typename Condition>
  void Await(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::yield();
    }
  }

  FeedNode node;
  const ClientConfig config = Config({node.address()});
  ShiftedClock clock;
  SystemRandom random;
  ManualLoop loop;
  Proxy proxy;
  Follower follower;
};

}  // namespace

TEST_CASE("what came while nobody followed is given to who comes back with an old token",
          "[follow]") {
  Fixture fixture;
  FeedNode& node = fixture.node;
  {
    const auto first = fixture.Subscribe(node.Token(0));
    first->Attach([] {});
    // Once the ring runs: it must know the place that is asked for below.
    fixture.Await([&] { return node.waiting > 0; });
    node.last = 1;
    CHECK(fixture.Next(*first).find(R"("text":"1")") != std::string::npos);
    first->Detach();
  }
  // It follows for a while, in case that somebody comes back; then it rests.
  fixture.clock.ahead_s = 60;
  uint64_t polls = 0;
  fixture.Await([&] {
    const uint64_t before = std::exchange(polls, fixture.follower.stats().polls);
    std::this_thread::sleep_for(milliseconds(100));  // longer than a poll waits at the node
    return before == polls;
  });
  fixture.loop.RunAll();
  node.last = 2;

  // The loop is busy: the ring has begun anew before who comes back is attached.
  const int begun = node.begun;
  const size_t posted = fixture.loop.posted();
  const auto second = fixture.Subscribe(node.Token(1));
  fixture.Await([&] { return node.begun > begun && fixture.loop.posted() > posted; });
  fixture.loop.RunAll();
  second->Attach([] {});
  second->Next();  // its token
  second->Next();  // joins the ring, or reads on
  node.last = 3;
  CHECK(fixture.Next(*second).find(R"("text":"2")") != std::string::npos);
  CHECK(fixture.Next(*second).find(R"("text":"3")") != std::string::npos);
  second->Detach();
}

}  // namespace chatchain::testing
