// SPDX-License-Identifier: MIT
// chatchain-client: the proxy. Exit codes: 0 after SIGTERM or SIGINT, 1 cannot start, 2
// configuration. SIGHUP re-reads the configuration.
#include <pthread.h>

#include <csignal>
#include <cstdio>

#include "client/app.h"
#include "client/config.h"
#include "common/util/log.h"
#include "common/util/version.h"

namespace {

// A bad configuration is refused as a whole, and the running one stays.
void Reload(chatchain::ClientApp& app, int argc, char** argv) {
  using namespace chatchain;
  const auto config = LoadClientConfig(argc, argv, ProcessEnvironment());
  const auto reloaded = config ? app.Reload(*config) : Err(config.error().text);
  if (!reloaded) {
    spdlog::error("SIGHUP: the configuration stays as it was: {}", LogSafe(reloaded.error(), 1000));
    return;
  }
  spdlog::info("SIGHUP: {} nodes, reads {}, writes {}", config->nodes.size(),
               StrategyName(config->read_strategy), StrategyName(config->write_strategy));
  if (!reloaded->empty()) {
    spdlog::warn("SIGHUP: only a restart changes {}", *reloaded);
  }
}

// Of the 10 s that the contract gives, some are left for ending what was cut.
constexpr int kDrainTimeout_ms = 8'000;

}  // namespace

int main(int argc, char** argv) {
  using namespace chatchain;
  auto config = LoadClientConfig(argc, argv, ProcessEnvironment());
  if (!config) return PrintExit(config.error());
  SetUpLog("chatchain-client", config->log_level);

  // Blocked before any thread starts, so that every thread inherits it and only sigwait() sees
  // them.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  if (!IsLoopback(config->listen)) {
    spdlog::warn(
        "listening on {}: whoever reaches this address can read and send everything; there "
        "is no authentication",
        config->listen.ToString());
  }
  ClientApp app(*config);
  if (const auto started = app.Start(); !started) {
    std::fprintf(stderr, "chatchain-client: %s\n", started.error().c_str());
    return 1;
  }
  std::fprintf(stderr, "listening on %s\n", app.address().c_str());
  spdlog::info("version {}, {} nodes, reads {}, writes {}", ProjectVersion(), config->nodes.size(),
               StrategyName(config->read_strategy), StrategyName(config->write_strategy));

  int signal = 0;
  while (sigwait(&stop, &signal) == 0 && signal == SIGHUP) Reload(app, argc, argv);
  spdlog::info("{}: finishing what is in flight", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  if (!app.Drain(kDrainTimeout_ms)) spdlog::warn("some requests were cut off");
  return 0;
}
