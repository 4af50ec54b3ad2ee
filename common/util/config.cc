// SPDX-License-Identifier: MIT
#include "common/util/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <cxxopts.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <variant>

#include "common/util/host_port.h"
#include "common/util/log.h"
#include "common/util/usage.h"
#include "common/util/version.h"

extern char** environ;

namespace chatchain {
namespace {

constexpr size_t kMaxFileBytes = 1024 * 1024;
constexpr std::string_view kDefaultFile = "config.toml";
constexpr std::string_view kFileVariable = "CHATCHAIN_CONFIG";

constexpr std::string_view kConfigHelp =
    "The configuration file; not given, CHATCHAIN_CONFIG names it, or it is ./config.toml if that "
    "exists; \"\" reads none.";
constexpr std::array kSwitches = {
    ConfigSwitch{"config", "FILE", kConfigHelp},
    ConfigSwitch{"check-config", "",
                 "Reads and checks all of the configuration, prints ok, and exits."},
    ConfigSwitch{"print-config", "",
                 "Prints a config.toml with every key at its default, and exits."},
    ConfigSwitch{"version", "", "Prints name and version, and exits."},
    ConfigSwitch{"help", "", "Prints this, and exits."},
};

std::string Quoted(std::string_view text) {
  return "\"" + LogSafe(text) + "\"";
}

// ---- the rules of one value

// "10..60000 ms", "one of trace, debug", ...: what a value of this key may be.
std::string Allowed(const ConfigKey& key) {
  const std::string range = std::to_string(key.min) + ".." + std::to_string(key.max);
  switch (key.type) {
    case ConfigType::kInteger: return range + " " + std::string(key.unit);
    case ConfigType::kChoice: return "one of " + Join(Split(key.choices, '|'), ", ");
    case ConfigType::kName: return range + " letters, digits or any of " + std::string(key.choices);
    case ConfigType::kPath: return "a path of " + range + " bytes";
    case ConfigType::kListen: return "HOST:PORT";
    case ConfigType::kAddressList: return range + " times HOST:PORT, port 1..65535, none twice";
    case ConfigType::kOriginList:
      return range + " web origins such as \"https://chat.example\", or \"*\"";
  }
  return "";
}

// A value before it is checked: as the file types it, or as text.
using RawValue = std::variant<int64_t, std::string, std::vector<std::string>>;
using CheckedValue = Result<ConfigValues::Value, std::string>;

CheckedValue CheckInteger(const ConfigKey& key, int64_t value) {
  if (value < key.min || value > key.max) {
    return Err("must be " + Allowed(key) + ", not " + std::to_string(value));
  }
  return ConfigValues::Value{.integer = value};
}

CheckedValue CheckText(const ConfigKey& key, const std::string& text) {
  const std::string must_be = "must be " + Allowed(key) + ", not " + Quoted(text);
  if (text.empty() && key.optional) return ConfigValues::Value{};
  const auto bytes = static_cast<int64_t>(text.size());
  if (key.type == ConfigType::kChoice) {
    const std::vector<std::string> choices = Split(key.choices, '|');
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) return Err(must_be);
  } else if (key.type == ConfigType::kListen) {
    auto address = ParseHostPort(text);
    if (!address) return Err("must be HOST:PORT; " + Quoted(text) + " " + address.error());
    return ConfigValues::Value{.text = address->ToString()};
  } else {
    const bool name = key.type == ConfigType::kName;
    const bool characters = std::all_of(text.begin(), text.end(), [&](char c) {
      return name ? (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        key.choices.find(c) != std::string_view::npos
                  : c != '\0';
    });
    if (!characters || bytes < key.min || bytes > key.max) return Err(must_be);
  }
  return ConfigValues::Value{.text = text};
}

// A browser's Origin header never has a path or a final slash: such an entry would never match.
bool IsOrigin(std::string_view text) {
  const size_t colon = text.find("://");
  if (text == "*") return true;
  if (colon == 0 || colon == std::string_view::npos) return false;
  const std::string_view host = text.substr(colon + 3);
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return c > ' ' && c < 0x7f && std::string_view("/?#@\"',").find(c) == std::string_view::npos;
  });
}

