// SPDX-License-Identifier: MIT
#include "tests/simulation/ledger.h"

#include <algorithm>

#include "common/protocol/filter.h"
#include "common/util/encoding.h"
#include "node/store/schema.h"

namespace chatchain::simulation {

namespace {

std::string At(const EpochKey& key, Seq seq) {
  return ToText(key) + " at " + std::to_string(seq);
}

}  // namespace

void Ledger::Attempted(const ValidMessage& message) {
  if (attempted_.emplace(message.id(), message.message()).second) attempts_.push_back(message);
}

void Ledger::Shown(const std::string& who, const ShownMessage& shown) {
  const auto it = attempted_.find(shown.id);
  if (it == attempted_.end()) {
    world_.Violation("never sent", who + " shows " + shown.id.Text());
  } else if (it->second != shown.message) {
    world_.Violation("byte for byte", who + " shows another " + shown.id.Text());
  }
}

void Ledger::Started(SimNode& node) {
  const LogStatePtr state = node.store().State();
  // What was shown before was on disk, and is there after any crash.
  for (const auto& [key, head] : shown_heads_[node.disk_name()]) {
    const auto it = state->epochs.find(key);
    if (it == state->epochs.end() || it->second.head.seq < head.seq) {
      if (damaged(node)) continue;
      world_.Violation("heads", node.name() + " lost " + At(key, head.seq) + " by a restart");
    }
  }
  looked_up_to_[node.disk_name()] = 0;
  slots_by_id_[node.id()].insert(node.slot());
  Published(node);
}

void Ledger::Published(SimNode& node) {
  const LogStatePtr state = node.store().State();
  HeadVector& shown = shown_heads_[node.disk_name()];
  if (!damaged(node)) {
    for (const auto& [key, head] : shown) {
      const auto it = state->epochs.find(key);
      if (it == state->epochs.end() || it->second.head.seq < head.seq) {
        world_.Violation("heads", node.name() + " went back from " + At(key, head.seq));
      }
    }
  }
  shown = state->heads;
  NoteSeals(state->seals);
  if (state->live) {
    const auto [owner, first] = owners_.emplace(*state->live, node.instance());
    if (!first && owner->second != node.instance()) {
      world_.Violation("epochs", node.name() + " goes on in " + ToText(*state->live));
    }
    const auto head = state->heads.find(*state->live);
    if (head != state->heads.end() && rewritten_.count(*state->live) == 0) {
      const auto [it, fresh] =
          issued_.emplace(std::pair(*state->live, head->second.seq), head->second.chain);
      if (!fresh && it->second != head->second.chain) {
        world_.Violation("positions",
                         node.name() + " issued twice " + At(*state->live, head->second.seq));
      }
    }
  }
  for (const EpochKey& key : state->forks) {
    if (rewritten_.count(key) == 0) {
      world_.Violation("forks",
                       node.name() + " has frozen " + ToText(key) + ", which has no branch");
    }
  }
  // Whoever rewrites its live epoch looks like another process, too.
  const bool rewritten = std::any_of(rewritten_.begin(), rewritten_.end(),
                                     [&](const EpochKey& key) { return key.origin == node.id(); });
  if (state->id_runs_twice && !rewritten && slots_by_id_[node.id()].size() == 1) {
    world_.Violation("twins", node.name() + " says that its id runs twice");
  }
  int64_t& looked = looked_up_to_[node.disk_name()];
  Statement fresh(node.store().db(), "SELECT id FROM messages WHERE ref>? AND ref<=?");
  fresh.Bind(1, looked).Bind(2, state->last_message_ref);
  while (fresh.Step()) {
    MessageId id;
    if (MessageId::FromBytes(fresh.Blob(0), &id)) held_[id].insert(node.id());
  }
  looked = state->last_message_ref;
}

void Ledger::NoteSeals(const std::shared_ptr<const Seals>& seals) {
  if (std::find(noted_.begin(), noted_.end(), seals) != noted_.end()) return;
  noted_.push_back(seals);
  if (noted_.size() > kMaxNodes) noted_.pop_front();
  for (const auto& [epoch, of_epoch] : seals->by_epoch()) {
    for (const Seal& seal : of_epoch) seals_.Add({epoch, seal.end}, seal.in, seal.at);
  }
}

TokenVector Ledger::Implied(TokenVector token) const {
  // Greater epochs first: a seal stands in a greater one than it seals.
  for (auto it = seals_.by_epoch().rbegin(); it != seals_.by_epoch().rend(); ++it) {
    for (const Seal& seal : it->second) {
      if (!chatchain::Covers(token, seal.in, seal.at)) continue;
      Mark& mark = token[it->first];
      if (mark.seq < seal.end.seq) mark = {seal.end.seq, seal.end.chain.Prefix64()};
    }
  }
  return token;
}

bool Ledger::HidesFrom(const Seals& known, const TokenVector& token) const {
  const TokenVector told = Unfold(token, known);
  const TokenVector implied = Implied(token);
  return std::any_of(implied.begin(), implied.end(),
                     [&](const auto& entry) { return told.count(entry.first) == 0; });
}

void Ledger::Served(SimNode& node, const SyncAnswer& answer) {
  const LogStatePtr state = node.store().State();
  if (answer.heads != state->folded) {
    world_.Violation("heads", node.name() + " serves what it has not published");
  }
}

void Ledger::Answered(SimNode& node, const std::vector<ValidMessage>& messages,
                      const WriteAnswer& answer) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const ItemAnswer& item = answer.items[i];
    const ValidMessage& message = messages[i];
    const std::string what =
        node.name() + " answers " + std::to_string(item.status) + " for " + message.id().Text();
    Statement select(node.store().db(), "SELECT id, stamp FROM messages WHERE key=? AND sender=?");
    select.BindText(1, message.message().key).BindText(2, message.message().sender);
    bool found = false;
    bool other = false;
    Stamp stamp = 0;
    while (select.Step()) {
      MessageId id;
      MessageId::FromBytes(select.Blob(0), &id);
      (id == message.id() ? found : other) = true;
      if (id == message.id()) stamp = StampFromSql(select.Int(1));
    }
    if (item.status == 200 || item.status == 201) {
      if (!found && !damaged(node)) {
        world_.Violation("answers", what + ", and does not have it");
      }
      if (found && stamp > item.stamp) {
        world_.Violation("answers", what + ", with another stamp than it has");
      }
      required_.insert(message.id());
      // A repair, or a frozen epoch, may leave a message with records of later stamps only.
      if (!tampered_) {
        const auto [it, fresh] = acknowledged_.emplace(message.id(), item.stamp);
        if (!fresh) it->second = std::min(it->second, item.stamp);
      }
    } else if (item.status == 422) {
      // The message itself may have come by sync since.
      if (!other && !damaged(node)) {
        world_.Violation("answers", what + ", and has no other message with that key");
      }
    } else if (item.status != 503) {
      world_.Violation("answers", what);
    }
  }
}

