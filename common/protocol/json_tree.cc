// SPDX-License-Identifier: MIT
#include "common/protocol/json_tree.h"

#include <algorithm>

namespace chatchain {

namespace {

// Above that many, names are sorted to find one that is there twice.
constexpr size_t kFewMembers = 24;
// A guess: members of about that many bytes, name and value are a node each.
constexpr size_t kBytesOfNode = 10;

}  // namespace

// ---- building

JsonTree::JsonTree(size_t text_bytes) {
  nodes_.reserve(text_bytes / kBytesOfNode + 4);
  strings_.reserve(text_bytes);  // an escape is never shorter than what it stands for
}

JsonTree::Node& JsonTree::Add(Type type) {
  return nodes_.emplace_back(Node{.type = type, .extent = 0, .whole = 0});
}

void JsonTree::AddString(std::string_view text) {
  Node& node = Add(Type::kString);
  node.extent = static_cast<uint32_t>(text.size());
  node.whole = strings_.size();
  strings_.append(text);
}

void JsonTree::Open(Type type) {
  open_.push_back(static_cast<uint32_t>(nodes_.size()));
  Add(type);
}

void JsonTree::Close() {
  const uint32_t node = open_.back();
  open_.pop_back();
  const auto end = static_cast<uint32_t>(nodes_.size());
  uint64_t count = 0;
  for (uint32_t at = node + 1; at < end; at = Next(at)) ++count;
  nodes_[node].whole = nodes_[node].type == Type::kObject ? count / 2 : count;
  nodes_[node].extent = end;
}

std::optional<std::string_view> JsonTree::RepeatedName() {
  names_.clear();
  for (uint32_t name = open_.back() + 1; name < nodes_.size(); name = Next(name + 1)) {
    names_.push_back(StringAt(name));
  }
  if (names_.size() > kFewMembers) {
    std::sort(names_.begin(), names_.end());
    const auto twice = std::adjacent_find(names_.begin(), names_.end());
    if (twice != names_.end()) return *twice;
    return std::nullopt;
  }
  std::optional<std::string_view> least;
  for (auto it = names_.begin(); it != names_.end(); ++it) {
    if (least && *it >= *least) continue;
    if (std::find(names_.begin(), it, *it) != it) least = *it;
  }
  return least;
}

// ---- reading

bool JsonValue::is_null() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kNull;
}

bool JsonValue::is_bool() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kBool;
}

bool JsonValue::is_integer() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kInt ||
         tree_->nodes_[node_].type == JsonTree::Type::kUnsigned;
}

bool JsonValue::is_number() const {
  return is_integer() || tree_->nodes_[node_].type == JsonTree::Type::kDouble;
}

bool JsonValue::is_string() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kString;
}

bool JsonValue::is_object() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kObject;
}

bool JsonValue::is_array() const {
  return tree_->nodes_[node_].type == JsonTree::Type::kArray;
}

bool JsonValue::Bool() const {
  return tree_->nodes_[node_].whole != 0;
}

std::string_view JsonValue::String() const {
  return tree_->StringAt(node_);
}

std::optional<int64_t> JsonValue::Int() const {
  if (tree_->nodes_[node_].type == JsonTree::Type::kInt)
    return static_cast<int64_t>(tree_->nodes_[node_].whole);
  if (tree_->nodes_[node_].type != JsonTree::Type::kUnsigned ||
      tree_->nodes_[node_].whole > INT64_MAX)
    return std::nullopt;
  return static_cast<int64_t>(tree_->nodes_[node_].whole);
}

std::optional<uint64_t> JsonValue::Unsigned() const {
  if (tree_->nodes_[node_].type != JsonTree::Type::kUnsigned) return std::nullopt;
  return tree_->nodes_[node_].whole;
}

double JsonValue::Double() const {
  return tree_->nodes_[node_].fraction;
}

size_t JsonValue::size() const {
  return is_object() || is_array() ? tree_->nodes_[node_].whole : 0;
}

std::optional<JsonValue> JsonValue::Find(std::string_view name) const {
  for (const auto& [other, value] : Members()) {
    if (other == name) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> JsonValue::FindString(std::string_view name) const {
  const auto value = Find(name);
  if (!value || !value->is_string()) return std::nullopt;
  return value->String();
}

std::optional<JsonValue> JsonValue::At(size_t index) const {
  for (const JsonValue element : Elements()) {
    if (index-- == 0) return element;
  }
  return std::nullopt;
}

JsonValue::Range<JsonValue::Iterator> JsonValue::Elements() const {
  const uint32_t end = is_array() ? tree_->nodes_[node_].extent : node_ + 1;
  return {{tree_, node_ + 1}, {tree_, end}};
}

JsonValue::Range<JsonValue::MemberIterator> JsonValue::Members() const {
  const uint32_t end = is_object() ? tree_->nodes_[node_].extent : node_ + 1;
  return {{tree_, node_ + 1}, {tree_, end}};
}

JsonValue::Iterator& JsonValue::Iterator::operator++() {
  node_ = tree_->Next(node_);
  return *this;
}

std::pair<std::string_view, JsonValue> JsonValue::MemberIterator::operator*() const {
  return {tree_->StringAt(name_), JsonValue(tree_, name_ + 1)};
}

JsonValue::MemberIterator& JsonValue::MemberIterator::operator++() {
  name_ = tree_->Next(name_ + 1);
  return *this;
}

}  // namespace chatchain
