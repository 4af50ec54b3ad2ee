// SPDX-License-Identifier: MIT
#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/support/sanitized.h"

namespace chatchain::testing {

namespace {

using SteadyClock = std::chrono::steady_clock;

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// A developer's own settings must not reach the programs under test.
std::vector<std::string> CleanEnvironment() {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::string_view(*entry).rfind("CHATCHAIN_", 0) != 0) kept.emplace_back(*entry);
  }
  return kept;
}

std::string ProgramDir() {
  const char* given = std::getenv("CHATCHAIN_TEST_BIN_DIR");
  return given != nullptr ? given : CHATCHAIN_BIN_DIR;
}

}  // namespace

bool Eventually(milliseconds patience, const std::function<bool()>& holds, milliseconds pause) {
  const auto deadline = SteadyClock::now() + patience * (kSanitized ? 4 : 1);
  while (!holds()) {
    if (SteadyClock::now() >= deadline) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

Process::Process(Options options) : options_(std::move(options)) {
  std::error_code absent;
  const auto size = std::filesystem::file_size(options_.output_path, absent);
  output_begin_ = absent ? 0 : size;
  std::vector<std::string> environment = CleanEnvironment();
  environment.insert(environment.end(), options_.environment.begin(), options_.environment.end());
  const std::vector<char*> argv = Pointers(options_.argv);
  const std::vector<char*> envp = Pointers(environment);
  const int output =
      open(options_.output_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  REQUIRE(output >= 0);
  const pid_t parent = getpid();

  pid_ = fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    // Between fork and exec of a program with threads only plain system calls are allowed.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    const int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (!options_.working_dir.empty() && chdir(options_.working_dir.c_str()) != 0) _exit(126);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(output);
}

Process::~Process() {
  Kill();
}

bool Process::running() {
  return !Wait(milliseconds(0));
}

void Process::Signal(int signal) {
  if (running()) kill(pid_, signal);
}

void Process::Kill() {
  Signal(SIGKILL);
  Wait(seconds(30));
}

std::optional<int> Process::Wait(milliseconds patience) {
  Eventually(
      patience,
      [&] {
        if (status_) return true;
        int raw = 0;
        if (waitpid(pid_, &raw, WNOHANG) != pid_) return false;
        status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : -WTERMSIG(raw);
        return true;
      },
      milliseconds(1));
  return status_;
}

std::optional<int> Process::Terminate(milliseconds patience) {
  Signal(SIGTERM);
  return Wait(patience);
}

std::optional<std::string> Process::AwaitLine(std::string_view text, milliseconds patience) {
  std::optional<std::string> line;
  Eventually(
      patience,
      [&] {
        const bool ended = !running();  // before reading: what it said last counts
        const std::string output = Output();
        const size_t at = output.find(text);
        const size_t end = at == std::string::npos ? at : output.find('\n', at);
        if (end == std::string::npos) return ended;
        const size_t before = at == 0 ? std::string::npos : output.rfind('\n', at);
        const size_t begin = before == std::string::npos ? 0 : before + 1;
        line = output.substr(begin, end - begin);
        return true;
      },
      milliseconds(2));
  return line;
}

std::string Process::Output() const {
  const std::string all = ReadFile(options_.output_path);
  return all.size() > output_begin_ ? all.substr(output_begin_) : std::string();
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  REQUIRE(file.flush());
}

TempDir::TempDir() {
  const char* given = std::getenv("CHATCHAIN_TEST_DIR");
  const std::string base = given != nullptr ? given : CHATCHAIN_SCRATCH_DIR;
  std::filesystem::create_directories(base);
  path_ = base + "/run-XXXXXX";
  REQUIRE(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string NodeProgram() {
  const std::string path = ProgramDir() + "/chatchain-node";
  if (access(path.c_str(), X_OK) != 0) FAIL("build chatchain-node first: there is no " << path);
  return path;
}

std::optional<std::string> ClientProgram() {
  const std::string path = ProgramDir() + "/chatchain-client";
  if (access(path.c_str(), X_OK) != 0) return std::nullopt;
  return path;
}

}  // namespace chatchain::testing
