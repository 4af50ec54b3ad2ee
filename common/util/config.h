// SPDX-License-Identifier: MIT
// Reads the configuration of either program: flags beat the environment (CHATCHAIN_NODE_LISTEN)
// beat the file beat the defaults. The file is the one named by --config, or by CHATCHAIN_CONFIG,
// or
// ./config.toml where that exists; --config "" reads none. All of it is checked, the part of the
// other program included: whoever starts first finds the typo. node/config.h and client/config.h
// make plain structs of what this gives.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/util/config_keys.h"
#include "common/util/result.h"

namespace chatchain {

// The program ends here: after --help and its kind (code 0) or because something is wrong (code 2,
// one line that names the place, e.g. `config.toml:12: unknown key "node.lisen"; did you mean
// ...`).
struct ConfigExit {
  int code = 2;
  std::string text;  // without the last newline
  bool to_stdout = false;
};

// Prints it where it belongs; returns its code, for `return PrintExit(...)` in main.
int PrintExit(const ConfigExit& exit);

// Variables by name.
using Environment = std::map<std::string, std::string, std::less<>>;
Environment ProcessEnvironment();

// A flag that is no key of the configuration.
struct ConfigSwitch {
  std::string_view flag;        // without the dashes
  std::string_view value_name;  // how --help calls its value; empty: it has none
  std::string_view help;
};

struct ConfigProgram {
  std::string_view name;                        // "chatchain-node"
  std::string_view table;                       // its own table beside [cluster]
  std::string_view summary;                     // one line for --help
  std::span<const ConfigSwitch> commands = {};  // what it does instead of serving
};

// Checked values by dotted key. REQUIRES everywhere: the key is in ConfigKeys() and has that type.
class ConfigValues {
 public:
  int64_t Integer(std::string_view dotted) const;
  const std::string& Text(std::string_view dotted) const;
  const std::vector<std::string>& List(std::string_view dotted) const;
  // Where the value came from, as an error message should begin: "config.toml:12: node.listen",
  // "--listen", "CHATCHAIN_NODE_LISTEN", or "node.listen" for the default.
  const std::string& Where(std::string_view dotted) const;

  struct Value {
    int64_t integer = 0;
    std::string text;
    std::vector<std::string> list;
    std::string where;
  };
  void Set(const ConfigKey& key, Value value);

 private:
  const Value& Get(std::string_view dotted) const;
  std::map<std::string, Value, std::less<>> values_;
};

struct LoadedConfig {
  ConfigValues values;
  std::string file;         // as it was named; empty: none was read
  bool check_only = false;  // --check-config: answer with CheckPassed() if nothing else is wrong
  // The program's commands that were given, by flag, with their values.
  std::map<std::string, std::string, std::less<>> commands = {};
};

// REQUIRES: argv[0..argc) as main gets it.
Result<LoadedConfig, ConfigExit> LoadConfig(const ConfigProgram& program, int argc,
                                            const char* const* argv,
                                            const Environment& environment);

ConfigExit CheckPassed();
// "<where>: <reason>", code 2.
ConfigExit ConfigError(std::string_view where, std::string_view reason);

// The text of config.toml: every key at its default, with its unit, its range and its sentence.
std::string ReferenceConfig();

}  // namespace chatchain