CheckedValue CheckList(const ConfigKey& key, const std::vector<std::string>& list) {
  ConfigValues::Value value;
  for (const std::string& item : list) {
    std::string canonical = item;
    if (key.type == ConfigType::kAddressList) {
      auto address = ParseHostPort(item);
      if (!address) return Err("must be HOST:PORT each; " + Quoted(item) + " " + address.error());
      if (address->port == 0) return Err("must have ports 1..65535; " + Quoted(item) + " has 0");
      canonical = address->ToString();
    } else if (!IsOrigin(item)) {
      return Err("must be " + Allowed(key) + ", without a path, not " + Quoted(item));
    }
    if (std::find(value.list.begin(), value.list.end(), canonical) != value.list.end()) {
      return Err("names " + Quoted(canonical) + " twice");
    }
    value.list.push_back(std::move(canonical));
  }
  const auto count = static_cast<int64_t>(value.list.size());
  if (count < key.min || count > key.max) {
    return Err("must be " + Allowed(key) + ", not " + std::to_string(count));
  }
  return value;
}

CheckedValue Check(const ConfigKey& key, const RawValue& raw) {
  if (const auto* integer = std::get_if<int64_t>(&raw)) return CheckInteger(key, *integer);
  if (const auto* text = std::get_if<std::string>(&raw)) return CheckText(key, *text);
  return CheckList(key, std::get<std::vector<std::string>>(raw));
}

// Flags, environment and defaults are text.
CheckedValue CheckWritten(const ConfigKey& key, const std::string& text) {
  if (key.IsList()) return Check(key, Split(text, ','));
  if (key.type != ConfigType::kInteger) return Check(key, text);
  int64_t integer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Err("must be a whole number, " + Allowed(key) + ", not " + Quoted(text));
  }
  return Check(key, integer);
}

// ---- the sources, weakest first

void SetDefaults(ConfigValues* values) {
  for (const ConfigKey& key : ConfigKeys()) {
    auto value = CheckWritten(key, std::string(key.fallback));
    assert(value && "a default breaks its own rule");
    value->where = key.Dotted();
    values->Set(key, std::move(*value));
  }
}

std::string Place(const std::string& file, uint32_t line) {
  return file + ":" + std::to_string(line);
}

// Errors of a file with the line each is on.
using LineErrors = std::vector<std::pair<uint32_t, std::string>>;

std::optional<RawValue> RawFromToml(const ConfigKey& key, const toml::node& node) {
  if (key.IsList()) {
    std::vector<std::string> list;
    if (!node.is_array()) return std::nullopt;
    for (const toml::node& item : *node.as_array()) {
      if (!item.is_string()) return std::nullopt;
      list.push_back(item.as_string()->get());
    }
    return list;
  }
  if (key.type == ConfigType::kInteger) {
    if (!node.is_integer()) return std::nullopt;
    return node.as_integer()->get();
  }
  if (!node.is_string()) return std::nullopt;
  return node.as_string()->get();
}

std::string_view TomlTypeName(const ConfigKey& key) {
  if (key.IsList()) return "an array of strings";
  return key.type == ConfigType::kInteger ? "a whole number" : "a string";
}

std::string AllowedIn(std::string_view table) {
  std::vector<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table == table) names.emplace_back(key.name);
  }
  return "allowed in [" + std::string(table) + "]: " + Join(names, ", ");
}

std::vector<std::string> AllDotted() {
  std::vector<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) names.push_back(key.Dotted());
  return names;
}

void SetFromTable(const std::string& file, std::string_view table_name, const toml::table& table,
                  ConfigValues* values, LineErrors* errors) {
  for (const auto& [name, node] : table) {
    const uint32_t line = name.source().begin.line;
    const std::string dotted = std::string(table_name) + "." + std::string(name.str());
    const ConfigKey* key = FindConfigKey(dotted);
    if (key == nullptr) {
      const std::string hint = DidYouMean(dotted, AllDotted());
      errors->emplace_back(line, "unknown key " + Quoted(dotted) + hint +
                                     (hint.empty() ? "; " : " ") + AllowedIn(table_name));
      continue;
    }
    const auto raw = RawFromToml(*key, node);
    if (!raw) {
      errors->emplace_back(
          line, dotted + ": must be " + std::string(TomlTypeName(*key)) + ", " + Allowed(*key));
      continue;
    }
    auto value = Check(*key, *raw);
    if (!value) {
      errors->emplace_back(line, dotted + ": " + value.error());
      continue;
    }
    value->where = Place(file, line) + ": " + dotted;
    values->Set(*key, std::move(*value));
  }
}

