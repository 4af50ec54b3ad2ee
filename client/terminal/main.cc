// SPDX-License-Identifier: MIT
// chatchain: the command line of ChatChain. Exit codes: see options.h.
#include <cstdlib>
#include <string_view>

#include "client/terminal/commands.h"
#include "client/terminal/output.h"
#include "common/util/clock.h"

namespace {

// https://no-color.org
bool WantsColour(const chatchain::Environment& environment) {
  const auto is_set = [&](std::string_view name) {
    const auto variable = environment.find(name);
    return variable != environment.end() && !variable->second.empty();
  };
  const auto term = environment.find("TERM");
  return chatchain::terminal::OutputIsTerminal() && !is_set("NO_COLOR") &&
         term != environment.end() && term->second != "dumb";
}

int Run(int argc, char** argv) {
  using namespace chatchain;
  using namespace chatchain::terminal;
  FillStandardDescriptors();
  const Environment environment = ProcessEnvironment();
  const auto line = ParseCommandLine(argc, argv, environment, SystemClock().WallMs());
  if (!line) {
    if (!line.error().to_stdout) return PrintExit(line.error());
    const auto written = WriteOut(line.error().text + "\n");
    if (!written) Complain(written.error());
    return written ? line.error().code : kExitFailed;
  }
  const auto code = RunCommand(*line, {.colour = WantsColour(environment)});
  if (code) return *code;
  Complain(code.error().text);
  return code.error().code;
}

}  // namespace

int main(int argc, char** argv) {
  // Not exit(): a thread of the client may still ask the resolver.
  std::_Exit(Run(argc, argv));
}
