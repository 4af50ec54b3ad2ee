// SPDX-License-Identifier: MIT
// Those who follow a feed, as clients do: by long poll, event stream or WebSocket, each on a thread
// of its own, going on elsewhere with the last token when their connection ends. Independent of the
// code under test: plain sockets, and no more of the protocols than a client needs.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/http_test.h"

namespace chatchain::testing {

enum class FeedWay { kPoll, kStream, kSocket };
const char* Name(FeedWay way);

// What one of them has seen.
struct Seen {
  std::vector<std::string> texts;     // in order, without repeats
  std::vector<std::string> repeats;   // that nothing excused
  std::vector<std::string> problems;  // answers that are none
  size_t excused = 0;                 // repeats while the other side said `behind`
  size_t gaps = 0;
  size_t connections = 0;
  std::string token;
};

class FeedReader {
 public:
  // Begins at `after` at the first of `ports`; tries them in turn.
  FeedReader(FeedWay way, std::vector<uint16_t> ports, std::string after = "begin",
             std::string filter = "");
  ~FeedReader();
  FeedReader(const FeedReader&) = delete;
  FeedReader& operator=(const FeedReader&) = delete;

  size_t count() const;
  Seen seen() const;
  FeedWay way() const { return way_; }
  void Stop();

 private:
  void Run();
  // Each returns when the connection has ended or Stop() was called.
  void Poll(uint16_t port);
  void Stream(uint16_t port);
  void Socket(uint16_t port);
  void Take(const std::string& token, const std::string& json);
  void Problem(const std::string& what);

  const FeedWay way_;
  const std::vector<uint16_t> ports_;
  const std::string filter_;  // "&room=x"
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  Seen seen_;
  std::set<std::string> ids_;
  bool behind_ = false;
  std::thread thread_;
};

// A WebSocket from the client's side: whole messages, no extensions.
class RawWebSocket {
 public:
  // Not open where the upgrade was refused; `answer` has the head then.
  RawWebSocket(uint16_t port, const std::string& path, const std::string& headers = "");
  bool open() const { return open_; }
  const std::string& answer() const { return answer_; }
  bool Send(const std::string& payload, int opcode = 1, bool fin = true);
  struct Frame {
    int opcode = 0;
    bool fin = true;
    std::string payload;
  };
  // The next frame; none when there is none within `wait`, or ever: see open().
  std::optional<Frame> Read(std::chrono::milliseconds wait = http::testing::kPatience);
  // The next text, pings answered on the way.
  std::optional<std::string> ReadText(std::chrono::milliseconds wait = http::testing::kPatience);

 private:
  http::testing::RawSocket socket_;
  std::string answer_;
  std::string input_;
  bool open_ = false;
};

}  // namespace chatchain::testing
