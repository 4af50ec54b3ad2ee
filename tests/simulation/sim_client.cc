// SPDX-License-Identifier: MIT
#include "tests/simulation/sim_client.h"

#include <algorithm>
#include <utility>

#include "node/sync/decide.h"
#include "tests/support/store_test.h"

namespace chatchain::simulation {

namespace {

constexpr int64_t kThink_us = 60'000;
constexpr int64_t kPatience_us = 6'000'000;
constexpr size_t kMaxStreams = 3;
constexpr int kMaxTries = 4;

}  // namespace

SimClient::SimClient(Cluster& cluster, Ledger& ledger,
                     std::vector<std::unique_ptr<SimProxy>>& proxies, const Rates& rates,
                     std::string name, int endpoint)
    : cluster_(cluster),
      ledger_(ledger),
      proxies_(proxies),
      rates_(rates),
      name_(std::move(name)),
      endpoint_(endpoint),
      tokens_(SimStore::kCluster) {
  streams_.push_back(std::make_unique<Stream>());
  streams_.back()->token = "begin";
}

SimProxy* SimClient::SomeProxy() {
  SimProxy& proxy = *proxies_[cluster_.world.Below(proxies_.size())];
  return proxy.up() ? &proxy : nullptr;
}

void SimClient::Again(int64_t delay_us) {
  busy_ = false;
  ++operation_;
  cluster_.world.Post(delay_us + static_cast<int64_t>(cluster_.world.Below(kThink_us)), [this] {
    if (!busy_ && !resting_) Turn();
  });
}

// Wraps what happens at the end of an operation; after kPatience_us without it, the client goes on.
template <typename Done>
auto SimClient::Once(Done done) {
  busy_ = true;
  const uint64_t operation = ++operation_;
  cluster_.world.Post(kPatience_us, [this, operation] {
    if (operation_ != operation) return;
    cluster_.world.Count("client gave up");
    Again(0);
  });
  return [this, operation, done = std::move(done)](auto&& answer) {
    if (operation_ == operation) done(std::forward<decltype(answer)>(answer));
  };
}

void SimClient::Turn() {
  World& world = cluster_.world;
  uint64_t roll = world.Below(1000);
  const auto happens = [&](uint64_t rate) {
    if (roll < rate) return true;
    roll -= rate;
    return false;
  };
  if (happens(rates_.poll)) {
    Poll();
  } else if (happens(rates_.read)) {
    ReadOne();
  } else if (happens(rates_.list)) {
    ReadAll();
  } else if (happens(rates_.walk)) {
    BeginWalk();
  } else {
    Send();
  }
}

ValidMessage SimClient::NewMessage() {
  World& world = cluster_.world;
  const std::vector<ValidMessage>& earlier = ledger_.attempted();
  if (!earlier.empty() && world.Happens(rates_.repeat)) {
    return earlier[world.Below(earlier.size())];
  }
  if (!earlier.empty() && world.Happens(rates_.reuse)) {
    const Message& old = earlier[world.Below(earlier.size())].message();
    return test::MakeMessage(old.key, "another text", old.sender, old.recipient);
  }
  const std::string key = name_ + "-" + std::to_string(keys_++);
  return test::MakeMessage(key, "text of " + key, name_, world.Below(2) == 0 ? "ann" : "bob");
}

void SimClient::Send() {
  World& world = cluster_.world;
  const auto sending = std::make_shared<Sending>();
  const size_t count = world.Happens(rates_.batch) ? 2 + world.Below(6) : 1;
  for (size_t i = 0; i < count; ++i) {
    WriteItem item{NewMessage(), 0};
    // The proxy's stamp; its clock may be off as well.
    item.stamp = StampFromMs(1'700'000'000'000 + world.now_us() / 1000 -
                             static_cast<int64_t>(world.Below(5'000))) +
                 world.Below(1000);
    ledger_.Attempted(item.message);
    sending->items.push_back(std::move(item));
  }
  if (world.Happens(rates_.acks)) sending->copies = 2;
  TrySend(sending);
}

void SimClient::TrySend(const std::shared_ptr<Sending>& sending) {
  SimProxy* proxy = SomeProxy();
  if (proxy == nullptr) {
    Again(kThink_us);
    return;
  }
  std::optional<size_t> die_after;
  if (cluster_.world.Happens(rates_.proxy_death)) die_after = cluster_.world.Below(3);
  auto done = Once([this, sending](ProxyWrite result) { TookSend(sending, result); });
  if (die_after) {
    // The client notices that its connection is gone, and retries with the same key elsewhere.
    const uint64_t operation = operation_;
    cluster_.world.Post(300'000, [this, operation, sending, proxy] {
      if (operation_ != operation || proxy->up()) return;
      busy_ = false;
      if (++sending->tries < kMaxTries && !resting_) {
        TrySend(sending);
      } else {
        Again(0);
      }
    });
  }
  proxy->Write(sending->items, sending->copies, die_after, std::move(done));
}

void SimClient::TookSend(const std::shared_ptr<Sending>& sending, const ProxyWrite& result) {
  bool again = false;
  for (const std::string& session : result.sessions) Adopt(session);
  for (size_t i = 0; i < sending->items.size(); ++i) {
    const ItemAnswer& answer = result.items[i];
    const MessageId id = sending->items[i].message.id();
    cluster_.world.Trace("sent", name_, std::to_string(answer.status) + " " + id.Text());
    cluster_.world.Count("send " + std::to_string(answer.status));
    if (answer.status == 200 || answer.status == 201) {
      if (!ledger_.required(id) && ledger_.disturbances() == 0) {
        cluster_.world.Violation("acknowledged", "by nobody: " + id.Text());
      }
      const auto [it, fresh] = seen_.emplace(id, answer.stamp);
      if (!fresh) it->second = std::min(it->second, answer.stamp);
    }
    again = again || answer.status == 503;
  }
  if (again && ++sending->tries < kMaxTries && !resting_) {
    busy_ = false;
    TrySend(sending);
    return;
  }
  Again(0);
}

// Joins what an answer brought.
void SimClient::Adopt(const std::string& session) {
  if (session.empty()) return;
  auto given = tokens_.DecodeSession(session);
  if (!given) {
    cluster_.world.Violation("tokens", "not read: " + given.error().detail);
    return;
  }
  if (session_) chatchain::Join(&*given, *tokens_.DecodeSession(*session_));
  session_ = tokens_.EncodeSession(*given);
}

// An answer to a request that carried session_: its token must not be less.
void SimClient::CheckSession(const ReadAnswer& answer) {
  if (answer.status != 200 && answer.status != 404) return;
  const auto given = tokens_.DecodeSession(answer.session);
  if (!given) {
    cluster_.world.Violation("tokens", "not read: " + given.error().detail);
    return;
  }
  if (session_ && !answer.lost) {
    TokenVector brought = *tokens_.DecodeSession(*session_);
    // What it has meant before, it means now, sealed or not.
    chatchain::Join(&brought, meant_);
    for (const auto& [key, mark] : brought) {
      if (mark.seq < INT64_MAX && !chatchain::Covers(answer.meant, key, mark.seq)) {
        cluster_.world.Violation("tokens",
                                 answer.node + " took " + ToText(key) + " out of a token");
      }
    }
  }
  // What is gone is gone for this client as well.
  if (answer.lost) seen_.clear();
  meant_ = answer.meant;
  session_ = answer.session;
}

// Through a proxy, which sends it where the token is covered if it can; or, as a client without one
// might, where nobody can tell what the token means.
void SimClient::Read(ReadRequest request, std::function<void(ReadAnswer)> done) {
  if (request.session) {
    SimNode* server = SomeNodeThatCannotTell(*tokens_.DecodeSession(*request.session));
    if (server != nullptr) {
      cluster_.network.Call<ReadAnswer>(
          endpoint_, server->slot(), 3'000'000,
          [server, request](auto reply) { server->OnRead(request, reply); },
          [slot = server->slot(), done](std::optional<ReadAnswer> answer) {
            ReadAnswer none;
            none.connected = false;
            none.slot = slot;
            done(answer ? std::move(*answer) : std::move(none));
          });
      return;
    }
  }
  SimProxy* proxy = SomeProxy();
  if (proxy == nullptr) {
    Again(0);
    return;
  }
  proxy->Read(std::move(request), std::move(done));
}

void SimClient::ReadOne() {
  if (seen_.empty() || SomeProxy() == nullptr) {
    Again(0);
    return;
  }
  World& world = cluster_.world;
  auto it = seen_.begin();
  std::advance(it, static_cast<std::ptrdiff_t>(world.Below(seen_.size())));
  ReadRequest request;
  request.kind = ReadRequest::Kind::kFind;
  request.id = it->first;
  request.session = session_;
  request.strict = world.Below(2) == 0;
  auto done = Once([this, id = it->first, stamp = it->second](ReadAnswer answer) {
    CheckSession(answer);
    cluster_.world.Trace("read", name_, std::to_string(answer.status) + " at " + answer.node);
    cluster_.world.Count("read " + std::to_string(answer.status));
    const bool whole = !answer.stale && !answer.lost && answer.connected &&
                       (answer.status == 200 || answer.status == 404);
    const bool sane = answer.connected && answer.status < 500 && !Spoilt(answer);
    for (const ShownMessage& shown : answer.messages) ledger_.Shown(answer.node, shown);
    if (whole && sane && ledger_.required(id)) {
      if (answer.messages.empty()) {
        cluster_.world.Violation("read your writes", answer.node + " (n" +
                                                         std::to_string(answer.slot) + ") hides " +
                                                         id.Text() + " from " + name_);
      } else if (answer.messages.front().stamp > stamp && !ledger_.any_rewritten()) {
        cluster_.world.Violation("monotonic reads",
                                 answer.node + " shows " + id.Text() + " later than before");
      }
    }
    Again(0);
  });
  Read(std::move(request), std::move(done));
}

void SimClient::ReadAll() {
  ReadRequest request;
  request.kind = ReadRequest::Kind::kHistory;
  request.limit = 100'000;
  request.session = session_;
  request.strict = cluster_.world.Below(2) == 0;
  const bool had_session = session_.has_value();
  Read(std::move(request),
       Once([this, had_session](ReadAnswer answer) { TookAll(answer, had_session); }));
}

void SimClient::TookAll(const ReadAnswer& answer, bool had_session) {
  CheckSession(answer);
  cluster_.world.Trace("list", name_, std::to_string(answer.status) + " at " + answer.node);
  cluster_.world.Count("list " + std::to_string(answer.status));
  if (answer.status == 200) {
    const bool sane = !Spoilt(answer);
    std::map<MessageId, Stamp> shown;
    for (const ShownMessage& message : answer.messages) {
      ledger_.Shown(answer.node, message);
      if (!shown.emplace(message.id, message.stamp).second) {
        cluster_.world.Violation("once", answer.node + " lists twice " + message.id.Text());
      }
    }
    if (had_session && !answer.stale && !answer.lost && sane) {
      for (const auto& [id, stamp] : seen_) {
        if (!ledger_.required(id)) continue;
        const auto it = shown.find(id);
        if (it == shown.end()) {
          cluster_.world.Violation("monotonic reads", answer.node + " (n" +
                                                          std::to_string(answer.slot) + ") hides " +
                                                          id.Text() + " from " + name_);
        } else if (it->second > stamp && !ledger_.any_rewritten()) {
          cluster_.world.Violation("monotonic reads",
                                   answer.node + " shows " + id.Text() + " later than before");
        }
      }
    }
    if (sane) {
      for (const auto& [id, stamp] : shown) {
        const auto [it, fresh] = seen_.emplace(id, stamp);
        if (!fresh) it->second = std::min(it->second, stamp);
      }
    }
  }
  Again(0);
}

bool SimClient::Spoilt(const ReadAnswer& answer) const {
  return ledger_.damaged(*cluster_.nodes[static_cast<size_t>(answer.slot)]);
}

void SimClient::BeginWalk() {
  const auto walk = std::make_shared<Walk>();
  World& world = cluster_.world;
  walk->query.descending = world.Below(2) == 0;
  switch (world.Below(4)) {
    case 0: walk->query.filter.recipient = "ann"; break;
    case 1: walk->query.filter.participants = {"bob"}; break;
    default: break;
  }
  walk->disturbances = ledger_.disturbances();
  NextPage(walk);
}

// A node that runs and lacks a part of what the walk covers: where walks go wrong, if they do.
SimNode* SimClient::SomeNodeBehind(const Walk& walk) {
  if (!walk.cursor) return nullptr;
  const auto cursor = tokens_.DecodeCursor(*walk.cursor);
  std::vector<SimNode*> behind;
  for (const auto& node : cluster_.nodes) {
    if (node->up() && !Missing(cursor->covers, *node->store().State()).empty()) {
      behind.push_back(node.get());
    }
  }
  return behind.empty() ? nullptr : behind[cluster_.world.Below(behind.size())];
}

// A node that runs and lacks a seal which `token` counts on; at times only, where there is one.
SimNode* SimClient::SomeNodeThatCannotTell(const TokenVector& token) {
  std::vector<SimNode*> lacking;
  for (const auto& node : cluster_.nodes) {
    if (node->up() && ledger_.HidesFrom(*node->store().State()->seals, token)) {
      lacking.push_back(node.get());
    }
  }
  if (lacking.empty() || !cluster_.world.Happens(rates_.astray)) return nullptr;
  return lacking[cluster_.world.Below(lacking.size())];
}

// Each page at any node, as a client without a proxy of its own would.
void SimClient::NextPage(const std::shared_ptr<Walk>& walk) {
  World& world = cluster_.world;
  SimNode* server = cluster_.nodes[world.Below(cluster_.nodes.size())].get();
  if (world.Below(2) == 0) {
    SimNode* behind = SomeNodeBehind(*walk);
    if (behind != nullptr) server = behind;
  }
  ReadRequest request;
  request.kind = ReadRequest::Kind::kHistory;
  request.query = walk->query;
  request.cursor = walk->cursor;
  request.limit = 1 + world.Below(8);
  cluster_.network.Call<ReadAnswer>(
      endpoint_, server->slot(), 3'000'000,
      [server, request](auto reply) { server->OnRead(request, reply); },
      Once([this, walk](std::optional<ReadAnswer> answer) {
        if (!answer || !answer->connected || answer->status != 200) {
          const bool gone = answer && answer->connected && answer->status == 400;
          if (gone) {
            // Only where something was lost, or frozen, since the walk began.
            cluster_.world.Count("walk cannot go on");
            if (walk->exact && walk->disturbances == ledger_.disturbances() &&
                !ledger_.any_rewritten() && cluster_.world.counts().count("flipped bit") == 0) {
              cluster_.world.Violation("walks", "a cursor is refused");
            }
          } else if (answer && answer->connected && answer->status != 503) {
            cluster_.world.Violation("walks", "answered " + std::to_string(answer->status));
          }
          if (!gone && ++walk->tries < 5) {
            NextPage(walk);
          } else {
            Again(0);
          }
          return;
        }
        TookPage(walk, *answer);
      }));
}

void SimClient::TookPage(const std::shared_ptr<Walk>& walk, const ReadAnswer& answer) {
  cluster_.world.Trace("page", name_,
                       std::to_string(answer.messages.size()) + " at n" +
                           std::to_string(answer.slot) + (walk->query.descending ? " back" : "") +
                           (answer.stale ? " stale" : "") + (answer.lost ? " lost" : ""));
  if (!walk->cursor) walk->expected = answer.covered;
  walk->spoilt = walk->spoilt || Spoilt(answer);
  walk->exact = walk->exact && !answer.stale && !answer.lost && !answer.forked && !walk->spoilt;
  for (size_t i = 0; i < answer.messages.size(); ++i) {
    ledger_.Shown(answer.node, answer.messages[i]);
    const Place& place = answer.places[i];
    if (!walk->given.insert(answer.messages[i].id).second && walk->exact &&
        walk->disturbances == ledger_.disturbances()) {
      cluster_.world.Violation("walks",
                               answer.node + " gives twice " + answer.messages[i].id.Text());
    }
    if (!walk->places.empty() &&
        (walk->query.descending ? place >= walk->places.back() : place <= walk->places.back())) {
      cluster_.world.Violation("walks", answer.node + " gives places in another order");
    }
    walk->places.push_back(place);
  }
  if (answer.next) {
    walk->cursor = answer.next;
    NextPage(walk);
    return;
  }
  EndWalk(walk, *answer.after);
}

void SimClient::EndWalk(const std::shared_ptr<Walk>& walk, const std::string& after) {
  cluster_.world.Trace("walk", name_, std::to_string(walk->places.size()));
  const bool undisturbed = walk->disturbances == ledger_.disturbances();
  if (walk->exact && undisturbed) {
    cluster_.world.Count("exact walk");
    if (walk->places != walk->expected) {
      std::string what = "gave " + std::to_string(walk->places.size()) +
                         " places, its token covers " + std::to_string(walk->expected.size());
      for (size_t i = 0; i < std::min(walk->places.size(), walk->expected.size()); ++i) {
        if (walk->places[i] != walk->expected[i]) {
          what += "; the first that differs is " + walk->expected[i].id.Text();
          break;
        }
      }
      cluster_.world.Violation("walks", what);
    }
  }
  // What follows it, with all that the walk gave.
  const Filter& filter = walk->query.filter;
  if (filter.recipient.empty() && filter.participants.empty() && !walk->spoilt) {
    if (streams_.size() == kMaxStreams) streams_.erase(streams_.begin() + 1);
    auto stream = std::make_unique<Stream>();
    stream->token = after;
    stream->given = walk->given;
    if (!walk->exact || !undisturbed) stream->given_stale = walk->given;
    streams_.push_back(std::move(stream));
  }
  Again(0);
}

void SimClient::Poll() {
  World& world = cluster_.world;
  const size_t which = world.Below(streams_.size());
  ReadRequest request;
  request.kind = ReadRequest::Kind::kPoll;
  request.after = streams_[which]->token;
  request.limit = 1 + world.Below(20);
  SimNode* server = cluster_.nodes[world.Below(cluster_.nodes.size())].get();
  if (*request.after != "begin") {
    SimNode* lacking = SomeNodeThatCannotTell(*tokens_.DecodeFeed(*request.after));
    if (lacking != nullptr) server = lacking;
  }
  cluster_.network.Call<ReadAnswer>(
      endpoint_, server->slot(), 3'000'000,
      [server, request](auto reply) { server->OnRead(request, reply); },
      Once([this, which, token = request.after](std::optional<ReadAnswer> answer) {
        if (answer && answer->connected && answer->status == 200 &&
            streams_[which]->token == *token) {
          TookPoll(*streams_[which], *answer);
        }
        Again(0);
      }));
}

void SimClient::TookPoll(Stream& stream, const ReadAnswer& answer) {
  stream.spoilt = stream.spoilt || Spoilt(answer);
  // On which branch of a fork a token stands cannot always be told.
  const bool may_repeat = stream.was_behind || answer.behind || answer.gap || stream.spoilt ||
                          answer.forked || ledger_.any_rewritten();
  for (const ShownMessage& shown : answer.messages) {
    ledger_.Shown(answer.node, shown);
    if (!stream.given.insert(shown.id).second) {
      cluster_.world.Count("feed repeat");
      if (stream.given_stale.erase(shown.id) == 0 && !may_repeat) {
        cluster_.world.Violation("feeds", answer.node + " (n" + std::to_string(answer.slot) +
                                              ") repeats " + shown.id.Text() + " to " + name_);
      }
    }
  }
  if (answer.gap) {
    cluster_.world.Count("feed gap");
    // Something that was given is lost, and is new where it is sent again.
    const std::set<MessageId> held = ledger_.OnDisks();
    for (const MessageId& id : stream.given) {
      if (held.count(id) == 0) stream.given_stale.insert(id);
    }
  }
  cluster_.world.Trace("poll", name_,
                       std::to_string(answer.messages.size()) + " at " + answer.node +
                           (answer.behind ? " behind" : "") + (answer.gap ? " gap" : ""));
  // What a page of a node that was behind gave may come again from one that is not.
  stream.was_behind =
      (stream.was_behind && (answer.more || answer.behind)) || answer.behind || answer.gap;
  stream.token = *answer.after;
}

void SimClient::FinishStreams(const std::vector<int>& slots) {
  World& world = cluster_.world;
  for (const auto& stream : streams_) {
    for (int page = 0; page < 1000; ++page) {
      SimNode& node = *cluster_.nodes[static_cast<size_t>(slots[world.Below(slots.size())])];
      ReadRequest request;
      request.kind = ReadRequest::Kind::kPoll;
      request.after = stream->token;
      request.limit = 50;
      std::optional<ReadAnswer> answer;
      node.OnRead(request, [&](ReadAnswer given) { answer = std::move(given); });
      for (int i = 0; i < 20'000 && !answer; ++i) world.Step();
      if (!answer || answer->status != 200) {
        world.Violation("feeds", "no answer to " + name_ + " after healing");
        return;
      }
      TookPoll(*stream, *answer);
      if (answer->messages.empty() && !answer->behind && !answer->more) break;
    }
    if (stream->spoilt) continue;
    for (const MessageId& id : ledger_.required()) {
      if (stream->given.count(id) == 0) {
        world.Violation("feeds", "a feed of " + name_ + " has missed " + id.Text());
      }
    }
  }
}

void SimClient::Prove(std::function<void()> done) {
  const ValidMessage message = NewMessage();
  ledger_.Attempted(message);
  SimProxy& proxy = *proxies_.front();
  const int64_t begun_us = cluster_.world.now_us();
  const auto late = [this, begun_us] { return cluster_.world.now_us() - begun_us > 5'500'000; };
  busy_ = true;
  proxy.Write({{message, 0}}, 1, std::nullopt, [=, this, &proxy](const ProxyWrite& result) {
    const int status = result.items.front().status;
    if ((status != 200 && status != 201 && status != 422) || late()) {
      cluster_.world.Violation("liveness", "a write was answered " + std::to_string(status));
    }
    for (const std::string& session : result.sessions) Adopt(session);
    ReadRequest request;
    request.kind = ReadRequest::Kind::kFind;
    request.id = message.id();
    request.session = session_;
    proxy.Read(request, [=, this](const ReadAnswer& answer) {
      CheckSession(answer);
      if (status < 300 && answer.status != 200) {
        cluster_.world.Violation("liveness",
                                 "a read was answered " + std::to_string(answer.status));
      }
      busy_ = false;
      done();
    });
  });
}

}  // namespace chatchain::simulation
