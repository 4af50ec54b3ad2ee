// SPDX-License-Identifier: MIT
#include "tests/support/ledger.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <sstream>

namespace chatchain::testing {

namespace {

constexpr size_t kShownProblems = 10;
constexpr milliseconds kLeaveAlone{400};

std::string RandomHex(int digits) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < digits; ++i) text += kHex[random() & 15];
  return text;
}

bool Matches(const Outgoing& sent, const Shown& shown) {
  return shown.sender == sent.sender && shown.recipient == sent.recipient &&
         shown.room == sent.room && shown.text == sent.text && shown.timestamp == sent.timestamp;
}

// Collects what is wrong and shows the first few.
class Problems {
 public:
  void Add(const std::string& what) {
    if (++count_ <= kShownProblems) text_ += "\n  " + what;
  }
  void FailIfAny(const std::string& address) const {
    if (count_ > 0) FAIL(address << ": " << count_ << " problems, the first:" << text_);
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

std::vector<Shown> MustList(const std::string& address) {
  Api api(address);
  std::string why;
  std::optional<std::vector<Shown>> all;
  // A node that has just found damage answers 503 until it is repaired.
  Eventually(seconds(10), [&] { return (all = api.ListAll("", &why)).has_value(); });
  if (!all) FAIL("no list of messages from " << why);
  return std::move(*all);
}

void CheckList(const std::string& address, const std::vector<Shown>& all, const Ledger& ledger) {
  std::map<std::string, const Shown*> by_id;
  std::set<std::string> texts;
  Problems problems;
  for (const Shown& shown : all) {
    by_id[shown.id] = &shown;
    if (!texts.insert(shown.sender + '\0' + shown.text).second) {
      problems.Add("doubled: " + ToText(shown));
    }
  }
  for (const auto& [id, sent] : ledger.acknowledged()) {
    const auto it = by_id.find(id);
    if (it == by_id.end()) {
      problems.Add("lost: " + id + " " + sent.sender + " " + sent.text.substr(0, 60));
    } else if (!Matches(sent, *it->second)) {
      problems.Add("changed: " + ToText(*it->second) + " was sent as " + sent.ToJson().dump());
    }
  }
  for (const std::string& what : ledger.wrong()) problems.Add(what);
  problems.FailIfAny(address);
}

}  // namespace

void Ledger::Acknowledged(const Outgoing& sent, const std::string& id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  acknowledged_[id] = sent;
  unanswered_.erase(sent.text);
}

void Ledger::Unanswered(const Outgoing& sent) {
  const std::lock_guard<std::mutex> lock(mutex_);
  unanswered_[sent.text] = sent;
}

void Ledger::Settled(const Outgoing& sent) {
  const std::lock_guard<std::mutex> lock(mutex_);
  unanswered_.erase(sent.text);
}

void Ledger::Wrong(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  wrong_.push_back(what);
}

std::map<std::string, Outgoing> Ledger::acknowledged() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return acknowledged_;
}

std::vector<Outgoing> Ledger::unanswered() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Outgoing> all;
  for (const auto& [text, sent] : unanswered_) all.push_back(sent);
  return all;
}

std::vector<std::string> Ledger::wrong() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return wrong_;
}

size_t Ledger::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return acknowledged_.size();
}

Outgoing MakeMessage(const std::string& sender) {
  static std::atomic<uint64_t> counter{0};
  static const std::vector<std::string> kTexts = {
      "",
      " \t\n\r line ends",
      " \"quotes\" \\ and / \b\f\x01\x7f",
      " Grüße aus Köln",
      " \xF0\x9F\x98\x80 \xE4\xB8\xAD\xE6\x96\x87 \xD8\xB9\xD8\xB1",
      "  trailing space ",
      std::string(3000, 'x')};
  const uint64_t number = ++counter;
  Outgoing message;
  message.sender = sender;
  if (number % 3 == 0) {
    message.room = "room-" + std::to_string(number % 4);
  } else {
    message.recipient = "user" + std::to_string(number % 5);
  }
  message.text = std::to_string(number) + "-" + RandomHex(12) + kTexts[number % kTexts.size()];
  if (number % 2 == 0) message.timestamp = static_cast<int64_t>(number % 7) * 1'000'000'000 - 5;
  message.key = "key-" + RandomHex(24);
  return message;
}

void SendAll(const std::string& address, Ledger& ledger, int count, const std::string& sender) {
  Api api(address);
  for (int i = 0; i < count; ++i) {
    const Outgoing message = MakeMessage(sender);
    const Answer answer = api.Send(message);
    INFO(address << ": " << answer.text());
    REQUIRE(answer.status == 201);
    ledger.Acknowledged(message, answer.id());
  }
}