bool IsTable(std::string_view name) {
  const auto tables = ConfigTables();
  return std::any_of(tables.begin(), tables.end(),
                     [&](const ConfigTable& table) { return table.name == name; });
}

std::string UnknownTable(std::string_view name) {
  std::vector<std::string> candidates = AllDotted();
  std::vector<std::string> tables;
  for (const ConfigTable& table : ConfigTables()) {
    tables.push_back("[" + std::string(table.name) + "]");
    candidates.emplace_back(table.name);
  }
  const std::string hint = DidYouMean(name, candidates);
  return "unknown key " + Quoted(name) + hint + (hint.empty() ? "; " : " ") +
         "allowed tables: " + Join(tables, ", ");
}

Result<void, ConfigExit> SetFromFile(const std::string& file, ConfigValues* values) {
  std::error_code ignored;
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file, ignored)) {
    return Err(ConfigError(file, in ? "is a directory, not a configuration file"
                                    : std::string("cannot be read: ") + std::strerror(errno)));
  }
  std::string text(kMaxFileBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (in.bad()) return Err(ConfigError(file, "cannot be read"));
  if (text.size() > kMaxFileBytes) return Err(ConfigError(file, "is larger than 1 MiB"));

  toml::table document;
  try {
    document = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return Err(ConfigError(Place(file, error.source().begin.line), LogSafe(error.description())));
  }
  LineErrors errors;
  for (const auto& [name, node] : document) {
    const uint32_t line = name.source().begin.line;
    if (!IsTable(name.str())) {
      errors.emplace_back(line, UnknownTable(name.str()));
    } else if (!node.is_table()) {
      errors.emplace_back(line, std::string(name.str()) + ": must be a table, not a value");
    } else {
      SetFromTable(file, name.str(), *node.as_table(), values, &errors);
    }
  }
  if (errors.empty()) return {};
  const auto first = std::min_element(errors.begin(), errors.end());
  return Err(ConfigError(Place(file, first->first), first->second));
}

// Kubernetes describes a service called chatchain-node to its pods in variables of these names.
bool IsServiceVariable(std::string_view after_table) {
  return after_table.starts_with("SERVICE_") || after_table.starts_with("PORT");
}

Result<void, ConfigExit> SetFromEnvironment(const Environment& environment, ConfigValues* values) {
  std::map<std::string, const ConfigKey*, std::less<>> keys;
  std::vector<std::string> names;
  for (const ConfigKey& key : ConfigKeys()) {
    keys.emplace(key.Environment(), &key);
    names.push_back(key.Environment());
  }
  for (const auto& [variable, text] : environment) {
    const auto known = keys.find(variable);
    if (known != keys.end()) {
      auto value = CheckWritten(*known->second, text);
      if (!value) return Err(ConfigError(variable, value.error()));
      value->where = variable;
      values->Set(*known->second, std::move(*value));
      continue;
    }
    for (const ConfigTable& table : ConfigTables()) {
      const std::string prefix =
          ConfigKey{.table = table.name, .name = "", .type = ConfigType::kName}.Environment();
      if (!variable.starts_with(prefix) || IsServiceVariable(variable.substr(prefix.size()))) {
        continue;
      }
      const std::string hint = DidYouMean(variable, names);
      return Err(ConfigError(LogSafe(variable), "unknown environment variable" + hint +
                                                    (hint.empty() ? "; " : " ") +
                                                    AllowedIn(table.name)));
    }
  }
  return {};
}

// ---- the command line

std::vector<const ConfigKey*> FlagKeys(const ConfigProgram& program) {
  std::vector<const ConfigKey*> keys;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table == program.table && !key.flag.empty()) keys.push_back(&key);
  }
  return keys;
}

