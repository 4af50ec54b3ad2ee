// SPDX-License-Identifier: MIT
#include "client/http/web_files.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

namespace chatchain {
namespace {

namespace fs = std::filesystem;

const fs::path kSources = fs::path(CHATCHAIN_SOURCE_DIR) / "client/web";

// A copy of the page's files, gone at the end.
struct Copy {
  fs::path path;
  Copy() {
    std::string name = (fs::temp_directory_path() / "chatchain-web-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
    fs::copy(kSources, path, fs::copy_options::recursive);
  }
  ~Copy() { fs::remove_all(path); }
  std::string Error() const {
    const auto files = WebFiles::Load(path.string());
    return files ? "" : files.error();
  }
};

http::Request Asking(const std::string& field = "", const std::string& value = "") {
  http::Request request;
  if (!field.empty()) request.headers.Add(field, value);
  return request;
}

std::string Field(const http::Response& response, std::string_view name) {
  return std::string(response.headers.Get(name).value_or(""));
}

TEST_CASE("the list of the page's files is what lies in its folder", "[web_files]") {
  std::set<std::string> lie;
  for (const auto& entry : fs::directory_iterator(kSources)) {
    lie.insert(entry.path().filename().string());
  }
  lie.erase("package.json");  // for Node, which runs the tests of the modules
  CHECK(lie == std::set<std::string>(WebFiles::kNames.begin(), WebFiles::kNames.end()));
}

TEST_CASE("each form of a file has a tag of its own, which answers 304", "[web_files]") {
  const auto files = WebFiles::Load(kSources.string());
  REQUIRE(files);
  for (const std::string_view name : WebFiles::kNames) {
    INFO(name);
    const std::string file(name);
    const auto plain = (*files)->Answer(Asking(), file);
    const auto packed = (*files)->Answer(Asking("Accept-Encoding", "gzip"), file);
    REQUIRE(plain.status == 200);
    CHECK(plain.body.size() == fs::file_size(kSources / file));
    CHECK(Field(plain, "Content-Encoding").empty());
    CHECK(Field(plain, "Vary") == "Accept-Encoding");
    if (!name.ends_with(".png")) CHECK(Field(packed, "Content-Encoding") == "gzip");
    const std::string tag = Field(plain, "ETag");
    CHECK(tag.size() == 66);
    CHECK((Field(packed, "ETag") == tag) == Field(packed, "Content-Encoding").empty());

    for (const std::string& good : {tag, "W/" + tag, "\"x\" ,\t" + tag + " ", std::string("*")}) {
      const auto same = (*files)->Answer(Asking("If-None-Match", good), file);
      CHECK(same.status == 304);
      CHECK(same.body.empty());
      CHECK(Field(same, "ETag") == tag);
      CHECK(Field(same, "Cache-Control") == "no-cache");
    }
    for (const std::string& bad : {std::string("\"x\""), tag.substr(1), std::string(",,")}) {
      CHECK((*files)->Answer(Asking("If-None-Match", bad), file).status == 200);
    }
  }
}

TEST_CASE("only names of the list are served", "[web_files]") {
  const auto files = WebFiles::Load(kSources.string());
  REQUIRE(files);
  for (const char* name :
       {"package.json", "../app.cc", "..", ".", "", "/etc/passwd", "MAIN.JS", "main.js/"}) {
    INFO(name);
    CHECK((*files)->Answer(Asking(), name).status == 404);
  }
}

TEST_CASE("a page that is not whole is refused by the file that is wrong", "[web_files]") {
  const Copy copy;
  CHECK(copy.Error().empty());
  std::ofstream(copy.path / "chat.js", std::ios::trunc);
  CHECK(copy.Error() == "cannot read " + (copy.path / "chat.js").string());
  std::ofstream(copy.path / "chat.js") << std::string(WebFiles::kMaxFileBytes + 1, ' ');
  CHECK(copy.Error() == (copy.path / "chat.js").string() + " is longer than 262144 bytes");
  fs::remove(copy.path / "chat.js");
  fs::create_directory(copy.path / "chat.js");
  CHECK(copy.Error() == "cannot read " + (copy.path / "chat.js").string());
}

TEST_CASE("what the configuration names is what is read", "[web_files]") {
  const Copy copy;
  std::ofstream(copy.path / "index.html") << "ours";
  const auto files = FindWebFiles(copy.path.string());
  REQUIRE(files);
  CHECK((*files)->Answer(Asking(), "index.html").body == "ours");
  CHECK(!FindWebFiles((copy.path / "missing").string()));
  CHECK(FindWebFiles(""));
}

}  // namespace
}  // namespace chatchain
