// SPDX-License-Identifier: MIT
#include <csignal>
#include <cstdio>

#include "common/util/log.h"
#include "node/app.h"
#include "node/commands.h"
#include "node/config.h"

namespace {

// Blocked before the first thread is made, so that every thread inherits it and only sigwait() sees
// them.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace chatchain;
  const auto config = LoadNodeConfig(argc, argv, ProcessEnvironment());
  if (!config) return PrintExit(config.error());
  SetUpLog("chatchain-node", config->log_level);
  const sigset_t signals = BlockStopSignals();
  if (config->command.kind != NodeCommand::Kind::kServe) return RunCommand(*config);

  auto app = App::Start(*config);
  if (!app) {
    std::fprintf(stderr, "chatchain-node: %s\n", app.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", (*app)->address().c_str());
  if (!IsLoopback(config->listen)) {
    spdlog::warn(
        "{} is not a loopback address and there is no authentication yet: whoever reaches it "
        "can read and write everything",
        (*app)->address());
  }
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping");
  if (!(*app)->Drain()) spdlog::warn("some requests were cut off");
  return 0;
}