Load::Load(std::vector<std::string> addresses, Ledger& ledger, Options options)
    : addresses_(std::move(addresses)), ledger_(ledger), options_(options) {
  for (size_t i = 0; i < static_cast<size_t>(options_.writers); ++i) {
    threads_.emplace_back([this, i] { Write(i); });
  }
}

void Load::Stop() {
  stopping_ = true;
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Load::AwaitMore(size_t count, milliseconds patience) {
  const size_t goal = ledger_.size() + count;
  if (!Eventually(patience, [&] { return ledger_.size() >= goal; })) {
    FAIL("the load stands still: " << ledger_.size() << " of " << goal << " acknowledged, "
                                   << failures_ << " failed tries");
  }
}

void Load::Write(size_t writer) {
  using SteadyClock = std::chrono::steady_clock;
  std::vector<Api> apis;
  for (const std::string& address : addresses_) apis.emplace_back(address, options_.timeout);
  // A target that failed is left alone for a while, as a real client would.
  std::vector<SteadyClock::time_point> not_before(apis.size());
  size_t target = writer % apis.size();
  const auto next_target = [&] {
    for (size_t i = 0; i < apis.size(); ++i) {
      target = (target + 1) % apis.size();
      if (SteadyClock::now() >= not_before[target]) return;
    }
  };
  while (!stopping_) {
    const Outgoing message = MakeMessage("writer" + std::to_string(writer));
    bool settled = false;
    while (!settled) {
      const Answer answer = apis[target].Send(message);
      if (answer.ok()) {
        if (answer.id().empty()) ledger_.Wrong("an acknowledgement without id: " + answer.text());
        ledger_.Acknowledged(message, answer.id());
        settled = true;
        break;
      }
      ++failures_;
      if (answer.status >= 400 && answer.status < 500 && answer.status != 429) {
        ledger_.Wrong(apis[target].address() + " answered a good message with " + answer.text());
      }
      if (stopping_ || !options_.retry) break;
      not_before[target] = SteadyClock::now() + kLeaveAlone;
      next_target();
      std::this_thread::sleep_for(milliseconds(10));
    }
    if (!settled) ledger_.Unanswered(message);
    next_target();
    std::this_thread::sleep_for(options_.pause);
  }
}

void AwaitEqualDigests(const std::vector<std::string>& addresses, milliseconds patience) {
  std::vector<std::string> digests;
  const bool equal = Eventually(
      patience,
      [&] {
        digests.clear();
        for (const std::string& address : addresses) digests.push_back(Api(address).Digest());
        return !digests.front().empty() &&
               std::all_of(digests.begin(), digests.end(),
                           [&](const std::string& digest) { return digest == digests.front(); });
      },
      milliseconds(50));
  if (equal) return;
  std::ostringstream said;
  for (const std::string& address : addresses) {
    said << "\n" << address << ": " << Api(address).Nodes().dump();
  }
  FAIL("digests differ:" << said.str());
}

void AwaitHolds(const std::string& holder, const std::string& source, milliseconds patience) {
  const Json wanted = Api(source).Nodes()["self"]["heads"];
  Json held;
  const bool holds = Eventually(patience, [&] {
    std::map<std::pair<std::string, std::string>, uint64_t> seqs;
    held = Api(holder).Nodes()["self"]["heads"];
    for (const Json& head : held) seqs[{head[0], head[1]}] = head[2];
    return std::all_of(wanted.begin(), wanted.end(), [&](const Json& head) {
      return seqs[{head[0], head[1]}] >= head[2].get<uint64_t>();
    });
  });
  if (!holds) FAIL(holder << " has " << held << ", not yet " << wanted << " of " << source);
}

void CheckHolds(const std::string& address, const Ledger& ledger) {
  CheckList(address, MustList(address), ledger);
}

void CheckNoForks(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    INFO(address);
    CHECK(Api(address).Nodes()["self"]["forks"] == Json::array());
  }
}

void CheckConverged(const std::vector<std::string>& addresses, const Ledger& ledger,
                    milliseconds patience) {
  AwaitEqualDigests(addresses, patience);
  std::vector<Shown> first;
  for (const std::string& address : addresses) {
    std::vector<Shown> all = MustList(address);
    CheckList(address, all, ledger);
    CHECK(Api(address).Nodes()["self"]["messages"] == all.size());
    if (address == addresses.front()) {
      first = std::move(all);
      continue;
    }
    INFO(address << " against " << addresses.front());
    REQUIRE(all.size() == first.size());
    const auto [mine, theirs] = std::mismatch(all.begin(), all.end(), first.begin());
    if (mine != all.end()) FAIL("they differ: " << ToText(*mine) << " and " << ToText(*theirs));
  }
}

}  // namespace chatchain::testing