Result<cxxopts::ParseResult, ConfigExit> ParseFlags(const ConfigProgram& program, int argc,
                                                    const char* const* argv) {
  cxxopts::Options options{std::string(program.name)};
  std::vector<std::string> names;
  for (const ConfigKey* key : FlagKeys(program)) {
    options.add_options()(std::string(key->flag), "", cxxopts::value<std::string>());
    names.push_back("--" + std::string(key->flag));
  }
  const auto add = [&](const ConfigSwitch& item) {
    const std::string spelling = item.flag == "help" ? "h,help" : std::string(item.flag);
    if (item.value_name.empty()) {
      options.add_options()(spelling, "");
    } else {
      options.add_options()(spelling, "", cxxopts::value<std::string>());
    }
    names.push_back("--" + std::string(item.flag));
  };
  std::for_each(program.commands.begin(), program.commands.end(), add);
  std::for_each(kSwitches.begin(), kSwitches.end(), add);
  // Unknown flags are told apart here, not by cxxopts, whose message cannot suggest anything.
  options.allow_unrecognised_options();
  try {
    cxxopts::ParseResult flags = options.parse(argc, argv);
    if (!flags.unmatched().empty()) {
      std::string wrong = flags.unmatched().front();
      if (!wrong.starts_with('-')) {
        return Err(ConfigError(Quoted(wrong), "unexpected argument; see --help"));
      }
      wrong = wrong.substr(0, wrong.find('='));
      const std::string hint = DidYouMean(wrong, names);
      return Err(ConfigError(LogSafe(wrong), "unknown flag" + hint + (hint.empty() ? "; " : " ") +
                                                 "allowed: " + Join(names, ", ")));
    }
    for (const std::string& name : names) {
      if (flags.count(name.substr(2)) > 1) return Err(ConfigError(name, "given more than once"));
    }
    return flags;
  } catch (const cxxopts::exceptions::exception& error) {
    return Err(ConfigExit{.text = std::string(error.what()) + "; see --help"});
  }
}

std::string DefaultInWords(const ConfigKey& key) {
  if (key.optional) return "";
  return ", default " + (key.fallback.empty() ? "none" : std::string(key.fallback));
}

std::string Help(const ConfigProgram& program) {
  std::string text =
      std::string(program.name) + ": " + std::string(program.summary) + "\n\nFlags:\n";
  for (const ConfigKey* key : FlagKeys(program)) {
    text += "  --" + std::string(key->flag) + " " + std::string(key->value_name) + "\n";
    text += Wrapped(std::string(key->help) + " " + key->Dotted() + ": " + Allowed(*key) +
                        DefaultInWords(*key) + ".",
                    "      ");
  }
  const auto add = [&](const ConfigSwitch& item) {
    text += "  --" + std::string(item.flag) + (item.value_name.empty() ? "" : " ") +
            std::string(item.value_name) + "\n" + Wrapped(item.help, "      ");
  };
  std::for_each(kSwitches.begin(), kSwitches.end(), add);
  if (!program.commands.empty()) text += "\nInstead of serving:\n";
  std::for_each(program.commands.begin(), program.commands.end(), add);
  text += "\nKeys without a flag:\n";
  const ConfigKey* example = nullptr;
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.table != "cluster" && key.table != program.table) continue;
    if (key.table == program.table && key.name == "listen") example = &key;
    if (!key.flag.empty()) continue;
    text += "  " + key.Dotted() + "\n";
    text +=
        Wrapped(std::string(key.help) + " " + Allowed(key) + DefaultInWords(key) + ".", "      ");
  }
  text += "\n" + Wrapped("Flags beat environment variables (" + example->Environment() + " for " +
                             example->Dotted() + ") beat config.toml beat defaults.",
                         "");
  text.pop_back();
  return text;
}

// The file to read; empty: none.
std::string ChooseFile(const cxxopts::ParseResult& flags, const Environment& environment) {
  if (flags.count("config") != 0) return flags["config"].as<std::string>();
  const auto variable = environment.find(kFileVariable);
  if (variable != environment.end()) return variable->second;
  std::error_code ignored;
  const std::string standard(kDefaultFile);
  return std::filesystem::exists(standard, ignored) ? standard : "";
}

// ---- config.toml

std::string TomlLiteral(const ConfigKey& key) {
  if (key.type == ConfigType::kInteger) return std::string(key.fallback);
  if (!key.IsList()) return "\"" + std::string(key.fallback) + "\"";
  const std::vector<std::string> items = Split(key.fallback, ',');
  return items.empty() ? "[]" : "[\"" + Join(items, "\", \"") + "\"]";
}

}  // namespace

