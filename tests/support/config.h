// SPDX-License-Identifier: MIT
// Helpers to load a configuration the way a program does.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/util/config.h"

namespace chatchain {

// A file in a directory of its own; both are gone afterwards.
class ConfigFile {
 public:
  explicit ConfigFile(const std::string& text) {
    std::string pattern = (std::filesystem::temp_directory_path() / "chatchain-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    std::ofstream(path()) << text;
  }
  ~ConfigFile() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;
  std::string path() const { return dir_ + "/config.toml"; }
  const std::string& dir() const { return dir_; }

 private:
  std::string dir_;
};

// Calls `load` (LoadNodeConfig, LoadClientConfig) with these arguments. No file is read unless they
// name one.
template <typename Load>
auto LoadWith(Load load, const std::vector<std::string>& arguments,
              const Environment& environment = {}) {
  std::vector<const char*> argv = {"program"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  Environment all = environment;
  all.emplace("CHATCHAIN_CONFIG", "");
  return load(static_cast<int>(argv.size()), argv.data(), all);
}

// A valid value that is not the default.
inline std::string OtherValue(const ConfigKey& key) {
  switch (key.type) {
    case ConfigType::kInteger: {
      const std::string low = std::to_string(key.min);
      return low == key.fallback ? std::to_string(key.max) : low;
    }
    case ConfigType::kChoice: return std::string(key.choices.substr(key.choices.rfind('|') + 1));
    case ConfigType::kName:
    case ConfigType::kPath: return "another-one";
    case ConfigType::kListen: return "127.0.0.2:9999";
    case ConfigType::kAddressList: return "127.0.0.3:9998,[::1]:9998";
    case ConfigType::kOriginList: return "https://chat.example,*";
  }
  return "";
}

}  // namespace chatchain
