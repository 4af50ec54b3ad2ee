// SPDX-License-Identifier: MIT
// Nodes and proxies as real processes on free ports of 127.0.0.1, each with a directory of its own
// below one temporary directory. One thread: the test's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/api.h"
#include "tests/support/fault_proxy.h"
#include "tests/support/process.h"

namespace chatchain::testing {

// A port that nobody else gets as long as this lives. A program that binds with SO_REUSEADDR, as
// ours do, can listen there; nobody listens there otherwise.
class ReservedPort {
 public:
  ReservedPort();
  ~ReservedPort();
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;
  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int fd_ = -1;
  uint16_t port_ = 0;
};

struct NodeOptions {
  std::string id;
  std::string cluster = "itest";
  std::vector<std::string> peers;  // addresses
  std::string listen;              // empty: a reserved port of its own, Node::address()
  std::string data_dir;            // empty: one of its own
  int sync_interval_ms = 100;
  int sync_page_records = 25;          // so that a few hundred messages are many pages
  std::vector<std::string> arguments;  // further ones
};

class Node {
 public:
  // `dir`: where its directory and its output lie.
  Node(const std::string& dir, std::string name, NodeOptions options);

  // Starts and waits until it listens.
  void Start();
  // Starts without waiting: for starts that fail.
  Process& Launch();
  void Kill() { process_->Kill(); }
  // SIGTERM; requires exit code 0 within 10 s.
  void Stop();
  void Pause();  // SIGSTOP: connections are accepted by the kernel, nothing is answered
  void Resume();
  bool running() { return process_ && process_->running(); }
  Process& process() { return *process_; }

  // REQUIRES, all: it does not run.
  void Wipe();
  void SaveTo(const std::string& name);  // a copy of its directory under that name
  void RestoreFrom(const std::string& name);

  const std::string& name() const { return name_; }
  const NodeOptions& options() const { return options_; }
  NodeOptions& options() { return options_; }  // for the next start
  const std::string& data_dir() const { return options_.data_dir; }
  std::string database() const { return options_.data_dir + "/chatchain.db"; }
  std::string address() const { return port_.address(); }
  uint16_t port() const { return port_.port(); }
  const std::string& output_path() const { return output_path_; }
  std::string output() const { return ReadFile(output_path_); }  // of all its runs
  bool Said(const std::string& text) const { return output().find(text) != std::string::npos; }

  Api api() const { return Api(address()); }

 private:
  const std::string dir_;
  const std::string name_;
  NodeOptions options_;
  ReservedPort port_;
  std::string output_path_;
  std::unique_ptr<Process> process_;
};

// The proxy, chatchain-client.
class ClientProxy {
 public:
  // REQUIRES: ClientProgram().
  ClientProxy(const std::string& dir, const std::vector<std::string>& nodes,
              std::vector<std::string> arguments = {});
  const std::string& address() const { return address_; }
  Process& process() { return *process_; }
  Api api() const { return Api(address_); }

 private:
  std::unique_ptr<Process> process_;
  std::string address_;
};

struct ClusterOptions {
  int nodes = 3;
  // The network between nodes goes through FaultProxies, one for each direction of each pair.
  bool faulty_links = false;
  int sync_interval_ms = 100;
  std::vector<std::string> ids;        // empty: "0", "1", ...
  std::vector<std::string> arguments;  // of every node
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  size_t size() const { return nodes_.size(); }
  Node& node(size_t i) { return *nodes_.at(i); }
  Api api(size_t i) { return node(i).api(); }
  const TempDir& dir() const { return dir_; }
  std::vector<std::string> addresses() const;
  void StartAll();
  // REQUIRES: ClientProgram(). Ready when it returns.
  ClientProxy& StartProxy(std::vector<std::string> arguments = {});

  // REQUIRES, all: faulty_links. What `puller` hears of `pulled`.
  void Fault(size_t puller, size_t pulled, FaultProxy::Fault fault);
  void Cut(size_t a, size_t b);  // both directions
  void Heal();

  // The tail of every process' output, for a failed test.
  std::string Logs() const;
  // The clusters of the running test.
  static const std::vector<Cluster*>& All();

 private:
  TempDir dir_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::pair<size_t, size_t>, std::unique_ptr<FaultProxy>> links_;  // by (puller, pulled)
  std::vector<std::unique_ptr<ClientProxy>> proxies_;
};

}  // namespace chatchain::testing
