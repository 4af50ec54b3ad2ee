// SPDX-License-Identifier: MIT
// What the world outside of the nodes knows: which messages were sent, acknowledged and shown,
// which positions were given out, which heads were seen. The checkers compare the nodes with it. It
// looks into disks by itself, with statements of its own, to learn what still exists.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/sim_node.h"

namespace chatchain::simulation {

class Ledger {
 public:
  explicit Ledger(World& world) : world_(world) {}
  void set_cluster(Cluster* cluster) { cluster_ = cluster; }

  // Clients.
  void Attempted(const ValidMessage& message);
  const std::vector<ValidMessage>& attempted() const { return attempts_; }
  // Shown to somebody: must have been sent, and be what was sent.
  void Shown(const std::string& who, const ShownMessage& shown);
  bool required(const MessageId& id) const { return required_.count(id) > 0; }
  const std::set<MessageId>& required() const { return required_; }
  // What is whole on any disk, running or not.
  std::set<MessageId> OnDisks();

  // Nodes.
  void Started(SimNode& node);
  void Published(SimNode& node);
  void Served(SimNode& node, const SyncAnswer& answer);
  void Answered(SimNode& node, const std::vector<ValidMessage>& messages,
                const WriteAnswer& answer);
  void Copied(SimNode& node, const std::vector<int64_t>& refs, const WriteAnswer& answer);
  // What a client has seen that holds this token, at least. A node that lacks a seal cannot tell,
  // but every seal that was ever published can: whoever holds it holds what it seals.
  TokenVector Implied(TokenVector token) const;
  // Whether `token` leaves something out by a seal that is not among `known`: their holder cannot
  // tell what it means.
  bool HidesFrom(const Seals& known, const TokenVector& token) const;
  // What a walk that begins there with `state` has to give: places, ascending.
  std::vector<Place> CoveredPlaces(SimNode& node, const LogState& state, const ListQuery& query);

  // The nemesis has taken something from a disk for good: what no disk holds any more is excused,
  // and what that disk has shown may not be there any more.
  void Destroyed(SimNode& node);
  // Its content is not what a node wrote: it is not compared until it was scrubbed.
  void Damaged(SimNode& node);
  void Rewritten(SimNode& node, const EpochKey& epoch);
  bool damaged(const SimNode& node) const { return damaged_.count(node.disk_name()) > 0; }
  // Destructions and damages so far: what was read across one is compared with care.
  uint64_t disturbances() const { return disturbances_; }
  bool any_damage() const { return !damaged_.empty(); }
  // All damage has been found and repaired.
  void Scrubbed() { damaged_.clear(); }
  bool any_rewritten() const { return !rewritten_.empty(); }

  // Only these disks count from now on.
  void LimitTo(const std::set<int>& slots);
  // Two branches of an epoch that exist now: they must be named everywhere in the end.
  void NoteBranches();

  // After healing. Nodes must be up, and have nothing unsynced.
  void CheckHealed(const std::vector<SimNode*>& nodes);

 private:
  struct Excerpt {
    MessageId id;
    Stamp stamp = 0;
    bool sound = false;
  };
  std::map<MessageId, bool> SoundOn(SimNode& node);
  void Disturbed();
  void Excuse();
  void NoteSeals(const std::shared_ptr<const Seals>& seals);
  void CheckNode(SimNode& node, const std::vector<MessageId>& expected_order);
  std::vector<MessageId> Walk(SimNode& node, const Filter& filter, bool descending, size_t limit);

  World& world_;
  Cluster* cluster_ = nullptr;
  std::vector<ValidMessage> attempts_;
  std::map<MessageId, Message> attempted_;
  std::set<MessageId> required_;  // acknowledged, and not destroyed since
  // The smallest stamp that was said, as long as no disk has lost anything since.
  std::map<MessageId, Stamp> acknowledged_;
  std::map<MessageId, std::set<std::string>> held_;  // ids of nodes that have shown it durably
  std::map<std::string, int64_t> looked_up_to_;      // by disk: of held_
  std::map<std::pair<EpochKey, Seq>, Hash> issued_;
  std::map<EpochKey, std::string> owners_;         // the process that appends to it
  std::map<std::string, HeadVector> shown_heads_;  // by disk
  std::set<std::string> damaged_;                  // disks
  std::set<EpochKey> rewritten_;
  std::set<EpochKey> branched_;
  Seals seals_;                                       // that any node has ever published
  std::deque<std::shared_ptr<const Seals>> noted_;    // the latest of them
  std::map<std::string, std::set<int>> slots_by_id_;  // that ever had it
  std::set<int> slots_;                               // empty: all
  uint64_t disturbances_ = 0;
  bool tampered_ = false;  // a disk was ever damaged, or rewritten
};

}  // namespace chatchain::simulation
