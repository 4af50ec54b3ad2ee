// SPDX-License-Identifier: MIT
#include "client/proxy/follow.h"

#include <algorithm>
#include <utility>

#include "client/proxy/convergence.h"
#include "client/proxy/json_slice.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/log.h"

namespace chatchain {

namespace {

using std::chrono::milliseconds;

// A node that hangs is noticed within kWait + kSlack, of which it may use 500 ms to catch up.
constexpr int kWait_ms = 800;
constexpr milliseconds kSlack{1000};
constexpr size_t kFollowMessages = 500;
constexpr size_t kPageMessages = 64;
constexpr size_t kPositions = 512;
constexpr size_t kReaders = 4;
constexpr milliseconds kPauseAfterFailure{50};
constexpr milliseconds kRest{1000};
// After the last one left: who polls comes back.
constexpr std::chrono::seconds kGoOnFor{3};
constexpr milliseconds kPageDeadline{3000};
constexpr std::string_view kBlocks = "text/event-stream";

// `wider` covers all that `vector` covers, for certain: what one of them leaves out because it is
// sealed, and the other names, cannot be told here.
bool CoversAll(const TokenVector& wider, const TokenVector& vector) {
  for (const auto& [key, mark] : wider) {
    const auto greater = vector.upper_bound(key);
    if (vector.count(key) == 0 && greater != vector.end() && greater->first.origin == key.origin) {
      return false;
    }
  }
  return std::all_of(vector.begin(), vector.end(), [&](const auto& entry) {
    return Covers(wider, entry.first, entry.second.seq);
  });
}

}  // namespace

Follower::Follower(Proxy& proxy, const std::vector<std::string>& nodes, int connect_timeout_ms,
                   const Clock& clock)
    : proxy_(proxy), clock_(clock), hub_({.readers = kReaders, .drop_repeats = true}, *this) {
  set_nodes(nodes, connect_timeout_ms);
}

Follower::~Follower() {
  Stop();
}

void Follower::Start(feed::Hub::Post post) {
  hub_.Start(std::move(post));
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "follow");
    Run();
  });
}

void Follower::set_nodes(const std::vector<std::string>& nodes, int connect_timeout_ms) {
  MutexLock lock(mutex_);
  std::vector<Upstream> clients;
  for (const std::string& address : nodes) {
    const auto same = std::find_if(clients_.begin(), clients_.end(), [&](const Upstream& client) {
      return client->address() == address;
    });
    clients.push_back(
        same != clients_.end()
            ? *same
            : std::make_shared<http::Client>(
                  address, http::ClientOptions{.connect_timeout_ms = connect_timeout_ms}));
  }
  clients_ = std::move(clients);
  if (std::find(clients_.begin(), clients_.end(), current_) == clients_.end()) current_ = nullptr;
}

void Follower::Stop() {
  stopping_ = true;
  hub_.Stop();
  if (thread_.joinable()) thread_.join();
}

// ---- asking

std::vector<Follower::Upstream> Follower::NodesInOrder(const std::optional<TokenVector>& wanted) {
  std::vector<Upstream> clients;
  Upstream current;
  {
    MutexLock lock(mutex_);
    clients = clients_;
    current = current_;
  }
  const SteadyTime now = clock_.Steady();
  std::vector<NodeView> views;
  for (const Upstream& client : clients) {
    NodeView view;
    if (const auto node = proxy_.FindNode(client->address())) {
      view = node->View(now);
      const auto heads = wanted ? node->heads() : nullptr;
      view.satisfies = heads != nullptr && Satisfies(*heads, *wanted);
    }
    views.push_back(view);
  }
  std::vector<Upstream> order;
  for (const int i : Choose(views, /*for_write=*/false, rotation_.fetch_add(1)).order) {
    const Upstream& client = clients[static_cast<size_t>(i)];
    // To stay is best: positions of one node are in one order.
    const bool stay = client == current && IsReady(views[static_cast<size_t>(i)]);
    order.insert(stay ? order.begin() : order.end(), client);
  }
  return order;
}

Try<http::ClientResponse> Follower::Ask(const std::string& target, std::string_view accept,
                                        int wait_ms, SteadyTime deadline, int* attempts,
                                        const std::optional<TokenVector>& wanted) {
  http::ClientRequest request{.method = "GET", .target = target};
  request.headers.Set("Accept", std::string(accept));
  std::string said = "no node could answer";
  for (const Upstream& node : NodesInOrder(wanted)) {
    const SteadyTime now = clock_.Steady();
    if (stopping_ || now >= deadline) break;
    polls_.fetch_add(1, std::memory_order_relaxed);
    if (attempts != nullptr) ++*attempts;
    auto response = node->Send(request, std::min(deadline, now + milliseconds(wait_ms) + kSlack));
    if (response && response->headers.Get("ChatChain-Node") &&
        (response->status == 200 || response->status == 400 || response->status == 422)) {
      MutexLock lock(mutex_);
      if (current_ != nullptr && current_ != node) moves_.fetch_add(1, std::memory_order_relaxed);
      current_ = node;
      upkeep_ = {std::string(*response->headers.Get("ChatChain-Node")), std::nullopt};
      return std::move(*response);
    }
    failed_polls_.fetch_add(1, std::memory_order_relaxed);
    said += "; " + node->address() + ": " +
            (response ? "status " + std::to_string(response->status) : response.error().detail);
    // Somebody else is to be followed, unless there is nobody.
    MutexLock lock(mutex_);
    if (current_ == node) current_ = nullptr;
  }
  Problem problem = Unavailable(said);
  MutexLock lock(mutex_);
  upkeep_.trouble = problem;
  return Err(std::move(problem));
}

