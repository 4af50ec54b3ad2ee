// SPDX-License-Identifier: MIT
#include "node/commands.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/http/client.h"
#include "common/protocol/sync.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "node/store/audit.h"
#include "node/store/backup.h"
#include "node/store/data_dir.h"
#include "node/store/schema.h"
#include "node/sync/compare.h"

namespace chatchain {

namespace {

constexpr int kSound = 0;
constexpr int kDamaged = 1;
constexpr int kNotChecked = 2;
constexpr auto kPeerTimeout = std::chrono::seconds(10);
// Says to a peer of a version that does not know what it is asked: no node.
constexpr const char* kAskingNode = "verify";

int Fail(int code, const std::string& reason) {
  std::fprintf(stderr, "chatchain-node: %s\n", reason.c_str());
  return code;
}

bool StopAsked() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

// One line of a terminal that is written again and again; nothing where there is no terminal.
class ProgressBar {
 public:
  ~ProgressBar() { Clear(); }

  void Show(std::string_view step, double part) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    constexpr int kWidth = 40;
    const int full = std::clamp(static_cast<int>(part * kWidth), 0, kWidth);
    const std::string bar(static_cast<size_t>(full), '#');
    std::fprintf(stderr, "\r[%-*s] %3d %% %-10.*s", kWidth, bar.c_str(),
                 static_cast<int>(part * 100), static_cast<int>(step.size()), step.data());
    std::fflush(stderr);
    shown_ = true;
  }
  void Clear() {
    if (std::exchange(shown_, false)) std::fprintf(stderr, "\r%*s\r", 70, "");
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  SteadyTime next_{};
};

std::string Counted(uint64_t n, const char* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

// "12 messages, 14 records, 3 epochs (1 forked), digest 61c0..., in 0.1 s"
std::string Summary(const AuditReport& report, SteadyTime begun) {
  const auto forked =
      static_cast<uint64_t>(std::count_if(report.epochs.begin(), report.epochs.end(),
                                          [](const auto& epoch) { return epoch.second.frozen; }));
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.1f",
                std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  return Counted(report.messages, "message") + ", " + Counted(report.records, "record") + ", " +
         Counted(report.epochs.size(), "epoch") +
         (forked > 0 ? " (" + std::to_string(forked) + " forked)" : "") + ", digest " +
         VectorDigest(report.heads).Hex() + ", in " + seconds + " s";
}

// A running node, asked by POST /sync.
class HttpPeer final : public ChainPeer {
 public:
  HttpPeer(const std::string& address, std::string cluster)
      : client_(address), cluster_(std::move(cluster)) {}

  Result<HeadVector, std::string> Heads() override {
    auto answer = Ask({});
    if (!answer) return Err(std::move(answer.error()));
    return std::move(answer->heads);
  }

  Result<std::vector<std::optional<Hash>>, std::string> ChainsAt(
      const std::vector<LogPosition>& positions) override {
    auto answer = Ask(positions);
    if (!answer) return Err(std::move(answer.error()));
    std::map<std::pair<EpochKey, Seq>, Hash> held;
    for (const auto& [position, chain] : *answer->chains) {
      held.emplace(std::pair(position.epoch, position.seq), chain);
    }
    std::vector<std::optional<Hash>> chains;
    for (const LogPosition& position : positions) {
      const auto it = held.find({position.epoch, position.seq});
      chains.push_back(it == held.end() ? std::nullopt : std::optional(it->second));
    }
    return chains;
  }

 private:
  // An answer without error has `chains`.
  Result<SyncAnswer, std::string> Ask(const std::vector<LogPosition>& positions) {
    SyncRequest request;
    request.cluster = cluster_;
    request.node = kAskingNode;
    request.limit = 1;
    request.max_bytes = 1;
    request.chains = positions;
    http::ClientRequest call;
    call.method = "POST";
    call.target = "/sync";
    call.content_type = "application/json";
    call.body = EncodeSyncRequest(request);
    const auto response = client_.Send(call, std::chrono::steady_clock::now() + kPeerTimeout);
    if (!response) return Err(response.error().detail);
    if (response->status != 200) {
      return Err(client_.address() + " answered " + std::to_string(response->status) + ": " +
                 LogSafe(response->body));
    }
    auto answer = DecodeSyncAnswer(response->body);
    if (!answer) return Err(client_.address() + ": " + LogSafe(answer.error()));
    if (!answer->chains) {
      return Err(client_.address() + " is of a version that cannot be compared with");
    }
    return answer;
  }

  http::Client client_;
  const std::string cluster_;
};

int CompareWithPeer(const std::string& address, Database& db, const AuditReport& report) {
  HttpPeer peer(address, report.cluster);
  Statement select(db, "SELECT chain FROM records WHERE epoch=? AND seq=?");
  const auto compared =
      CompareWith(peer, report.heads, [&](const LogPosition& position) -> std::optional<Hash> {
        const ScopedReset reset(select);
        select.Bind(1, report.epochs.at(position.epoch).ref);
        select.Bind(2, static_cast<int64_t>(position.seq));
        Hash chain;
        if (!select.Step() || !Hash::FromBytes(select.Blob(0), &chain)) return std::nullopt;
        return chain;
      });
  if (!compared) return Fail(kNotChecked, "comparing failed: " + compared.error());
  for (const LogPosition& position : compared->different) {
    std::printf("different: %s at %llu is the first record that %s has not the same\n",
                ToText(position.epoch).c_str(), static_cast<unsigned long long>(position.seq),
                address.c_str());
  }
  std::printf("%s %s: %s differ, %llu records are here only, %llu there only, in %s\n",
              compared->different.empty() ? "agrees with" : "differs from", address.c_str(),
              Counted(compared->different.size(), "epoch").c_str(),
              static_cast<unsigned long long>(compared->records_here),
              static_cast<unsigned long long>(compared->records_there),
              Counted(compared->requests, "request").c_str());
  return compared->different.empty() ? kSound : kDamaged;
}

int Verify(const NodeConfig& config, const AuditOptions& options, ProgressBar& bar) {
  const SteadyTime begun = std::chrono::steady_clock::now();
  const std::string path = DatabasePath(config.data_dir);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return Fail(kNotChecked, "there is no database " + path);
  // Held to the end, so that no node starts on what is taken to stand still.
  const auto alone = DirectoryLock::TryShare(config.data_dir);
  std::unique_ptr<Database> db;
  try {
    db = alone ? OpenAlone(path) : OpenBesideWriters(path);
    if (auto problem = FormatProblem(*db, path)) return Fail(kNotChecked, *problem);
  } catch (const SqliteError& error) {
    if (!error.corrupt()) return Fail(kNotChecked, "cannot read " + path + ": " + error.what());
    std::printf("damaged: the file: %s\n", error.what());
    return kDamaged;
  }
  const auto report = Audit(*db, options);
  bar.Clear();
  if (!report) return Fail(kNotChecked, report.error());
  for (const std::string& line : report->named) std::printf("damaged: %s\n", line.c_str());
  if (report->damaged > report->named.size()) {
    std::printf("damaged: and %llu more\n",
                static_cast<unsigned long long>(report->damaged - report->named.size()));
  }
  if (report->damaged > 0) {
    std::printf("DAMAGED in %s: ", Counted(report->damaged, "place").c_str());
  } else {
    std::printf("sound: ");
  }
  std::printf("%s\n", Summary(*report, begun).c_str());
  int code = report->damaged > 0 ? kDamaged : kSound;
  if (!config.command.against.empty()) {
    try {
      code = std::max(code, CompareWithPeer(config.command.against, *db, *report));
    } catch (const SqliteError& error) {
      return Fail(kDamaged, std::string("comparing failed: ") + error.what());
    }
  }
  return code;
}

int BackUpOrRestore(const NodeConfig& config, const AuditOptions& options, ProgressBar& bar) {
  const SteadyTime begun = std::chrono::steady_clock::now();
  const std::string& file = config.command.file;
  const bool restores = config.command.kind == NodeCommand::Kind::kRestore;
  const auto report =
      restores ? Restore(file, config.data_dir, options) : BackUp(config.data_dir, file, options);
  bar.Clear();
  if (!report) return Fail(1, report.error());
  std::printf("%s %s: %s\n", restores ? "restored" : "backed up to", file.c_str(),
              Summary(*report, begun).c_str());
  return 0;
}

}  // namespace

int RunCommand(const NodeConfig& config) {
  assert(config.command.kind != NodeCommand::Kind::kServe);
  ProgressBar bar;
  AuditOptions options;
  options.stop = StopAsked;
  options.progress = [&](std::string_view step, double part) { bar.Show(step, part); };
  if (config.command.kind == NodeCommand::Kind::kVerify) return Verify(config, options, bar);
  return BackUpOrRestore(config, options, bar);
}

}  // namespace chatchain
