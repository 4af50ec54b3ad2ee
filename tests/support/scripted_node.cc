// SPDX-License-Identifier: MIT
#include "tests/support/scripted_node.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/protocol/json.h"

namespace chatchain::testing {

using http::testing::RawListener;
using http::testing::RawSocket;

std::string ScriptedRequest::Header(std::string_view name) const {
  std::string lower_head = head;
  std::string lower_name = "\r\n" + std::string(name) + ": ";
  const auto lower = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
  std::transform(lower_head.begin(), lower_head.end(), lower_head.begin(), lower);
  std::transform(lower_name.begin(), lower_name.end(), lower_name.begin(), lower);
  const size_t at = lower_head.find(lower_name);
  if (at == std::string::npos) return "";
  const size_t begin = at + lower_name.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

ScriptedAnswer NodeSays(int status, std::string body, const std::string& headers) {
  std::string bytes = "HTTP/1.1 " + std::to_string(status) + " Scripted\r\n";
  bytes += std::string("Content-Type: ") +
           (status < 400 ? "application/json" : "application/problem+json") + "\r\n";
  bytes += "ChatChain-Node: scripted\r\n" + headers;
  bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  return {std::move(bytes)};
}

ScriptedAnswer NodeProblem(int status, const std::string& type) {
  return NodeSays(status, "{\"type\":\"" + type + "\",\"title\":\"t\",\"status\":" +
                              std::to_string(status) + ",\"detail\":\"scripted\"}");
}

std::vector<std::string> BatchItems(const ScriptedRequest& request) {
  std::vector<std::string> items;
  const Json body = Json::parse(request.body);
  for (const auto& item : body.at("messages")) items.push_back(item.dump());
  return items;
}

ScriptedAnswer BatchSays(const ScriptedRequest& request, int status, const std::string& body) {
  std::string results;
  for (size_t i = 0; i < BatchItems(request).size(); ++i) {
    if (i > 0) results += ',';
    results += "{\"status\":" + std::to_string(status);
    results += status < 300 ? ",\"message\":" : ",\"problem\":";
    results += body.empty() ? "{\"id\":\"0000\",\"detail\":\"scripted\"}" : body;
    results += '}';
  }
  return NodeSays(200, "{\"results\":[" + results + "]}");
}

ScriptedNode::ScriptedNode(Script script, bool probes)
    : script_(std::move(script)), probes_(probes), acceptor_([this] { Accept(); }) {}

ScriptedNode::~ScriptedNode() {
  stopping_ = true;
  RawSocket::Connect(listener_.port());  // wakes the acceptor
  acceptor_.join();
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    for (RawSocket& socket : sockets_) ::shutdown(socket.fd(), SHUT_RDWR);
    threads.swap(threads_);
  }
  released_.NotifyAll();
  for (std::thread& thread : threads) thread.join();
}

void ScriptedNode::set_state(std::string state) {
  MutexLock lock(mutex_);
  state_ = std::move(state);
}

std::vector<ScriptedRequest> ScriptedNode::seen() const {
  MutexLock lock(mutex_);
  return seen_;
}

void ScriptedNode::Accept() {
  while (!stopping_) {
    RawSocket socket = listener_.Accept();
    if (stopping_) return;
    if (!socket.open()) continue;
    MutexLock lock(mutex_);
    RawSocket& kept = sockets_.emplace_back(std::move(socket));
    threads_.emplace_back([this, &kept] { Serve(&kept); });
  }
}

ScriptedAnswer ScriptedNode::AnswerTo(const ScriptedRequest& request) {
  const bool probe = request.target == "/readyz" || request.target == "/nodes";
  if (probe && !probes_) {
    if (request.target == "/nodes") {
      return NodeSays(200, R"({"self":{"id":"scripted","messages":7},"peers":[]})");
    }
    MutexLock lock(mutex_);
    return NodeSays(state_ == "ready" ? 200 : 503, "{\"state\":\"" + state_ + "\",\"heads\":[]}");
  }
  if (!probe) {
    MutexLock lock(mutex_);
    seen_.push_back(request);
    ++requests_;
  }
  return script_(request);
}

void ScriptedNode::Serve(RawSocket* socket) {
  std::string input;
  while (!stopping_) {
    size_t head_end = input.find("\r\n\r\n");
    while (head_end == std::string::npos) {
      const auto read = socket->ReadSome(&input, std::chrono::seconds(60));
      if (read != RawSocket::Read::kData) return;
      head_end = input.find("\r\n\r\n");
    }
    ScriptedRequest request;
    request.head = input.substr(0, head_end + 2);
    request.method = request.head.substr(0, request.head.find(' '));
    const size_t target = request.method.size() + 1;
    request.target = request.head.substr(target, request.head.find(' ', target) - target);
    const std::string length = request.Header("Content-Length");
    const size_t total = head_end + 4 + (length.empty() ? 0 : std::stoul(length));
    while (input.size() < total) {
      if (socket->ReadSome(&input, std::chrono::seconds(60)) != RawSocket::Read::kData) return;
    }
    request.body = input.substr(head_end + 4, total - head_end - 4);
    input.erase(0, total);

    const ScriptedAnswer answer = AnswerTo(request);
    if (!socket->Send(answer.bytes)) return;
    if (answer.then == ScriptedAnswer::Then::kHang) {
      MutexLock lock(mutex_);
      while (!stopping_)
        released_.WaitUntil(mutex_, http::testing::Clock::now() + std::chrono::milliseconds(100));
      return;
    }
    if (answer.then == ScriptedAnswer::Then::kClose) {
      ::shutdown(socket->fd(), SHUT_RDWR);
      return;
    }
  }
}

std::string DeadAddress() {
  RawListener listener;
  return listener.address();
}

}  // namespace chatchain::testing
