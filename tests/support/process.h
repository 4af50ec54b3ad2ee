// SPDX-License-Identifier: MIT
// A child process of a test: started, signalled, awaited. It dies with the test, and its output
// goes to a file that the test reads lines from. One thread: the one that started it must outlive
// it, because the kernel ties "dies with its parent" to the thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chatchain::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

// True as soon as `holds` does; false when it never did until `patience` had passed (under a
// sanitizer: four times that). Polls.
bool Eventually(milliseconds patience, const std::function<bool()>& holds,
                milliseconds pause = milliseconds(10));

class Process {
 public:
  struct Options {
    std::vector<std::string> argv;         // argv[0]: the path of the program
    std::string output_path;               // standard output and error are appended here
    std::string working_dir;               // empty: the test's own
    std::vector<std::string> environment;  // "NAME=value", instead of all CHATCHAIN_ variables
  };

  explicit Process(Options options);
  ~Process();  // kills what still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void Signal(int signal);
  // SIGKILL, and waits until it is gone.
  void Kill();
  // Exit code, or minus the signal that ended it; nothing when it still runs after `patience`.
  std::optional<int> Wait(milliseconds patience);
  // SIGTERM, then Wait().
  std::optional<int> Terminate(milliseconds patience = seconds(15));

  // The first line of its own output that contains `text`. Nothing when it ended, or `patience`
  // passed, without one.
  std::optional<std::string> AwaitLine(std::string_view text, milliseconds patience = seconds(10));
  bool Said(std::string_view text) const { return Output().find(text) != std::string::npos; }
  // What it has written so far.
  std::string Output() const;

 private:
  const Options options_;
  size_t output_begin_ = 0;  // where its own output begins in the file
  pid_t pid_ = -1;
  std::optional<int> status_;
};

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& content);

// A directory of a test's own, removed with all it holds.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// The programs under test. Fails the test when the node was not built; `ClientProgram` gives
// nothing.
std::string NodeProgram();
std::optional<std::string> ClientProgram();

}  // namespace chatchain::testing
