// SPDX-License-Identifier: MIT
#include "tests/support/cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>

namespace chatchain::testing {

namespace {

namespace fs = std::filesystem;

constexpr size_t kLogTailBytes = 6000;

std::vector<Cluster*>& MutableAll() {
  static std::vector<Cluster*> all;
  return all;
}

std::string Join(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : ",") + text;
  return joined;
}

std::string Tail(const std::string& path) {
  const std::string all = ReadFile(path);
  return all.size() <= kLogTailBytes ? all : "[...]" + all.substr(all.size() - kLogTailBytes);
}

}  // namespace

ReservedPort::ReservedPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  // Bound, with SO_REUSEADDR, and not listening: the kernel gives the port to nobody, and still
  // lets a program with SO_REUSEADDR listen there.
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  // Port 0 first without SO_REUSEADDR: only a port that nobody else holds counts.
  REQUIRE(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  const int on = 1;
  setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

ReservedPort::~ReservedPort() {
  close(fd_);
}

Node::Node(const std::string& dir, std::string name, NodeOptions options)
    : dir_(dir), name_(std::move(name)), options_(std::move(options)) {
  if (options_.data_dir.empty()) options_.data_dir = dir_ + "/" + name_;
  output_path_ = dir_ + "/" + name_ + ".log";
}

Process& Node::Launch() {
  REQUIRE_FALSE(running());
  Process::Options process;
  process.argv = {NodeProgram(),
                  "--node-id",
                  options_.id,
                  "--listen",
                  options_.listen.empty() ? address() : options_.listen,
                  "--peers",
                  Join(options_.peers),
                  "--data-dir",
                  options_.data_dir,
                  "--sync-interval-ms",
                  std::to_string(options_.sync_interval_ms)};
  process.argv.insert(process.argv.end(), options_.arguments.begin(), options_.arguments.end());
  process.environment = {
      "CHATCHAIN_CLUSTER_NAME=" + options_.cluster,
      "CHATCHAIN_NODE_SYNC_PAGE_RECORDS=" + std::to_string(options_.sync_page_records)};
  process.output_path = output_path_;
  process.working_dir = dir_;
  process_ = std::make_unique<Process>(std::move(process));
  return *process_;
}

void Node::Start() {
  const auto line = Launch().AwaitLine("listening on ", seconds(20));
  if (!line) FAIL(name_ << " did not start: " << process_->Output());
  INFO(*line);
  REQUIRE(line->find(address()) != std::string::npos);
}

void Node::Stop() {
  const auto status = process_->Terminate(seconds(10));
  INFO(name_ << ": " << process_->Output());
  REQUIRE(status.has_value());
  REQUIRE(*status == 0);
}

void Node::Pause() {
  process_->Signal(SIGSTOP);
}
void Node::Resume() {
  process_->Signal(SIGCONT);
}

void Node::Wipe() {
  REQUIRE_FALSE(running());
  fs::remove_all(options_.data_dir);
}

void Node::SaveTo(const std::string& name) {
  REQUIRE_FALSE(running());
  fs::remove_all(dir_ + "/" + name);
  fs::copy(options_.data_dir, dir_ + "/" + name, fs::copy_options::recursive);
}

void Node::RestoreFrom(const std::string& name) {
  REQUIRE_FALSE(running());
  fs::remove_all(options_.data_dir);
  fs::copy(dir_ + "/" + name, options_.data_dir, fs::copy_options::recursive);
}

ClientProxy::ClientProxy(const std::string& dir, const std::vector<std::string>& nodes,
                         std::vector<std::string> arguments) {
  Process::Options process;
  process.argv = {ClientProgram().value(), "--nodes", Join(nodes)};
  if (std::find(arguments.begin(), arguments.end(), "--listen") == arguments.end()) {
    process.argv.insert(process.argv.end(), {"--listen", "127.0.0.1:0"});
  }
  process.argv.insert(process.argv.end(), arguments.begin(), arguments.end());
  process.environment = {"CHATCHAIN_CLUSTER_NAME=" + NodeOptions().cluster};
  process.output_path = dir + "/proxy.log";
  process.working_dir = dir;
  process_ = std::make_unique<Process>(std::move(process));
  const auto line = process_->AwaitLine("listening on ", seconds(20));
  if (!line) FAIL("the proxy did not start: " << process_->Output());
  address_ = line->substr(line->find("listening on ") + std::string("listening on ").size());
  REQUIRE(Eventually(seconds(15), [&] { return api().Ready(); }));
}

Cluster::Cluster(ClusterOptions options) {
  MutableAll().push_back(this);
  for (int i = 0; i < options.nodes; ++i) {
    NodeOptions node;
    node.id = options.ids.empty() ? std::to_string(i) : options.ids.at(static_cast<size_t>(i));
    node.sync_interval_ms = options.sync_interval_ms;
    node.arguments = options.arguments;
    nodes_.push_back(std::make_unique<Node>(dir_.path(), "node" + std::to_string(i), node));
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    for (size_t k = 0; k < nodes_.size(); ++k) {
      if (i == k) continue;
      if (options.faulty_links) {
        links_[{i, k}] = std::make_unique<FaultProxy>(nodes_[k]->port());
        nodes_[i]->options().peers.push_back(links_[{i, k}]->address());
      } else {
        nodes_[i]->options().peers.push_back(nodes_[k]->address());
      }
    }
  }
}

Cluster::~Cluster() {
  std::erase(MutableAll(), this);
}

void Cluster::StartAll() {
  for (const auto& node : nodes_) node->Start();
}

std::vector<std::string> Cluster::addresses() const {
  std::vector<std::string> all;
  for (const auto& node : nodes_) all.push_back(node->address());
  return all;
}

ClientProxy& Cluster::StartProxy(std::vector<std::string> arguments) {
  proxies_.push_back(std::make_unique<ClientProxy>(dir_.path(), addresses(), std::move(arguments)));
  return *proxies_.back();
}

void Cluster::Fault(size_t puller, size_t pulled, FaultProxy::Fault fault) {
  links_.at({puller, pulled})->Set(fault);
}

void Cluster::Cut(size_t a, size_t b) {
  Fault(a, b, FaultProxy::Fault::kCut);
  Fault(b, a, FaultProxy::Fault::kCut);
}

void Cluster::Heal() {
  for (const auto& [pair, link] : links_) link->Set(FaultProxy::Fault::kNone);
}

std::string Cluster::Logs() const {
  std::string logs;
  for (const auto& node : nodes_) {
    logs += "---- " + node->name() + " (id " + node->options().id + ", " + node->address() + ")\n" +
            Tail(node->output_path());
  }
  if (!proxies_.empty()) logs += "---- proxy\n" + Tail(dir_ / "proxy.log");
  return logs;
}

const std::vector<Cluster*>& Cluster::All() {
  return MutableAll();
}

}  // namespace chatchain::testing