void Ledger::Copied(SimNode& node, const std::vector<int64_t>& refs, const WriteAnswer& answer) {
  for (size_t i = 0; i < refs.size(); ++i) {
    const ItemAnswer& item = answer.items[i];
    if (item.status >= 300) continue;
    Statement select(node.store().db(), "SELECT id FROM messages WHERE ref=?");
    select.Bind(1, refs[i]);
    MessageId id;
    if (!select.Step() || !MessageId::FromBytes(select.Blob(0), &id)) continue;
    if (static_cast<size_t>(item.copies) > held_[id].size()) {
      world_.Violation("copies", node.name() + " says " + std::to_string(item.copies) + " of " +
                                     id.Text() + ", there are " + std::to_string(held_[id].size()));
    }
  }
}

std::vector<Place> Ledger::CoveredPlaces(SimNode& node, const LogState& state,
                                         const ListQuery& query) {
  std::map<int64_t, Seq> covered;
  for (const auto& [key, head] : state.heads) covered[state.epochs.at(key).ref] = head.seq;
  std::map<int64_t, Place> places;
  Statement select(node.store().db(),
                   "SELECT r.epoch, r.seq, r.stamp, m.ref, m.id, m.sender, m.recipient, m.room, "
                   "m.text, m.timestamp, m.key FROM records r JOIN messages m ON m.ref=r.message");
  while (select.Step()) {
    const auto it = covered.find(select.Int(0));
    if (it == covered.end() || static_cast<Seq>(select.Int(1)) > it->second) continue;
    Place place;
    place.stamp = StampFromSql(select.Int(2));
    MessageId::FromBytes(select.Blob(4), &place.id);
    if (!Matches(query.filter, MessageFromRow(select, 5), place.stamp)) continue;
    const auto [at, fresh] = places.emplace(select.Int(3), place);
    if (!fresh) at->second = std::min(at->second, place);
  }
  std::vector<Place> sorted;
  for (const auto& [ref, place] : places) sorted.push_back(place);
  std::sort(sorted.begin(), sorted.end());
  if (query.descending) std::reverse(sorted.begin(), sorted.end());
  return sorted;
}

