// SPDX-License-Identifier: MIT
#include "tests/support/feed_reader.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace chatchain::testing {

namespace {

using http::testing::RawSocket;
using std::chrono::milliseconds;
using Json = nlohmann::json;

constexpr milliseconds kLook{200};        // how soon Stop() is seen
constexpr milliseconds kSilence{20'000};  // longer than two heartbeats may be apart
constexpr milliseconds kBeforeRetry{50};

// A body in chunks, as it comes.
class Chunks {
 public:
  // False: it has ended.
  bool Take(std::string* input, std::string* body) {
    while (true) {
      if (left_ > 0) {
        const size_t n = std::min(left_, input->size());
        body->append(*input, 0, n);
        input->erase(0, n);
        left_ -= n;
        if (left_ > 0) return true;
        skip_ = 2;
      }
      const size_t skipped = std::min(skip_, input->size());
      input->erase(0, skipped);
      skip_ -= skipped;
      const size_t end = input->find("\r\n");
      if (skip_ > 0 || end == std::string::npos) return true;
      left_ = std::stoul(input->substr(0, end), nullptr, 16);
      input->erase(0, end + 2);
      if (left_ == 0) return false;
    }
  }

 private:
  size_t left_ = 0;
  size_t skip_ = 0;
};

}  // namespace

const char* Name(FeedWay way) {
  switch (way) {
    case FeedWay::kPoll: return "poll";
    case FeedWay::kStream: return "stream";
    case FeedWay::kSocket: return "socket";
  }
  return "";
}

FeedReader::FeedReader(FeedWay way, std::vector<uint16_t> ports, std::string after,
                       std::string filter)
    : way_(way), ports_(std::move(ports)), filter_(std::move(filter)) {
  seen_.token = std::move(after);
  thread_ = std::thread([this] { Run(); });
}

FeedReader::~FeedReader() {
  Stop();
}

void FeedReader::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

size_t FeedReader::count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return seen_.texts.size();
}

Seen FeedReader::seen() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return seen_;
}

void FeedReader::Run() {
  for (size_t turn = 0; !stopping_; ++turn) {
    const uint16_t port = ports_[turn % ports_.size()];
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++seen_.connections;
      behind_ = false;
    }
    switch (way_) {
      case FeedWay::kPoll: Poll(port); break;
      case FeedWay::kStream: Stream(port); break;
      case FeedWay::kSocket: Socket(port); break;
    }
    if (!stopping_) std::this_thread::sleep_for(kBeforeRetry);
  }
}

void FeedReader::Take(const std::string& token, const std::string& text) {
  const Json message = Json::parse(text, nullptr, false);
  if (!message.is_object() || token.empty()) return Problem("no message: " + text);
  const std::lock_guard<std::mutex> lock(mutex_);
  seen_.token = token;
  const std::string shown = message.value("text", "");
  if (ids_.insert(message.value("id", "")).second) {
    seen_.texts.push_back(shown);
  } else if (behind_) {
    ++seen_.excused;
  } else {
    seen_.repeats.push_back(shown);
  }
}

void FeedReader::Problem(const std::string& what) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (seen_.problems.size() < 20) seen_.problems.push_back(what.substr(0, 300));
}

void FeedReader::Poll(uint16_t port) {
  RawSocket socket = RawSocket::Connect(port);
  while (!stopping_ && socket.open()) {
    const std::string after = seen().token;
    socket.Send("GET /messages/poll?limit=200&wait_ms=1000&after=" + after + filter_ +
                " HTTP/1.1\r\nHost: test\r\n\r\n");
    const std::string answer = socket.ReadAnswer();
    const size_t body = answer.find("\r\n\r\n");
    if (body == std::string::npos) return;
    if (answer.find(" 200 ") > 12) {
      if (answer.find(" 503 ") > 12) Problem(answer);
      return;
    }
    const Json page = Json::parse(answer.substr(body + 4), nullptr, false);
    if (!page.is_object() || !page.contains("after")) return Problem(answer);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      behind_ = page.value("behind", false);
      if (page.value("gap", false)) ++seen_.gaps;
    }
    const std::string token = page["after"];
    for (const Json& message : page["messages"]) Take(token, message.dump());
    const std::lock_guard<std::mutex> lock(mutex_);
    seen_.token = token;
  }
}

