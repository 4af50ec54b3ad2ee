// SPDX-License-Identifier: MIT
// Every configuration key of both programs, once. Flags, environment names, checks, --help, the
// nearest-key suggestions and config.toml itself all derive from this one list. It is here, and not
// with each program, because both read the same file: a typo in either table must be found by both.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace chatchain {

enum class ConfigType {
  kInteger,      // min..max in `unit`
  kChoice,       // one of `choices`
  kName,         // min..max characters: letters, digits and those in `choices`
  kPath,         // min..max bytes
  kListen,       // HOST:PORT, port 0 allowed
  kAddressList,  // min..max times HOST:PORT, none twice
  kOriginList,   // min..max web origins, none twice
};

struct ConfigKey {
  std::string_view table;  // "cluster", "node" or "client"
  std::string_view name;
  ConfigType type;
  std::string_view flag = "";        // without the dashes; empty: no flag
  std::string_view value_name = "";  // how --help calls the value
  std::string_view unit = "";        // of integers
  std::string_view fallback;         // the default, as a flag would give it
  bool optional = false;             // "" is allowed and means: not set
  int64_t min = 0;
  int64_t max = 0;
  std::string_view choices = "";  // see ConfigType
  std::string_view help;          // one sentence

  std::string Dotted() const;       // "node.listen"
  std::string Environment() const;  // "CHATCHAIN_NODE_LISTEN"
  bool IsList() const {
    return type == ConfigType::kAddressList || type == ConfigType::kOriginList;
  }
};

struct ConfigTable {
  std::string_view name;
  std::string_view help;
};

std::span<const ConfigTable> ConfigTables();
std::span<const ConfigKey> ConfigKeys();
// Null for a name that is no key.
const ConfigKey* FindConfigKey(std::string_view dotted);

}  // namespace chatchain