// Message ids on that disk, as far as they are on disk for certain; whether the message is whole.
std::map<MessageId, bool> Ledger::SoundOn(SimNode& node) {
  std::map<MessageId, bool> ids;
  std::unique_ptr<Database> opened;
  int64_t up_to = INT64_MAX;
  if (node.up()) {
    up_to = node.store().State()->last_message_ref;
  } else {
    if (node.disk().empty()) return ids;
    try {
      opened = std::make_unique<Database>(SimVfs::PathOf(node.disk_name()), SQLITE_OPEN_READWRITE);
      sqlite3_db_config(opened->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    } catch (const SqliteError&) {
      return ids;
    }
  }
  try {
    Statement select(node.up() ? node.store().db() : *opened,
                     "SELECT id, sender, recipient, room, text, timestamp, key FROM messages WHERE "
                     "ref<=?");
    select.Bind(1, up_to);
    while (select.Step()) {
      MessageId id;
      if (!MessageId::FromBytes(select.Blob(0), &id)) continue;
      const auto valid = Validate(MessageFromRow(select, 1));
      ids[id] = valid && valid->id() == id;
    }
  } catch (const SqliteError&) {
    // A disk that was lost before its first tables were there.
  }
  return ids;
}

std::set<MessageId> Ledger::OnDisks() {
  std::set<MessageId> held;
  for (const auto& node : cluster_->nodes) {
    if (!slots_.empty() && slots_.count(node->slot()) == 0) continue;
    for (const auto& [id, sound] : SoundOn(*node)) {
      if (sound) held.insert(id);
    }
  }
  return held;
}

void Ledger::Excuse() {
  const std::set<MessageId> held = OnDisks();
  std::erase_if(required_, [&](const MessageId& id) { return held.count(id) == 0; });
}

void Ledger::Disturbed() {
  ++disturbances_;
  acknowledged_.clear();
}

void Ledger::Destroyed(SimNode& node) {
  Disturbed();
  shown_heads_.erase(node.disk_name());
  looked_up_to_[node.disk_name()] = 0;
  Excuse();
}

void Ledger::Damaged(SimNode& node) {
  Disturbed();
  tampered_ = true;
  damaged_.insert(node.disk_name());
  Excuse();
}

void Ledger::Rewritten(SimNode& node, const EpochKey& epoch) {
  Disturbed();
  tampered_ = true;
  damaged_.insert(node.disk_name());
  rewritten_.insert(epoch);
}

void Ledger::LimitTo(const std::set<int>& slots) {
  slots_ = slots;
  Disturbed();
  Excuse();
}

void Ledger::NoteBranches() {
  std::map<std::pair<EpochKey, Seq>, Hash> chains;
  for (const auto& node : cluster_->nodes) {
    if (!node->up() || (!slots_.empty() && slots_.count(node->slot()) == 0)) continue;
    Statement select(node->store().db(),
                     "SELECT e.origin, e.epoch, r.seq, r.chain FROM records r JOIN epochs e ON "
                     "e.ref=r.epoch");
    while (select.Step()) {
      const EpochKey key{std::string(select.Text(0)), static_cast<Epoch>(select.Int(1))};
      // Only what was tampered with can differ, so the others need not be remembered.
      if (rewritten_.count(key) == 0) continue;
      Hash chain;
      Hash::FromBytes(select.Blob(3), &chain);
      const auto [it, fresh] =
          chains.emplace(std::pair(key, static_cast<Seq>(select.Int(2))), chain);
      if (!fresh && it->second != chain) branched_.insert(key);
    }
  }
}

std::vector<MessageId> Ledger::Walk(SimNode& node, const Filter& filter, bool descending,
                                    size_t limit) {
  std::vector<MessageId> ids;
  const LogStatePtr state = node.store().State();
  HistoryQuery query;
  query.filter = &filter;
  query.limit = limit;
  query.descending = descending;
  while (true) {
    const auto page = node.store().ReadHistory(query, *state);
    if (!page) {
      world_.Violation("healed", node.name() + ": " + page.error().detail);
      return ids;
    }
    for (const HistoryItem& item : page->items) {
      Shown(node.name(), item.shown);
      ids.push_back(item.shown.id);
      const auto it = acknowledged_.find(item.shown.id);
      if (it != acknowledged_.end() && item.shown.stamp > it->second && required(item.shown.id)) {
        world_.Violation("accepted_at", node.name() + " moved later: " + item.shown.id.Text());
      }
    }
    if (!page->more) return ids;
    query.after = page->items.back().place;
    query.covers = &state->token;
  }
}

void Ledger::CheckNode(SimNode& node, const std::vector<MessageId>& expected_order) {
  const auto add = [&](const char* checker, const std::string& what) {
    world_.Violation(checker, node.name() + ": " + what);
  };
  const Filter all;
  const std::vector<MessageId> walked = Walk(node, all, false, SIZE_MAX);
  const std::set<MessageId> shown(walked.begin(), walked.end());
  if (shown.size() != walked.size()) add("once", "a message is shown twice");
  for (const MessageId& id : required_) {
    if (shown.count(id) == 0) add("acknowledged", "lost " + id.Text());
  }
  if (walked != expected_order) add("order", "another one than the first node's");
  if (Walk(node, all, false, 3) != walked) add("pages", "they differ from the whole");
  std::vector<MessageId> backwards = Walk(node, all, true, 3);
  std::reverse(backwards.begin(), backwards.end());
  if (backwards != walked) add("pages", "backwards differs from forwards");
  for (const char* recipient : {"ann", "bob"}) {
    Filter filter;
    filter.recipient = recipient;
    std::vector<MessageId> expected = walked;
    std::erase_if(expected, [&](const MessageId& id) {
      const auto sent = attempted_.find(id);
      return sent == attempted_.end() || !Matches(filter, sent->second, 0);
    });
    if (Walk(node, filter, false, SIZE_MAX) != expected) {
      add("filters", std::string("not all that went to ") + recipient);
    }
  }
  const LogStatePtr state = node.store().State();
  if (state->messages != static_cast<int64_t>(walked.size()))
    add("count", "messages are miscounted");
  for (const EpochKey& key : branched_) {
    const auto it = state->epochs.find(key);
    const bool named = std::count(state->forks.begin(), state->forks.end(), key) > 0;
    if (it != state->epochs.end() && it->second.head.seq > 0 && !named) {
      add("forks", "not named: " + ToText(key));
    }
  }
  node.store().WithReader([&](ReadConnection& reader, const LogStatePtr&) {
    for (const auto& [key, epoch] : state->epochs) {
      Hash chain = ChainSeed(SimStore::kCluster, key);
      Seq seq = 0;
      // What lies behind the head may be a commit that is not published yet.
      reader.ReadRecords(key, 1, epoch.head.seq, [&, &key = key](StoredRecord&& stored) {
        const Record& record = stored.wire.record;
        chain = NextChain(chain, record);
        if (record.seq != ++seq || record.chain != chain) {
          add("chains", "broken: " + At(key, seq));
          return false;
        }
        return true;
      });
      if (epoch.head != Position{seq, chain}) add("chains", "the head is wrong: " + ToText(key));
      if (epoch.frozen || rewritten_.count(key) > 0) continue;
      const auto end = issued_.lower_bound({key, seq + 1});
      for (auto it = issued_.lower_bound({key, 1}); it != end; ++it) {
        if (reader.ChainAt(key, it->first.second) != it->second) {
          add("positions", "not what was issued: " + At(key, it->first.second));
        }
      }
    }
  });
}

void Ledger::CheckHealed(const std::vector<SimNode*>& nodes) {
  const std::vector<MessageId> order = Walk(*nodes.front(), Filter{}, false, SIZE_MAX);
  for (SimNode* node : nodes) {
    CheckNode(*node, order);
    // They have pulled each other by now.
    const bool twin = std::any_of(nodes.begin(), nodes.end(), [&](const SimNode* other) {
      return other != node && other->id() == node->id();
    });
    if (twin && !node->store().State()->id_runs_twice) {
      world_.Violation("twins", node->name() + " does not say that its id runs twice");
    }
  }
}

}  // namespace chatchain::simulation
