// SPDX-License-Identifier: MIT
#include "client/terminal/state_file.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/support/store_test.h"

namespace chatchain::terminal {

namespace {

MessageId IdOfNumber(int number) {
  MessageId id;
  id.bytes[20] = static_cast<uint8_t>(number >> 8);
  id.bytes[21] = static_cast<uint8_t>(number);
  return id;
}

}  // namespace

TEST_CASE("a state is read as it was saved, and only under its filters") {
  const test::TempDir folder;
  const std::string path = folder.File("state");
  {
    StateFile state;
    REQUIRE(state.Open(path, "&sender=\"a\""));
    CHECK_FALSE(state.found());
    for (int i = 0; i < 700; ++i) state.Printed(IdOfNumber(i));
    REQUIRE(state.Save("token", true));
    REQUIRE(state.Save("token2", false));
    StateFile second;
    CHECK_FALSE(second.Open(path, "&sender=\"a\""));
  }
  StateFile state;
  REQUIRE(state.Open(path, "&sender=\"a\""));
  CHECK(state.found());
  CHECK(state.after() == "token2");
  REQUIRE(state.ids().size() == StateFile::kIds);
  CHECK(state.ids().back() == IdOfNumber(699));
  CHECK(state.ids().front() == IdOfNumber(200));
  CHECK_FALSE(std::filesystem::exists(path + ".new"));
}

TEST_CASE("a state of other filters, and what is no state, is left alone") {
  const test::TempDir folder;
  const std::string path = folder.File("state");
  for (const std::string content :
       {"", "{}", "precious",
        "{\"chatchain_tail\":2,\"filters\":\"\",\"after\":\"\",\"printed\":[]}",
        "{\"chatchain_tail\":1,\"filters\":\"\",\"after\":\"x\",\"printed\":[\"no id\"]}",
        "{\"chatchain_tail\":1,\"filters\":\"other\",\"after\":\"x\",\"printed\":[]}"}) {
    CAPTURE(content);
    std::ofstream(path) << content;
    {
      StateFile state;
      CHECK_FALSE(state.Open(path, ""));
    }
    std::ifstream in(path);
    CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == content);
  }
}

TEST_CASE("a link to a state stays a link") {
  const test::TempDir folder;
  const std::string path = folder.File("state");
  const std::string link = folder.File("link");
  std::filesystem::create_symlink(path, link);
  std::ofstream(path) << "{\"chatchain_tail\":1,\"filters\":\"\",\"after\":\"x\",\"printed\":[]}";
  StateFile state;
  REQUIRE(state.Open(link, ""));
  REQUIRE(state.Save("y", true));
  CHECK(std::filesystem::is_symlink(link));
  std::ifstream in(path);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}).find("\"y\"") != std::string::npos);
}

}  // namespace chatchain::terminal