void FeedReader::Stream(uint16_t port) {
  RawSocket socket = RawSocket::Connect(port);
  const std::string after = seen().token;
  // A browser names the first position in the address, and its last id when it comes back.
  const std::string last = after == "begin" ? "" : "Last-Event-ID: " + after + "\r\n";
  if (!socket.Send("GET /messages/stream?after=begin" + filter_ + " HTTP/1.1\r\nHost: test\r\n" +
                   last + "Accept: text/event-stream\r\n\r\n")) {
    return;
  }
  std::string input;
  std::string body;
  Chunks chunks;
  bool head = true;
  auto heard = http::testing::Clock::now();
  while (!stopping_) {
    const auto read = socket.ReadSome(&input, kLook);
    if (read == RawSocket::Read::kNothing) {
      if (http::testing::Clock::now() - heard < kSilence) continue;
      return Problem("no heartbeat");
    }
    if (read != RawSocket::Read::kData) return;
    heard = http::testing::Clock::now();
    if (head) {
      const size_t end = input.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      if (input.find(" 200 ") > 12) {
        if (input.find(" 503 ") > 12) Problem(input);
        return;
      }
      input.erase(0, end + 4);
      head = false;
    }
    const bool more = chunks.Take(&input, &body);
    size_t end = 0;
    while ((end = body.find("\n\n")) != std::string::npos) {
      std::string id;
      std::string event;
      std::string data;
      std::string block = body.substr(0, end + 1);
      body.erase(0, end + 2);
      while (!block.empty()) {
        const size_t line_end = block.find('\n');
        const std::string line = block.substr(0, line_end);
        block.erase(0, line_end + 1);
        if (line.starts_with("id: ")) id = line.substr(4);
        if (line.starts_with("event: ")) event = line.substr(7);
        if (line.starts_with("data: ")) data = line.substr(6);
      }
      if (event == "message") {
        Take(id, data);
        continue;
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      if (event == "gap") ++seen_.gaps;
      if (event == "status") behind_ = data.find("true") != std::string::npos;
      if (!id.empty()) seen_.token = id;
    }
    if (!more) return;
  }
}

void FeedReader::Socket(uint16_t port) {
  RawWebSocket socket(port, "/ws");
  if (!socket.open()) return;
  // {"room":"x"} of "&room=x".
  std::string filter;
  if (!filter_.empty()) {
    const size_t equals = filter_.find('=');
    filter = ",\"" + filter_.substr(1, equals - 1) + "\":\"" + filter_.substr(equals + 1) + "\"";
  }
  socket.Send("{\"op\":\"subscribe\",\"after\":\"" + seen().token + "\"" + filter + "}");
  while (!stopping_ && socket.open()) {
    const auto text = socket.ReadText(kLook);
    if (!text) continue;
    const Json said = Json::parse(*text, nullptr, false);
    const std::string op = said.is_object() ? said.value("op", "") : "";
    if (op == "message") {
      Take(said.value("token", ""), said["message"].dump());
      continue;
    }
    if (op == "error" && said["problem"].value("status", 0) != 503) Problem(*text);
    if (op == "error") return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (op == "gap") ++seen_.gaps;
    if (op == "status") behind_ = said.value("behind", false);
    if (op == "subscribed") seen_.token = said.value("token", "");
  }
}

RawWebSocket::RawWebSocket(uint16_t port, const std::string& path, const std::string& headers)
    : socket_(RawSocket::Connect(port)) {
  socket_.Send("GET " + path +
               " HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
               headers + "\r\n");
  while (answer_.find("\r\n\r\n") == std::string::npos) {
    if (socket_.ReadSome(&answer_) != RawSocket::Read::kData) return;
  }
  const size_t end = answer_.find("\r\n\r\n") + 4;
  input_ = answer_.substr(end);
  answer_.resize(end);
  // The accept value of RFC 6455, section 1.3, for its sample key.
  open_ = answer_.starts_with("HTTP/1.1 101 ") &&
          answer_.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != std::string::npos;
}

bool RawWebSocket::Send(const std::string& payload, int opcode, bool fin) {
  constexpr unsigned char kMask[4] = {0x12, 0x34, 0x56, 0x78};
  std::string frame;
  frame += static_cast<char>((fin ? 0x80 : 0) | opcode);
  const size_t size = payload.size();
  if (size < 126) {
    frame += static_cast<char>(0x80 | size);
  } else if (size < 65536) {
    frame += static_cast<char>(0x80 | 126);
    for (int shift = 8; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift);
  } else {
    frame += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift);
  }
  frame.append(reinterpret_cast<const char*>(kMask), 4);
  for (size_t i = 0; i < size; ++i) frame += static_cast<char>(payload[i] ^ kMask[i % 4]);
  return socket_.Send(frame);
}

std::optional<RawWebSocket::Frame> RawWebSocket::Read(milliseconds wait) {
  const auto until = http::testing::Clock::now() + wait;
  while (open_) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(input_[i]); };
    if (input_.size() >= 2) {
      size_t head = 2;
      uint64_t size = byte(1) & 0x7f;
      const size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
      if (input_.size() >= head + more) {
        if (more > 0) size = 0;
        for (size_t i = 0; i < more; ++i) size = size << 8 | byte(head + i);
        head += more;
        if (input_.size() >= head + size) {
          Frame frame{byte(0) & 0x0f, (byte(0) & 0x80) != 0, input_.substr(head, size)};
          input_.erase(0, head + size);
          return frame;
        }
      }
    }
    const auto left = std::chrono::duration_cast<milliseconds>(until - http::testing::Clock::now());
    if (left.count() < 0) return std::nullopt;
    const auto read = socket_.ReadSome(&input_, left);
    if (read == RawSocket::Read::kNothing) return std::nullopt;
    if (read != RawSocket::Read::kData) open_ = false;
  }
  return std::nullopt;
}

std::optional<std::string> RawWebSocket::ReadText(milliseconds wait) {
  std::string text;
  while (auto frame = Read(wait)) {
    if (frame->opcode == 9) Send(frame->payload, 10);
    if (frame->opcode == 8) {
      Send(frame->payload, 8);
      open_ = false;
      return std::nullopt;
    }
    if (frame->opcode > 2) continue;
    text += frame->payload;
    if (frame->fin) return text;
  }
  return std::nullopt;
}

}  // namespace chatchain::testing
