// SPDX-License-Identifier: MIT
// A node whose every answer is scripted, down to the byte: for what a real node never does, or does
// not do on demand. Probes are answered well unless the script takes them over.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/util/mutex.h"
#include "tests/support/http_test.h"

namespace chatchain::testing {

struct ScriptedRequest {
  std::string method;
  std::string target;
  std::string head;  // the whole head
  std::string body;

  // The value of a header; empty when absent.
  std::string Header(std::string_view name) const;
};

struct ScriptedAnswer {
  enum class Then { kKeep, kClose, kHang };  // kHang: until the node is destroyed or released
  std::string bytes;
  Then then = Then::kKeep;
};

// A whole answer of a well-behaved node. `headers`: lines with CRLF.
ScriptedAnswer NodeSays(int status, std::string body, const std::string& headers = "");
// The answer to POST /messages/batch: every item gets `status`; `body` is its message or its
// problem (empty: a plain one).
ScriptedAnswer BatchSays(const ScriptedRequest& request, int status, const std::string& body = "");
ScriptedAnswer NodeProblem(int status, const std::string& type = "about:blank");
inline ScriptedAnswer Hang(std::string first = "") {
  return {std::move(first), ScriptedAnswer::Then::kHang};
}
inline ScriptedAnswer CloseAfter(std::string first = "") {
  return {std::move(first), ScriptedAnswer::Then::kClose};
}
// Items of a batch request, as JSON texts.
std::vector<std::string> BatchItems(const ScriptedRequest& request);

class ScriptedNode {
 public:
  using Script = std::function<ScriptedAnswer(const ScriptedRequest&)>;

  // The script is called on several threads at once. It gets /readyz too where `probes` is set.
  explicit ScriptedNode(Script script, bool probes = false);
  ~ScriptedNode();
  ScriptedNode(const ScriptedNode&) = delete;
  ScriptedNode& operator=(const ScriptedNode&) = delete;

  std::string address() const { return listener_.address(); }
  // As /readyz says it; "ready" at first.
  void set_state(std::string state);
  // All but probes.
  int requests() const { return requests_.load(); }
  std::vector<ScriptedRequest> seen() const;

 private:
  void Accept();
  void Serve(http::testing::RawSocket* socket);
  ScriptedAnswer AnswerTo(const ScriptedRequest& request);

  const Script script_;
  const bool probes_;
  http::testing::RawListener listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> requests_{0};
  mutable Mutex mutex_;
  CondVar released_;
  std::string state_ GUARDED_BY(mutex_) = "ready";
  std::vector<ScriptedRequest> seen_ GUARDED_BY(mutex_);
  std::list<http::testing::RawSocket> sockets_ GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ GUARDED_BY(mutex_);
  std::thread acceptor_;
};

// An address where nobody listens.
std::string DeadAddress();

}  // namespace chatchain::testing
