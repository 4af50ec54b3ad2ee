// SPDX-License-Identifier: MIT
#include "client/terminal/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <cxxopts.hpp>
#include <map>

#include "common/protocol/hlc.h"
#include "common/protocol/limits.h"
#include "common/util/encoding.h"
#include "common/util/log.h"
#include "common/util/usage.h"
#include "common/util/version.h"

namespace chatchain::terminal {

namespace {

constexpr std::string_view kDefaultUrl = "http://127.0.0.1:8080";
constexpr int64_t kTimeoutMax_s = 30 * 24 * 3600;

enum Commands : unsigned { kSend = 1, kHistory = 2, kTail = 4, kNetwork = 8 };
constexpr unsigned kRead = kHistory | kTail;
constexpr unsigned kEvery = kSend | kRead | kNetwork;

struct CommandInfo {
  std::string_view name;
  Command command;
  Commands bit;
  std::string_view arguments;
  std::string_view help;
  std::string_view timeout;  // the default, as --help says it
  std::optional<int64_t> timeout_s;
};
constexpr std::array kCommands = {
    CommandInfo{"send", Command::kSend, kSend, " [TEXT...]",
                "Sends one message and prints its id. Without TEXT, or with -, the text is read "
                "from standard input; one line end at its end is left out.",
                "30", 30},
    CommandInfo{"history", Command::kHistory, kHistory, "", "Prints messages.", "10", 10},
    CommandInfo{"tail", Command::kTail, kTail, "",
                "Follows: prints each message as it comes, until it is interrupted. When the "
                "connection is lost it tries again, and misses nothing.",
                "for ever", std::nullopt},
    CommandInfo{"network", Command::kNetwork, kNetwork, "",
                "Prints the nodes behind the proxy and their state.", "5", 5},
};

struct Option {
  std::string_view name;
  std::string_view value_name;  // empty: a switch
  unsigned commands;
  std::string_view help;
  char letter = 0;
  bool twice = false;
};
constexpr std::array kOptions = {
    Option{"from", "NAME", kSend, "Who sends; not given, CHATCHAIN_FROM says it."},
    Option{"from", "NAME", kRead, "Only messages of this sender."},
    Option{"to", "NAME", kSend, "Who is to have it."},
    Option{"to", "NAME", kRead, "Only messages to this recipient."},
    Option{"room", "NAME", kSend, "The room that it goes to, in place of --to."},
    Option{"room", "NAME", kRead, "Only messages to this room."},
    Option{"participant", "NAME", kRead,
           "Only messages from or to this name; given twice, only between the two.", 0, true},
    Option{"since", "TIME", kRead,
           "Only messages accepted at TIME or later: RFC 3339, Unix seconds, 10m (s, m, h, d, w) "
           "ago, or local time, \"2026-11-21 08:15\". tail begins there."},
    Option{"until", "TIME", kRead, "Only messages accepted before TIME."},
    Option{"limit", "N", kHistory, "At most N messages, default 50, or all.", 'n'},
    Option{"order", "ORDER", kHistory,
           "latest (default): the last N, oldest first, N at most 1000; asc: from the oldest on; "
           "desc: from the newest back. With --limit all, asc is the default."},
    Option{"cursor", "TOKEN", kHistory,
           "Goes on where --show-cursor said, with the same filters and order."},
    Option{"show-cursor", "", kHistory,
           "Ends with a line that tells where to go on: next, for --cursor, or after, for tail "
           "--after."},
    Option{"last", "N", kTail, "Begins with the last N messages, at most 1000, default 0.", 'n'},
    Option{"after", "TOKEN", kTail,
           "Goes on after this position of the feed; begin: with the first message."},
    Option{"limit", "N", kTail, "Ends after N messages."},
    Option{"state", "FILE", kTail,
           "Keeps in FILE how far it came, and goes on from there when started again: what was "
           "printed is not printed again."},
    Option{"key", "KEY", kSend,
           "The idempotency key: sent again with the same key, it is the same message. Not given, "
           "a new one is made, and kept for all tries."},
    Option{"timestamp", "SECONDS", kSend, "The sender's own time of the message, Unix seconds."},
    Option{"acks", "N", kSend,
           "Waits until N nodes (or majority, or all) hold it; exit code 4 when they do not."},
    Option{"json", "", kEvery, "Prints JSON, one object a line."},
    Option{"url", "URL", kEvery,
           "The proxy, or a node; not given, CHATCHAIN_URL says it, or it is "
           "http://127.0.0.1:8080."},
    Option{"timeout", "SECONDS", kEvery, ""},  // the help is made, with the command's default
    Option{"help", "", kEvery, "Prints this, and exits.", 'h'},
};

constexpr std::string_view kExitHelp =
    "Exit codes: 0 done; 1 nobody answered in time, or something here failed; 2 wrong usage; 3 "
    "refused by the server; 4 done, but not as asked (send: on fewer nodes than --acks; network: "
    "no node is ready).";

std::string HelpOf(const Option& option, const CommandInfo& command) {
  if (option.name != "timeout") return std::string(option.help);
  const std::string tail = command.command == Command::kTail
                               ? "Gives up when nobody has answered for so long"
                               : "Tries for so long";
  return tail + ", default " + std::string(command.timeout) + ".";
}

std::string Spelling(const Option& option) {
  std::string text;
  if (option.letter != 0) text.append("-").append(1, option.letter).append(", ");
  text.append("--").append(option.name);
  if (!option.value_name.empty()) text.append(" ").append(option.value_name);
  return text;
}

std::string CommandHelp(const CommandInfo& command) {
  std::string text = "chatchain " + std::string(command.name) + " [OPTION...]" +
                     std::string(command.arguments) + "\n\n" + Wrapped(command.help, "") +
                     "\nOptions:\n";
  for (const Option& option : kOptions) {
    if ((option.commands & command.bit) == 0) continue;
    text += "  " + Spelling(option) + "\n" + Wrapped(HelpOf(option, command), "      ");
  }
  text += "\n" + Wrapped(kExitHelp, "");
  text.pop_back();
  return text;
}

std::string GeneralHelp() {
  std::string text =
      "chatchain: ChatChain for people and scripts.\n\n"
      "chatchain COMMAND [OPTION...]\n\nCommands:\n";
  for (const CommandInfo& command : kCommands) {
    text += "  " + std::string(command.name) + std::string(command.arguments) + "\n" +
            Wrapped(command.help, "      ");
  }
  text +=
      "\nOptions:\n"
      "  -h, --help\n      Prints this, and exits; after a command, its options.\n"
      "  --version\n      Prints name and version, and exits.\n\n" +
      Wrapped(kExitHelp, "");
  text.pop_back();
  return text;
}

ConfigExit Shown(std::string text) {
  return {.code = kExitOk, .text = std::move(text), .to_stdout = true};
}

ConfigExit Wrong(std::string text) {
  return {.text = "chatchain: " + std::move(text)};
}

ConfigExit WrongValue(std::string_view option, std::string_view must_be, std::string_view value) {
  return Wrong("--" + std::string(option) + ": must be " + std::string(must_be) + ", not " +
               Quoted(LogSafe(value)));
}

std::optional<int64_t> ParseWhole(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What was given, by the name of the option.
using Given = std::map<std::string, std::vector<std::string>, std::less<>>;

Result<Given, ConfigExit> ReadOptions(const CommandInfo& command,
                                      const std::vector<const char*>& arguments,
                                      std::vector<std::string>* words) {
  cxxopts::Options options("chatchain");
  std::vector<std::string> names;
  for (const Option& option : kOptions) {
    if ((option.commands & command.bit) == 0) continue;
    std::string spelling(option.name);
    if (option.letter != 0) spelling.insert(0, {option.letter, ','});
    if (option.value_name.empty()) {
      options.add_options()(spelling, "");
    } else {
      options.add_options()(spelling, "", cxxopts::value<std::string>());
    }
    names.push_back("--" + std::string(option.name));
  }
  // Unknown options are told apart here, with a suggestion.
  options.allow_unrecognised_options();
  Given given;
  try {
    const auto parsed = options.parse(static_cast<int>(arguments.size()), arguments.data());
    for (const cxxopts::KeyValue& argument : parsed.arguments()) {
      given[argument.key()].push_back(argument.value());
    }
    for (const std::string& word : parsed.unmatched()) {
      if (word.size() < 2 || word.front() != '-') {
        words->push_back(word);
        continue;
      }
      const std::string wrong = word.substr(0, word.find('='));
      const std::string hint = DidYouMean(wrong, names);
      return Err(Wrong("unknown option " + Quoted(LogSafe(wrong)) + hint +
                       (hint.empty() ? "; see chatchain " : " See chatchain ") +
                       std::string(command.name) +
                       " --help; text that begins with a dash goes after --"));
    }
  } catch (const cxxopts::exceptions::exception& error) {
    return Err(
        Wrong(LogSafe(error.what()) + "; see chatchain " + std::string(command.name) + " --help"));
  }
  for (const Option& option : kOptions) {
    const auto values = given.find(option.name);
    if (values == given.end() || (option.commands & command.bit) == 0) continue;
    const size_t most = option.twice ? 2 : 1;
    if (values->second.size() > most) {
      return Err(Wrong("--" + std::string(option.name) + ": given more than " +
                       (most == 1 ? "once" : "twice")));
    }
  }
  return given;
}

Result<HostPort, ConfigExit> ParseUrl(std::string_view from, std::string_view url) {
  const auto wrong = [&](std::string_view why) {
    return Err(Wrong(std::string(from) + ": " + Quoted(LogSafe(url)) + " " + std::string(why)));
  };
  if (url.starts_with("https://")) {
    return wrong("asks for TLS, which this program does not speak: use a tunnel, or http://");
  }
  std::string_view rest = url;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.find("://") != std::string_view::npos) {
    return wrong("is no address: it should look like http://127.0.0.1:8080");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  std::string text(rest);
  // Of "[::1]" the last colon is part of the host.
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string_view::npos && rest.find(']', colon) == rest.npos;
  if (!has_port) text += ":80";
  auto address = ParseHostPort(text);
  if (!address) return wrong(address.error() + "; it should look like http://127.0.0.1:8080");
  if (address->port == 0) return wrong("has port 0, where nobody listens");
  return std::move(*address);
}

// Takes what was given into a CommandLine, option by option.
class Reader {
 public:
  Reader(const Given& given, int64_t now_ms) : given_(given), now_ms_(now_ms) {}

  bool Has(std::string_view name) const { return given_.find(name) != given_.end(); }
  const std::string* Text(std::string_view name) const {
    const auto values = given_.find(name);
    return values == given_.end() ? nullptr : &values->second.front();
  }

  // A sender, recipient, room or participant.
  void Name(std::string_view name, std::string* value) {
    if (const std::string* text = Text(name)) CheckName("--" + std::string(name), *text, value);
  }
  void Names(std::string_view name, std::vector<std::string>* values) {
    const auto given = given_.find(name);
    if (given == given_.end()) return;
    for (const std::string& text : given->second) {
      CheckName("--" + std::string(name), text, &values->emplace_back());
    }
  }
  void Time(std::string_view name, std::optional<int64_t>* ms) {
    const std::string* text = Text(name);
    if (text == nullptr) return;
    *ms = ParseWhen(*text, now_ms_);
    if (!*ms) {
      Fail(WrongValue(
          name, "a time such as 2026-11-21T08:15:30Z, 1795248930, 10m or \"2026-11-21 08:15\"",
          *text));
    }
  }
  std::optional<int64_t> Whole(std::string_view name, int64_t min, int64_t max) {
    const std::string* text = Text(name);
    if (text == nullptr) return std::nullopt;
    const auto value = ParseWhole(*text);
    if (!value || *value < min || *value > max) {
      Fail(WrongValue(name,
                      "a whole number from " + std::to_string(min) + " to " + std::to_string(max),
                      *text));
      return std::nullopt;
    }
    return value;
  }

  // `where`: as the error names it.
  void CheckName(std::string_view where, const std::string& text, std::string* value) {
    const std::string_view rule = IsUtf8(text) ? NameRule(text) : "must be valid UTF-8";
    if (!rule.empty()) Fail(Wrong(std::string(where) + ": " + std::string(rule)));
    *value = text;
  }

  void Fail(ConfigExit exit) {
    if (!failure_) failure_ = std::move(exit);
  }
  std::optional<ConfigExit>& failure() { return failure_; }

 private:
  const Given& given_;
  const int64_t now_ms_;
  std::optional<ConfigExit> failure_;
};

void ReadSend(Reader& reader, const Environment& environment, const std::vector<std::string>& words,
              CommandLine* line) {
  Message& message = line->message;
  reader.Name("from", &message.sender);
  reader.Name("to", &message.recipient);
  reader.Name("room", &message.room);
  const auto from = environment.find("CHATCHAIN_FROM");
  if (!reader.Has("from") && from != environment.end()) {
    reader.CheckName("CHATCHAIN_FROM", from->second, &message.sender);
  }
  if (message.sender.empty()) reader.Fail(Wrong("who sends? Give --from NAME, or CHATCHAIN_FROM"));
  if (message.recipient.empty() == message.room.empty()) {
    reader.Fail(Wrong("give either --to NAME or --room NAME"));
  }
  if (const std::string* key = reader.Text("key")) {
    if (const auto rule = KeyRule(*key); !rule.empty()) {
      reader.Fail(Wrong("--key: " + std::string(rule)));
    }
    message.key = *key;
  }
  message.timestamp = reader.Whole("timestamp", -limits::kTimestampMax_s, limits::kTimestampMax_s);
  if (const std::string* acks = reader.Text("acks")) {
    const auto count = ParseWhole(*acks);
    if (*acks != "majority" && *acks != "all" && (!count || *count < 1)) {
      reader.Fail(WrongValue("acks", "majority, all or a number of nodes", *acks));
    }
    line->acks = *acks;
  }
  line->text_from_stdin = words.empty() || (words.size() == 1 && words.front() == "-");
  if (!line->text_from_stdin) message.text = Join(words, " ");
}

void ReadFilter(Reader& reader, CommandLine* line) {
  reader.Name("from", &line->filter.sender);
  reader.Name("to", &line->filter.recipient);
  reader.Name("room", &line->filter.room);
  reader.Names("participant", &line->filter.participants);
  reader.Time("since", &line->filter.since_ms);
  reader.Time("until", &line->filter.until_ms);
}

void ReadHistory(Reader& reader, CommandLine* line) {
  constexpr int64_t kMost = int64_t{1} << 53;
  constexpr int64_t kDefault = 50;
  ReadFilter(reader, line);
  const std::string* limit = reader.Text("limit");
  const bool all = limit != nullptr && *limit == "all";
  if (!all) {
    line->limit = static_cast<uint64_t>(reader.Whole("limit", 1, kMost).value_or(kDefault));
  }
  if (const std::string* cursor = reader.Text("cursor")) line->cursor = *cursor;
  line->show_cursor = reader.Has("show-cursor");
  const std::string* order = reader.Text("order");
  if (order == nullptr) {
    line->order = all || !line->cursor.empty() ? Order::kAscending : Order::kLatest;
  } else if (*order == "asc") {
    line->order = Order::kAscending;
  } else if (*order == "desc") {
    line->order = Order::kDescending;
  } else if (*order != "latest") {
    reader.Fail(WrongValue("order", "latest, asc or desc", *order));
  }
  if (line->order != Order::kLatest) return;
  if (all || *line->limit > limits::kPageMaxMessages) {
    reader.Fail(
        Wrong("--order latest holds the messages in memory, at most 1000: for more give "
              "--order asc or --order desc"));
  }
  if (!line->cursor.empty() || line->show_cursor) {
    reader.Fail(Wrong("cursors belong to --order asc or --order desc"));
  }
}

void ReadTail(Reader& reader, CommandLine* line) {
  ReadFilter(reader, line);
  if (const auto limit = reader.Whole("limit", 1, int64_t{1} << 53)) {
    line->limit = static_cast<uint64_t>(*limit);
  }
  line->last = static_cast<uint64_t>(
      reader.Whole("last", 0, static_cast<int64_t>(limits::kPageMaxMessages)).value_or(0));
  if (const std::string* after = reader.Text("after")) line->after = *after;
  if (const std::string* state = reader.Text("state")) {
    line->state_file = *state;
    if (state->empty()) reader.Fail(Wrong("--state: names no file"));
  }
  if (line->last > 0 && (line->after || line->filter.since_ms)) {
    reader.Fail(Wrong("--last, --after and --since each say where to begin: give one"));
  }
  if (line->limit && *line->limit < line->last) {
    reader.Fail(
        Wrong("--limit is less than --last: some of these would be neither printed nor to come"));
  }
  // Whoever names a time means all since then.
  if (line->filter.since_ms && !line->after) line->after = "begin";
}

}  // namespace

std::optional<int64_t> ParseWhen(std::string_view text, int64_t now_ms) {
  if (const auto ms = ParseTime(text)) return ms;
  constexpr std::array<std::pair<char, int64_t>, 5> kUnits = {
      {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 24 * 3600}, {'w', 7 * 24 * 3600}}};
  for (const auto& [unit, seconds] : kUnits) {
    if (text.empty() || text.back() != unit) continue;
    const auto count = ParseWhole(text.substr(0, text.size() - 1));
    if (!count || *count < 0 || *count > 1'000'000'000) return std::nullopt;
    return std::max<int64_t>(0, now_ms - *count * seconds * 1000);
  }
  for (const char* format : {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
    std::tm local{};
    const std::string whole(text);
    const char* end = strptime(whole.c_str(), format, &local);
    if (end == nullptr || *end != '\0') continue;
    local.tm_isdst = -1;
    const std::time_t seconds = std::mktime(&local);
    if (seconds < 0) return std::nullopt;
    return static_cast<int64_t>(seconds) * 1000;
  }
  return std::nullopt;
}

Result<CommandLine, ConfigExit> ParseCommandLine(int argc, const char* const* argv,
                                                 const Environment& environment, int64_t now_ms) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h" || first == "help") return Err(Shown(GeneralHelp()));
  if (first == "--version") {
    return Err(Shown("chatchain " + std::string(ProjectVersion())));
  }
  const auto command = std::find_if(kCommands.begin(), kCommands.end(),
                                    [&](const CommandInfo& info) { return info.name == first; });
  if (command == kCommands.end()) {
    std::vector<std::string> names;
    names.reserve(kCommands.size());
    for (const CommandInfo& info : kCommands) names.emplace_back(info.name);
    return Err(Wrong(
        (first.empty() ? "no command"
                       : "unknown command " + Quoted(LogSafe(first)) + DidYouMean(first, names)) +
        "; the first word is one of " + Join(names, ", ") + "; see chatchain --help"));
  }

  // What follows "--" is text, whatever it looks like.
  std::vector<const char*> arguments = {argv[0]};
  int next = 2;
  while (next < argc && std::strcmp(argv[next], "--") != 0) arguments.push_back(argv[next++]);
  std::vector<std::string> words;
  const auto given = ReadOptions(*command, arguments, &words);
  if (!given) return Err(given.error());
  if (given->count("help") > 0) return Err(Shown(CommandHelp(*command)));
  for (++next; next < argc; ++next) words.emplace_back(argv[next]);
  if (command->command != Command::kSend && !words.empty()) {
    return Err(Wrong("unexpected argument " + Quoted(LogSafe(words.front())) + "; see chatchain " +
                     std::string(command->name) + " --help"));
  }

  CommandLine line;
  line.command = command->command;
  Reader reader(*given, now_ms);
  line.json = reader.Has("json");
  line.timeout_s =
      reader.Has("timeout") ? reader.Whole("timeout", 1, kTimeoutMax_s) : command->timeout_s;
  switch (line.command) {
    case Command::kSend: ReadSend(reader, environment, words, &line); break;
    case Command::kHistory: ReadHistory(reader, &line); break;
    case Command::kTail: ReadTail(reader, &line); break;
    case Command::kNetwork: break;
  }
  const auto url = environment.find("CHATCHAIN_URL");
  const bool from_environment = !reader.Has("url") && url != environment.end();
  auto server = from_environment
                    ? ParseUrl("CHATCHAIN_URL", url->second)
                    : ParseUrl("--url", reader.Has("url") ? *reader.Text("url") : kDefaultUrl);
  if (!server) return Err(server.error());
  line.server = std::move(*server);
  if (reader.failure()) return Err(std::move(*reader.failure()));
  return line;
}

}  // namespace chatchain::terminal
