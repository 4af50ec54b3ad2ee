// SPDX-License-Identifier: MIT
#include "client/terminal/commands.h"

#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "client/terminal/history.h"
#include "client/terminal/messages.h"
#include "client/terminal/output.h"
#include "client/terminal/tail.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/error_text.h"
#include "common/util/log.h"

namespace chatchain::terminal {

namespace {

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

Failure Failed(std::string text) {
  return {kExitFailed, std::move(text)};
}

Server::Tries TriesOf(const CommandLine& line) {
  Server::Tries tries;
  if (line.timeout_s) {
    tries.until = Now() + std::chrono::seconds(*line.timeout_s);
    tries.notice = "trying again for " + std::to_string(*line.timeout_s) + " s";
  }
  return tries;
}

Result<void, Failure> Put(std::string_view text) {
  if (auto written = WriteOut(text); !written) return Err(Failed(written.error()));
  return {};
}

// ---- send

// One byte more than a text may have is enough to refuse it.
Result<std::string, Failure> ReadText() {
  if (isatty(STDIN_FILENO) == 1) Complain("reading the text, up to Ctrl-D");
  std::string text(limits::kTextMaxBytes + 2, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(STDIN_FILENO, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return Err(Failed("cannot read standard input: " + ErrorText(errno)));
    }
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

Result<int, Failure> Send(CommandLine line, Server& server) {
  if (line.text_from_stdin) {
    auto text = ReadText();
    if (!text) return Err(text.error());
    line.message.text = std::move(*text);
  }
  if (line.message.key.empty()) {
    SystemRandom random;
    line.message.key = MakeUuidV7(SystemClock().WallMs(), random);
  }
  if (const auto valid = Validate(line.message); !valid) {
    const FieldError& error = valid.error().front();
    return Err(Failure{kExitUsage, error.field + ": " + error.reason});
  }
  // What cannot be told should not be done.
  if (auto writable = Put(""); !writable) return Err(writable.error());

  http::ClientRequest request{.method = "POST", .target = "/messages"};
  request.content_type = "application/json";
  request.headers.Set("Idempotency-Key", line.message.key);
  if (!line.acks.empty()) request.headers.Set("ChatChain-Acks", line.acks);
  request.body = "{";
  AppendMessageMembers(&request.body, line.message);
  request.body += "}";
  Server::Tries tries = TriesOf(line);
  tries.notice += " with the key " + line.message.key;
  const auto answer = server.Ask(request, tries);
  if (!answer) {
    Failure failure = answer.error();
    if (failure.code == kExitFailed) {
      failure.text += ". It may have been stored: send it again with --key \"" + line.message.key +
                      "\" to be sure; that never doubles it";
    }
    return Err(std::move(failure));
  }
  const auto message = ParseMessage(answer->body);
  if (!message) return Err(Failed(server.url() + " gave what is no message; is it ChatChain?"));
  const bool few = answer->status == 202;
  auto told = Put((line.json ? message->json : message->id.Text()) + "\n");
  if (!told) {
    return Err(Failed(told.error().text + "; the message is stored as " + message->id.Text()));
  }
  if (!few) return kExitOk;
  const auto json = ParseJsonObject(answer->body);
  const auto copies = json ? json->value("copies", Json()) : Json();
  Complain("stored, but in time only " + copies.dump() +
           " of the nodes asked for hold it; it goes on "
           "being copied");
  return kExitDegraded;
}

// ---- history

Result<int, Failure> History(const CommandLine& line, Server& server, Style style) {
  MessageLines lines(line.json, style);
  const auto tries = [&] { return TriesOf(line); };
  const TakePage print = [&](const std::vector<ReadMessage>& page) -> Result<void, Failure> {
    std::string text;
    for (const ReadMessage& message : page) lines.Expect(message);
    for (const ReadMessage& message : page) text += lines.Line(message);
    return Put(text);
  };
  if (line.order == Order::kLatest) {
    auto latest = LatestMessages(server, line.filter, *line.limit, tries);
    if (!latest) return Err(latest.error());
    if (auto printed = print(std::move(*latest)); !printed) return Err(printed.error());
    return kExitOk;
  }
  const auto end = WalkHistory(server,
                               {.filter = line.filter,
                                .descending = line.order == Order::kDescending,
                                .limit = line.limit,
                                .cursor = line.cursor},
                               tries, print);
  if (!end) return Err(end.error());
  if (!line.show_cursor) return kExitOk;
  const std::string name = end->next.empty() ? "after" : "next";
  const std::string& token = end->next.empty() ? end->after : end->next;
  auto put = Put(line.json ? "{\"" + name + "\":\"" + token + "\"}\n"
                           : "-- " + name + ": " + token + "\n");
  if (!put) return Err(put.error());
  return kExitOk;
}

// ---- network

// A value of /network in a table; "-" where there is none.
std::string Cell(const Json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || member->is_null()) return "-";
  return Printable(member->is_string() ? member->get<std::string>() : member->dump());
}

Result<int, Failure> Network(const CommandLine& line, Server& server, Style style) {
  http::ClientRequest request;
  request.target = "/network";
  auto answer = server.Ask(request, TriesOf(line));
  if (!answer) {
    Failure failure = answer.error();
    if (failure.code == kExitRefused) failure.text += "; only the proxy knows the network";
    return Err(std::move(failure));
  }
  const auto network = ParseJsonObject(answer->body);
  const auto nodes = network ? network->value("nodes", Json()) : Json();
  const auto ready = network ? network->value("ready", Json()) : Json();
  if (!nodes.is_array() || !ready.is_number_integer()) {
    return Err(Failed(server.url() + " gave what is no network; is it ChatChain's proxy?"));
  }
  const int code = ready > 0 ? kExitOk : kExitDegraded;
  if (line.json) {
    if (auto put = Put(*JsonLine(answer->body) + "\n"); !put) return Err(put.error());
    return code;
  }
  std::vector<std::vector<std::string>> rows = {
      {"NODE", "ADDRESS", "STATE", "BREAKER", "P50 MS", "P99 MS", "MESSAGES", "LAG", "LAST ERROR"}};
  for (const Json& node : nodes) {
    if (!node.is_object()) continue;
    const Json latency = node.value("latency_ms", Json::object());
    rows.push_back({Cell(node, "id"), Cell(node, "address"), Cell(node, "state"),
                    Cell(node, "breaker"), latency.is_object() ? Cell(latency, "p50") : "-",
                    latency.is_object() ? Cell(latency, "p99") : "-", Cell(node, "messages"),
                    Cell(node, "lag"), Cell(node, "last_error")});
  }
  std::string text = Table(rows, style);
  text += "\n" + ready.dump() + " of " + std::to_string(nodes.size()) + " nodes ready, " +
          (network->value("converged", Json()) == true ? "converged" : "not converged") + "\n";
  if (auto put = Put(text); !put) return Err(put.error());
  return code;
}

}  // namespace

Result<int, Failure> RunCommand(const CommandLine& line, Style style) {
  Server server(line.server);
  switch (line.command) {
    case Command::kSend: return Send(line, server);
    case Command::kHistory: return History(line, server, style);
    case Command::kTail: return Tail(line, server, style).Run();
    case Command::kNetwork: return Network(line, server, style);
  }
  return kExitOk;
}

}  // namespace chatchain::terminal
