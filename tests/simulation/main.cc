// SPDX-License-Identifier: MIT
// chatchain-simulate: runs the simulator for one seed or many. Standard output depends on the
// options and the commit alone; timings go to standard error.
#include <chrono>
#include <cstdio>
#include <cxxopts.hpp>
#include <iostream>

#include "common/util/encoding.h"
#include "tests/simulation/simulator.h"

namespace {

using namespace chatchain;
using namespace chatchain::simulation;

constexpr int kExitViolation = 1;
constexpr int kExitUsage = 2;

// The command that does the same again.
std::string Command(const SimOptions& options, const std::vector<std::string>& rates) {
  std::string command = "chatchain-simulate --seed " + std::to_string(options.seed) + " --steps " +
                        std::to_string(options.steps) + " --mode " +
                        (options.mode == Mode::kSafety ? "safety" : "liveness");
  if (options.nodes > 0) command += " --nodes " + std::to_string(options.nodes);
  if (options.restarts > 0) command += " --restarts " + std::to_string(options.restarts);
  for (const std::string& rate : rates) command += " --rate " + rate;
  return command;
}

// The smallest number of steps after which the same checker still objects.
SimOptions Shrink(SimOptions options, const std::string& checker) {
  uint64_t passes = 0;
  uint64_t fails = options.steps;
  while (fails - passes > 1) {
    options.steps = passes + (fails - passes) / 2;
    const SimResult result = Simulate(options);
    const bool same = !result.violations.empty() && result.violations.front().starts_with(checker);
    (same ? fails : passes) = options.steps;
  }
  options.steps = fails;
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  SimOptions options;
  uint64_t count = 1;
  bool shrink = false;
  bool counts = false;
  std::vector<std::string> until;
  std::vector<std::string> rates;
  cxxopts::Options parser("chatchain-simulate",
                          "Simulates a cluster under faults; the same seed does the same again.");
  parser.add_options()("seed", "of the first run", cxxopts::value<uint64_t>()->default_value("1"))(
      "count", "runs, with ascending seeds", cxxopts::value<uint64_t>()->default_value("1"))(
      "steps", "events until faults stop", cxxopts::value<uint64_t>()->default_value("2000"))(
      "nodes", "default 0: 3 to 5", cxxopts::value<uint64_t>()->default_value("0"))(
      "restarts", "of nodes in turn, before the first fault",
      cxxopts::value<uint64_t>()->default_value("0"))(
      "mode", "safety: faults until all heals; liveness: only some nodes live on",
      cxxopts::value<std::string>()->default_value("safety"))(
      "rate", "NAME=N per thousand; may be repeated", cxxopts::value<std::vector<std::string>>())(
      "shrink", "a run that fails is shortened as far as it still fails")(
      "until", "CHECKER,CHECKER...: stop when each of these has objected",
      cxxopts::value<std::vector<std::string>>())("trace", "print every event")(
      "counts", "print how often what happened")("rates", "print the rates and their defaults")(
      "help", "this text");
  try {
    const auto parsed = parser.parse(argc, argv);
    if (parsed.count("help") > 0) {
      std::cout << parser.help();
      return 0;
    }
    if (parsed.count("rates") > 0) {
      for (const auto& [name, rate] : RatesByName(&options.rates)) {
        std::cout << name << "=" << *rate << "\n";
      }
      return 0;
    }
    if (!parsed.unmatched().empty()) throw std::runtime_error("unknown argument");
    options.seed = parsed["seed"].as<uint64_t>();
    options.steps = parsed["steps"].as<uint64_t>();
    options.nodes = parsed["nodes"].as<uint64_t>();
    if (options.nodes > kMaxNodes) throw std::runtime_error("--nodes: too many");
    options.restarts = parsed["restarts"].as<uint64_t>();
    options.trace = parsed.count("trace") > 0;
    count = parsed["count"].as<uint64_t>();
    shrink = parsed.count("shrink") > 0;
    counts = parsed.count("counts") > 0;
    if (parsed.count("until") > 0) until = parsed["until"].as<std::vector<std::string>>();
    const std::string mode = parsed["mode"].as<std::string>();
    if (mode != "safety" && mode != "liveness") throw std::runtime_error("--mode " + mode);
    options.mode = mode == "safety" ? Mode::kSafety : Mode::kLiveness;
    if (parsed.count("rate") > 0) rates = parsed["rate"].as<std::vector<std::string>>();
    for (const std::string& text : rates) {
      const size_t equals = text.find('=');
      bool known = false;
      for (const auto& [name, rate] : RatesByName(&options.rates)) {
        if (equals == std::string::npos || text.substr(0, equals) != name) continue;
        *rate = std::stoull(text.substr(equals + 1));
        known = true;
      }
      if (!known) throw std::runtime_error("--rate " + text + ": see --rates");
    }
  } catch (const std::exception& error) {
    std::cerr << "chatchain-simulate: " << error.what() << "\n" << parser.help();
    return kExitUsage;
  }

  std::map<std::string, uint64_t> total;
  uint64_t steps = 0;
  uint64_t hash = 0;
  const auto begun = std::chrono::steady_clock::now();
  int exit_code = 0;
  const bool stop_early = !until.empty();
  for (uint64_t i = 0; i < count; ++i, ++options.seed) {
    const SimResult result = Simulate(options);
    steps += result.steps;
    hash = hash * 0x100000001b3 ^ result.hash;
    for (const auto& [what, times] : result.counts) total[what] += times;
    if (count == 1) {
      std::cout << "seed " << options.seed << ": " << result.steps << " steps, "
                << result.virtual_ms << " ms, " << result.messages << " messages, " << result.epochs
                << " epochs, a token of " << result.token_bytes << " bytes\n";
    }
    if (result.violations.empty()) continue;
    exit_code = kExitViolation;
    for (const std::string& violation : result.violations) {
      std::cout << "seed " << options.seed << ": " << violation << "\n";
    }
    SimOptions again = options;
    if (shrink) {
      const std::string& first = result.violations.front();
      again = Shrink(options, first.substr(0, first.find(':')));
    }
    std::cout << "again: " << Command(again, rates) << std::endl;
    for (const std::string& violation : result.violations) {
      std::erase(until, violation.substr(0, violation.find(':')));
    }
    if (stop_early && until.empty()) break;
  }
  std::cout << "trace hash " << HexU64(hash) << "\n";
  if (counts) {
    for (const auto& [what, times] : total) std::cout << times << " " << what << "\n";
  }
  const double took_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  std::fprintf(stderr, "%llu seeds, %llu steps in %.1f s: %.0f steps/s\n",
               static_cast<unsigned long long>(count), static_cast<unsigned long long>(steps),
               took_s, static_cast<double>(steps) / took_s);
  return exit_code;
}