Try<feed::PollPage> Follower::AskPage(const std::string& after, const Filter& filter, size_t limit,
                                      int wait_ms, SteadyTime deadline) {
  std::optional<TokenVector> wanted;
  bool anew = false;
  {
    MutexLock lock(mutex_);
    anew = current_ == nullptr;
  }
  if (anew) {
    if (auto covers = proxy_.tokens().DecodeFeed(after)) wanted = std::move(*covers);
  }
  auto response = Ask(feed::PollTarget(after, filter, limit, wait_ms), kBlocks, wait_ms, deadline,
                      nullptr, wanted);
  if (!response) return Err(std::move(response.error()));
  if (response->status != 200) {
    return Err(
        MakeProblem(response->status, "",
                    "a node refused the feed token; is cluster.name the same here and there?"));
  }
  auto page = feed::ParsePollPage(response->body);
  if (!page) return Err(Unavailable("a node's page of the feed is not whole"));
  return std::move(*page);
}

Try<http::ClientResponse> Follower::Poll(const feed::FeedRequest& request, std::string_view accept,
                                         int* attempts) {
  const SteadyTime give_up = clock_.Steady() + kPageDeadline;
  const std::string target = feed::PollTarget(request.after, request.filter, request.limit, 0);
  while (true) {
    auto response = Ask(target, accept, 0, give_up, attempts);
    if (response || clock_.Steady() >= give_up || draining_) return response;
    std::this_thread::sleep_for(kPauseAfterFailure);
  }
}

Follower::Upkeep Follower::upkeep() const {
  MutexLock lock(mutex_);
  return upkeep_;
}

// ---- subscriptions

Try<std::shared_ptr<feed::Subscription>> Follower::Subscribe(const feed::FeedRequest& request) {
  if (request.after) {
    TokenVector covers;
    if (*request.after != "begin") {
      auto decoded = proxy_.tokens().DecodeFeed(*request.after);
      if (!decoded) {
        decoded.error().detail = "after: " + decoded.error().detail;
        return Err(std::move(decoded.error()));
      }
      covers = std::move(*decoded);
    }
    feed::Page first;
    first.token = proxy_.tokens().EncodeFeed(covers);
    // At once, where it has all that was passed on so far; else by pages.
    if (const auto number = FindPosition(covers)) {
      first.next = feed::Page::Next::kLive;
      first.live_after = *number;
    }
    std::string token = first.token;
    return hub_.Subscribe(request.filter, std::move(token), std::move(first));
  }
  // From now: what a node has now.
  auto now = Ask(feed::PollTarget(std::nullopt, request.filter, 1, 0), kBlocks, 0,
                 clock_.Steady() + kPageDeadline, nullptr);
  if (!now) return Err(std::move(now.error()));
  auto page = feed::ParsePollPage(now->body);
  if (!page) return Err(Unavailable("a node's page of the feed is not whole"));
  feed::Page first;
  first.token = page->token;
  return hub_.Subscribe(request.filter, page->token, std::move(first));
}

Try<feed::Page> Follower::Read(const std::string& token, const Filter& filter) {
  auto asked = AskPage(token, filter, kPageMessages, 0, clock_.Steady() + kPageDeadline);
  if (!asked) return Err(std::move(asked.error()));
  feed::Page page;
  page.gap = asked->gap;
  page.token = std::move(asked->token);
  // It may repeat what this proxy has not passed on itself.
  page.behind = asked->behind;
  const bool full = asked->messages.size() >= kPageMessages;
  for (auto& message : asked->messages) {
    page.events.push_back(EventOf(std::move(message), 0));
    if (page.events.back() == nullptr) return Err(Unavailable("a node's message is not whole"));
  }
  if (full) return page;
  page.next = page.events.empty() ? feed::Page::Next::kWait : feed::Page::Next::kMore;
  if (const auto covers = proxy_.tokens().DecodeFeed(page.token)) {
    if (const auto number = FindPosition(*covers)) {
      page.next = feed::Page::Next::kLive;
      page.live_after = *number;
    }
  }
  return page;
}

