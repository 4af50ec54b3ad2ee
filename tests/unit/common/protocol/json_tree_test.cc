// SPDX-License-Identifier: MIT
// What a tree gives of what was added; that reading builds the right one is told in json_test.
#include "common/protocol/json_tree.h"

#include <catch2/catch.hpp>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chatchain {

namespace {

// {"a":[1,[],{"b":"c"}],"":null,"d":-1,"e":1.5,"f":true,"a2":"x"}
JsonTree Sample() {
  JsonTree tree(0);
  tree.OpenObject();
  tree.AddString("a");
  tree.OpenArray();
  tree.AddUnsigned(1);
  tree.OpenArray();
  tree.Close();
  tree.OpenObject();
  tree.AddString("b");
  tree.AddString("c");
  tree.Close();
  tree.Close();
  tree.AddString("");
  tree.AddNull();
  tree.AddString("d");
  tree.AddInt(-1);
  tree.AddString("e");
  tree.AddDouble(1.5);
  tree.AddString("f");
  tree.AddBool(true);
  tree.AddString("a2");
  tree.AddString("x");
  tree.Close();
  return tree;
}

}  // namespace

TEST_CASE("members and elements are found past containers", "[json_tree]") {
  auto made = std::make_unique<JsonTree>(Sample());
  const JsonTree tree = std::move(*made);
  made.reset();
  const JsonValue root = tree.root();
  REQUIRE(root.is_object());
  CHECK(root.size() == 6);
  std::vector<std::string> names;
  for (const auto& [name, value] : root.Members()) names.emplace_back(name);
  CHECK(names == std::vector<std::string>{"a", "", "d", "e", "f", "a2"});

  const auto list = root.Find("a");
  REQUIRE(list);
  REQUIRE(list->is_array());
  CHECK(list->size() == 3);
  CHECK(list->At(0)->Unsigned() == 1);
  CHECK(list->At(1)->is_array());
  CHECK(list->At(1)->size() == 0);
  CHECK_FALSE(list->At(1)->At(0));
  CHECK(list->At(2)->FindString("b") == "c");
  CHECK_FALSE(list->At(3));
  size_t count = 0;
  for (const JsonValue element : list->Elements()) count += element.is_null() ? 0 : 1;
  CHECK(count == 3);

  CHECK(root.Find("")->is_null());
  CHECK(root.Find("d")->Int() == -1);
  CHECK(root.Find("e")->Double() == 1.5);
  CHECK(root.Find("f")->Bool());
  CHECK(root.FindString("a2") == "x");
  // A name within a member's value is no member.
  CHECK_FALSE(root.Find("b"));
  CHECK_FALSE(root.Find("x"));
  CHECK_FALSE(root.FindString("d"));
}

TEST_CASE("what is no container has nothing in it", "[json_tree]") {
  const JsonTree tree = Sample();
  for (const char* name : {"", "d", "e", "f", "a2"}) {
    const JsonValue value = *tree.root().Find(name);
    CHECK(value.size() == 0);
    CHECK_FALSE(value.At(0));
    CHECK_FALSE(value.Find("a"));
  }
  // Nor are the members of an object its elements, or the other way.
  CHECK_FALSE(tree.root().At(0));
  CHECK_FALSE(tree.root().Find("a")->Find("b"));
}

TEST_CASE("numbers are what their types hold", "[json_tree]") {
  JsonTree tree(0);
  tree.OpenArray();
  tree.AddUnsigned(std::numeric_limits<uint64_t>::max());
  tree.AddUnsigned(std::numeric_limits<int64_t>::max());
  tree.AddInt(std::numeric_limits<int64_t>::min());
  tree.AddDouble(2);
  tree.AddString("3");
  tree.Close();
  const JsonValue list = tree.root();
  CHECK(list.At(0)->Unsigned() == std::numeric_limits<uint64_t>::max());
  CHECK_FALSE(list.At(0)->Int());
  CHECK(list.At(0)->is_integer());
  CHECK(list.At(1)->Int() == std::numeric_limits<int64_t>::max());
  CHECK(list.At(2)->Int() == std::numeric_limits<int64_t>::min());
  CHECK_FALSE(list.At(2)->Unsigned());
  CHECK(list.At(3)->is_number());
  CHECK_FALSE(list.At(3)->is_integer());
  CHECK_FALSE(list.At(3)->Int());
  CHECK_FALSE(list.At(4)->is_number());
  CHECK_FALSE(list.At(4)->Unsigned());
}

TEST_CASE("a name that is there twice is found among few and many", "[json_tree]") {
  for (const size_t members : {size_t{2}, size_t{3}, size_t{24}, size_t{25}, size_t{5000}}) {
    for (const bool twice : {false, true}) {
      INFO(members << " members, one twice: " << twice);
      JsonTree tree(0);
      tree.OpenObject();
      for (size_t i = 0; i < members; ++i) {
        const bool last = i + 1 == members;
        tree.AddString(twice && last ? "n0" : "n" + std::to_string(i));
        // Names further down count for themselves.
        tree.OpenObject();
        tree.AddString("n0");
        tree.AddNull();
        CHECK_FALSE(tree.RepeatedName());
        tree.Close();
      }
      const auto repeated = tree.RepeatedName();
      CHECK(repeated.has_value() == twice);
      if (repeated) CHECK(*repeated == "n0");
      tree.Close();
    }
  }
}

TEST_CASE("of several names that are there twice, the first by alphabet is told", "[json_tree]") {
  for (const size_t others : {size_t{0}, size_t{100}}) {
    for (const auto& names : {std::vector<std::string>{"b", "c", "b", "a", "c", "a"},
                              std::vector<std::string>{"a", "b", "c", "a", "b", "c"}}) {
      JsonTree tree(0);
      tree.OpenObject();
      const auto add = [&](const std::string& name) {
        tree.AddString(name);
        tree.AddNull();
      };
      for (size_t i = 0; i < others; ++i) add("A" + std::to_string(i));
      for (const std::string& name : names) add(name);
      CHECK(tree.RepeatedName() == "a");
      tree.Close();
    }
  }
}

}  // namespace chatchain