int PrintExit(const ConfigExit& exit) {
  FILE* out = exit.to_stdout ? stdout : stderr;
  std::fprintf(out, "%s\n", exit.text.c_str());
  std::fflush(out);
  return exit.code;
}

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

const ConfigValues::Value& ConfigValues::Get(std::string_view dotted) const {
  const auto value = values_.find(dotted);
  assert(value != values_.end() && "not a key: see config_keys.cc");
  return value->second;
}

int64_t ConfigValues::Integer(std::string_view dotted) const {
  return Get(dotted).integer;
}
const std::string& ConfigValues::Text(std::string_view dotted) const {
  return Get(dotted).text;
}
const std::vector<std::string>& ConfigValues::List(std::string_view dotted) const {
  return Get(dotted).list;
}
const std::string& ConfigValues::Where(std::string_view dotted) const {
  return Get(dotted).where;
}

void ConfigValues::Set(const ConfigKey& key, Value value) {
  values_[key.Dotted()] = std::move(value);
}

ConfigExit CheckPassed() {
  return {.code = 0, .text = "ok", .to_stdout = true};
}

ConfigExit ConfigError(std::string_view where, std::string_view reason) {
  return {.code = 2, .text = std::string(where) + ": " + std::string(reason)};
}

Result<LoadedConfig, ConfigExit> LoadConfig(const ConfigProgram& program, int argc,
                                            const char* const* argv,
                                            const Environment& environment) {
  auto flags = ParseFlags(program, argc, argv);
  if (!flags) return Err(std::move(flags.error()));
  if (flags->count("help") != 0) {
    return Err(ConfigExit{.code = 0, .text = Help(program), .to_stdout = true});
  }
  if (flags->count("version") != 0) {
    const std::string version = std::string(program.name) + " " + std::string(ProjectVersion());
    return Err(ConfigExit{.code = 0, .text = version, .to_stdout = true});
  }
  if (flags->count("print-config") != 0) {
    std::string reference = ReferenceConfig();
    reference.pop_back();
    return Err(ConfigExit{.code = 0, .text = std::move(reference), .to_stdout = true});
  }

  LoadedConfig config{.file = ChooseFile(*flags, environment),
                      .check_only = flags->count("check-config") != 0};
  for (const ConfigSwitch& command : program.commands) {
    const std::string flag(command.flag);
    if (flags->count(flag) == 0) continue;
    config.commands[flag] = command.value_name.empty() ? "" : (*flags)[flag].as<std::string>();
  }
  SetDefaults(&config.values);
  if (!config.file.empty()) {
    if (auto set = SetFromFile(config.file, &config.values); !set) return Err(set.error());
  }
  if (auto set = SetFromEnvironment(environment, &config.values); !set) return Err(set.error());
  for (const ConfigKey* key : FlagKeys(program)) {
    const std::string flag(key->flag);
    if (flags->count(flag) == 0) continue;
    auto value = CheckWritten(*key, (*flags)[flag].as<std::string>());
    if (!value) return Err(ConfigError("--" + flag, value.error()));
    value->where = "--" + flag;
    config.values.Set(*key, std::move(*value));
  }
  return config;
}

std::string ReferenceConfig() {
  std::string text =
      "# SPDX-License-Identifier: MIT\n"
      "# The configuration of ChatChain: every key of both programs, at its default. Flags beat\n"
      "# environment variables (CHATCHAIN_<TABLE>_<KEY>, e.g. CHATCHAIN_NODE_LISTEN) beat this "
      "file.\n"
      "# A program reads the file that --config or CHATCHAIN_CONFIG names, otherwise ./config.toml "
      "if\n"
      "# it exists. Both check all of it: an unknown key, or a wrong value, stops the start.\n"
      "# This text comes from `chatchain-node --print-config`.\n";
  for (const ConfigTable& table : ConfigTables()) {
    text += "\n# " + std::string(table.help) + "\n[" + std::string(table.name) + "]\n";
    for (const ConfigKey& key : ConfigKeys()) {
      if (key.table != table.name) continue;
      const std::string flag = key.flag.empty() ? "" : " Flag: --" + std::string(key.flag) + ".";
      text += "\n" + Wrapped(std::string(key.help) + " (" + Allowed(key) + ")" + flag, "# ");
      text += std::string(key.name) + " = " + TomlLiteral(key) + "\n";
    }
  }
  return text;
}

}  // namespace chatchain