feed::Source::Order Follower::Compare(const std::string& token, const feed::Event& event) {
  const auto page = proxy_.tokens().DecodeFeed(token);
  const auto after = proxy_.tokens().DecodeFeed(event.token);
  if (!page || !after) return Order::kApart;
  if (CoversAll(*page, *after)) return Order::kCovered;
  return CoversAll(*after, *page) ? Order::kBefore : Order::kApart;
}

// The newest place of the ring at which everything published so far is covered.
std::optional<int64_t> Follower::FindPosition(const TokenVector& covers) {
  MutexLock lock(mutex_);
  for (auto position = positions_.rbegin(); position != positions_.rend(); ++position) {
    if (CoversAll(covers, position->covers)) return position->number;
  }
  return std::nullopt;
}

void Follower::Note(int64_t number, const std::string& token) {
  auto covers = proxy_.tokens().DecodeFeed(token);
  if (!covers) return;
  MutexLock lock(mutex_);
  if (!positions_.empty() && positions_.back().number == number) {
    // The older one is covered more easily, and says as much.
    if (CoversAll(*covers, positions_.back().covers)) return;
    positions_.pop_back();
  }
  positions_.push_back({number, std::move(*covers)});
  if (positions_.size() > kPositions) positions_.pop_front();
}

// ---- following

feed::EventPtr Follower::EventOf(feed::PollPage::Message&& message, int64_t number) {
  const auto tree = ReadJsonObject(message.json);
  if (!tree) return nullptr;
  const auto member = [json = tree->root()](std::string_view name) {
    return json.FindString(name).value_or("");
  };
  const auto id = MessageId::Parse(member("id"));
  const auto accepted_ms = ParseTime(member("accepted_at"));
  if (!id || !accepted_ms) return nullptr;
  Message shown;
  shown.sender = member("sender");
  shown.recipient = member("recipient");
  shown.room = member("room");
  return feed::MakeEvent(number, *id, std::move(shown), StampFromMs(*accepted_ms),
                         std::move(message.token), std::move(message.json));
}

void Follower::Run() {
  while (!stopping_) {
    if (hub_.AwaitSubscribers(clock_.Steady() + kRest)) Follow();
  }
}

// From now, until nobody has followed for a while.
void Follower::Follow() {
  const Filter all;
  token_.clear();
  // Who comes back may have been given a position of the ring before, which must not be taken for
  // the beginning of this one: between the two lies what came meanwhile.
  ++number_;
  // Those who followed before had these, and are gone.
  passed_on_ = {};
  {
    MutexLock lock(mutex_);
    positions_.clear();
  }
  bool warned = false;
  SteadyTime until{};
  while (!stopping_) {
    const SteadyTime now = clock_.Steady();
    if (hub_.has_subscribers()) until = now + kGoOnFor;
    if (now >= until) break;
    Try<feed::PollPage> page = [&]() -> Try<feed::PollPage> {
      if (!token_.empty()) {
        return AskPage(token_, all, kFollowMessages, kWait_ms, SteadyTime::max());
      }
      auto answer =
          Ask(feed::PollTarget(std::nullopt, all, 1, 0), kBlocks, 0, SteadyTime::max(), nullptr);
      if (!answer) return Err(std::move(answer.error()));
      auto parsed = feed::ParsePollPage(answer->body);
      if (!parsed) return Err(Unavailable("a node's page of the feed is not whole"));
      parsed->messages.clear();
      return std::move(*parsed);
    }();
    if (!page) {
      if (!warned) spdlog::warn("the feed waits: {}", LogSafe(page.error().detail));
      warned = true;
      std::this_thread::sleep_for(kPauseAfterFailure);
      continue;
    }
    warned = false;
    behind_ = page->behind;
    if (token_.empty()) {
      token_ = page->token;
      hub_.Reset(number_, token_);
      Note(number_, token_);
      continue;
    }
    std::vector<feed::EventPtr> events;
    bool whole = true;
    for (auto& message : page->messages) {
      feed::EventPtr event = EventOf(std::move(message), number_ + 1);
      if (event == nullptr) {
        spdlog::error("a node's message is not whole: it is asked for again");
        whole = false;
        break;
      }
      token_ = event->token;
      if (!passed_on_.Add(event->id)) {
        repeats_count_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      ++number_;
      events.push_back(std::move(event));
    }
    if (whole) token_ = page->token;
    const bool news = !events.empty() || page->gap;
    hub_.Publish(std::move(events), token_, number_, page->gap);
    Note(number_, token_);
    if (!whole || (!news && page->behind)) std::this_thread::sleep_for(kPauseAfterFailure);
  }
}

FollowStats Follower::stats() const {
  FollowStats stats;
  stats.hub = hub_.stats();
  stats.polls = polls_;
  stats.failed_polls = failed_polls_;
  stats.moves = moves_;
  stats.repeats = repeats_count_;
  stats.behind = behind_;
  return stats;
}

}  // namespace chatchain
