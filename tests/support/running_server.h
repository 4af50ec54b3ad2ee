// SPDX-License-Identifier: MIT
// A server in this process with one route of each kind, and what tests say to it over sockets.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/http/event_loop.h"
#include "common/http/server.h"
#include "tests/support/http_test.h"

namespace chatchain::http::testing {

using std::chrono::milliseconds;

// Looks again until it holds; false after kPatience.
inline bool Eventually(const std::function<bool()>& holds) {
  const auto until = Clock::now() + kPatience;
  while (!holds()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

inline int64_t MsSince(SteadyTime start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start).count();
}

// A gate that handlers wait at.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  bool WaitForWaiting(int n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return waiting_ >= n; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

// Gives `parts` parts of `part_bytes`, then ends as told; says when it is destroyed.
class TestSource final : public BodySource {
 public:
  struct Log {
    std::atomic<int> reads{0};
    std::atomic<bool> destroyed{false};
  };
  TestSource(std::shared_ptr<Log> log, int parts, size_t part_bytes, Step last)
      : log_(std::move(log)), parts_(parts), part_bytes_(part_bytes), last_(last) {}
  ~TestSource() override { log_->destroyed = true; }
  Step Read(std::string* out) override {
    ++log_->reads;
    if (given_++ == parts_) return last_;
    out->assign(part_bytes_, 'p');
    return Step::kMore;
  }

 private:
  std::shared_ptr<Log> log_;
  const int parts_;
  int given_ = 0;
  const size_t part_bytes_;
  const Step last_;
};

// A server with one route of each kind.
struct RunningServer {
  explicit RunningServer(ServerOptions options = {}, EventLoops* loops = nullptr) {
    std::vector<Route> routes;
    const auto add = [&](Route route) { routes.push_back(std::move(route)); };
    add({.method = "GET", .pattern = "/small", .handler = [](Request& request) {
           return JsonResponse(200, "{\"target\":\"" + request.target + "\"}");
         }});
    add({.method = "POST",
         .pattern = "/echo",
         .handler =
             [](Request& request) {
               Response response = JsonResponse(200, request.body);
               response.content_type = "application/octet-stream";
               return response;
             },
         .max_body_bytes = 1024 * 1024});
    add({.method = "POST",
         .pattern = "/json",
         .handler = [](Request& request) { return JsonResponse(201, request.body); },
         .max_body_bytes = 1000,
         .json_body = true});
    add({.method = "GET", .pattern = "/wait", .handler = [this](Request&) {
           gate.Wait();
           return JsonResponse(200, "\"waited\"");
         }});
    add({.method = "GET",
         .pattern = "/healthz",
         .handler = [](Request&) { return JsonResponse(200, "\"well\""); },
         .never_shed = true});
    add({.method = "GET", .pattern = "/throw", .handler = [](Request&) -> Response {
           throw std::runtime_error("a bug");
         }});
    add({.method = "GET", .pattern = "/big/{bytes}", .handler = [](Request& request) {
           return JsonResponse(200, std::string(std::stoul(request.path_params["bytes"]), 'b'));
         }});
    const auto stream = [this](BodySource::Step last) {
      return [this, last](Request& request) {
        Response response;
        response.content_type = "application/x-ndjson";
        const int parts = std::stoi(request.path_params["parts"]);
        response.source = std::make_unique<TestSource>(source, parts, 1'000, last);
        return response;
      };
    };
    add({.method = "GET", .pattern = "/stream/{parts}", .handler = stream(BodySource::Step::kEnd)});
    add({.method = "GET",
         .pattern = "/abort/{parts}",
         .handler = stream(BodySource::Step::kAbort)});
    server = std::make_unique<Server>(std::move(options), std::move(routes), loops);
    const auto started = server->Start();
    if (!started) FAIL(started.error());
  }
  ~RunningServer() { gate.Open(); }

  RawSocket Connect(int receive_buffer = 0) {
    return RawSocket::Connect(server->port(), receive_buffer);
  }
  // One request on a connection of its own; the answer until the close.
  std::string Ask(const std::string& bytes) {
    RawSocket socket = Connect();
    socket.Send(bytes);
    return socket.ReadToEnd();
  }

  Gate gate;
  std::shared_ptr<TestSource::Log> source = std::make_shared<TestSource::Log>();
  std::unique_ptr<Server> server;
};

inline std::string Get(const std::string& target, const std::string& fields = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

inline std::string Post(const std::string& target, const std::string& body,
                        const std::string& fields = "") {
  return "POST " + target +
         " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         fields + "\r\n" + body;
}

inline int Status(const std::string& answer) {
  return answer.size() > 12 && answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
}

inline std::string Body(const std::string& answer) {
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

inline bool Says(const std::string& answer, const std::string& line) {
  const size_t at = answer.find(line + "\r\n");
  return at != std::string::npos && at < answer.find("\r\n\r\n") + 2;
}

}  // namespace chatchain::http::testing
