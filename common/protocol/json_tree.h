// SPDX-License-Identifier: MIT
// A JSON text as it was read, in two pieces of memory: one array of nodes and one text of all
// strings. The library's tree allocates for each member and each string, which cost more than all
// the rest of reading a message.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chatchain {

class JsonTree;

// One value of a tree: a handle, valid while the tree lives at its place and is not changed.
// A getter REQUIRES its type; Find() and Elements() give nothing of what is no container.
class JsonValue {
 public:
  class Iterator;
  class MemberIterator;
  template <typename It>
  struct Range {
    It begin() const { return first; }
    It end() const { return last; }
    It first, last;
  };

  bool is_null() const;
  bool is_bool() const;
  bool is_number() const;   // with or without a fraction
  bool is_integer() const;  // from -2^63 to 2^64-1
  bool is_string() const;
  bool is_object() const;
  bool is_array() const;

  bool Bool() const;
  std::string_view String() const;
  // Nothing where it is no integer, or outside of the type.
  std::optional<int64_t> Int() const;
  std::optional<uint64_t> Unsigned() const;
  double Double() const;  // REQUIRES: a number that is no integer

  // Members or elements; 0 of what is no container.
  size_t size() const;
  // A member, by a walk over the members before it.
  std::optional<JsonValue> Find(std::string_view name) const;
  std::optional<std::string_view> FindString(std::string_view name) const;
  // An element, by a walk over those before it; nothing behind the last one.
  std::optional<JsonValue> At(size_t index) const;
  // In the order of the text.
  Range<Iterator> Elements() const;
  Range<MemberIterator> Members() const;

 private:
  friend class JsonTree;
  JsonValue(const JsonTree* tree, uint32_t node) : tree_(tree), node_(node) {}

  const JsonTree* tree_;
  uint32_t node_;
};

// Grows by events in the order of the text, as a reader gives them, then is only read.
class JsonTree {
 public:
  // For a text of that many bytes; at most 2^31.
  explicit JsonTree(size_t text_bytes);

  // REQUIRES: a value was added, and every container was closed.
  JsonValue root() const { return {this, 0}; }

  void AddNull() { Add(Type::kNull); }
  void AddBool(bool value) { Add(Type::kBool).whole = value ? 1 : 0; }
  void AddInt(int64_t value) { Add(Type::kInt).whole = static_cast<uint64_t>(value); }
  void AddUnsigned(uint64_t value) { Add(Type::kUnsigned).whole = value; }
  void AddDouble(double value) { Add(Type::kDouble).fraction = value; }
  // A value, or the name of a member whose value comes next.
  void AddString(std::string_view text);
  void OpenObject() { Open(Type::kObject); }
  void OpenArray() { Open(Type::kArray); }
  // REQUIRES: one is open.
  void Close();
  size_t depth() const { return open_.size(); }
  // Of the innermost open object: a name that two of its members have, the first by alphabet.
  std::optional<std::string_view> RepeatedName();

 private:
  friend class JsonValue;
  enum class Type : uint32_t { kNull, kBool, kInt, kUnsigned, kDouble, kString, kObject, kArray };
  // 16 bytes. The nodes of a container's members and elements follow it; names are strings.
  struct Node {
    Type type;
    uint32_t extent;  // of a string: bytes; of a container: the index behind its last node
    union {
      uint64_t whole;  // of a string: where it begins in strings_; of a container: its size
      double fraction;
    };
  };

  Node& Add(Type type);
  void Open(Type type);
  // Behind a value and all that is in it.
  uint32_t Next(uint32_t node) const {
    const Node& at = nodes_[node];
    return at.type == Type::kObject || at.type == Type::kArray ? at.extent : node + 1;
  }
  std::string_view StringAt(uint32_t node) const {
    return std::string_view(strings_).substr(nodes_[node].whole, nodes_[node].extent);
  }

  std::vector<Node> nodes_;
  std::string strings_;
  std::vector<uint32_t> open_;
  std::vector<std::string_view> names_;  // only within RepeatedName()
};

class JsonValue::Iterator {
 public:
  Iterator(const JsonTree* tree, uint32_t node) : tree_(tree), node_(node) {}
  JsonValue operator*() const { return {tree_, node_}; }
  Iterator& operator++();
  friend bool operator==(const Iterator&, const Iterator&) = default;

 private:
  const JsonTree* tree_;
  uint32_t node_;
};

class JsonValue::MemberIterator {
 public:
  MemberIterator(const JsonTree* tree, uint32_t name) : tree_(tree), name_(name) {}
  std::pair<std::string_view, JsonValue> operator*() const;
  MemberIterator& operator++();
  friend bool operator==(const MemberIterator&, const MemberIterator&) = default;

 private:
  const JsonTree* tree_;
  uint32_t name_;
};

}  // namespace chatchain
