// SPDX-License-Identifier: MIT
#include "common/http/websocket.h"

#include <strings.h>

#include <algorithm>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket.hpp>
#include <utility>

#include "common/http/connection.h"
#include "common/http/websocket_session.h"
#include "common/util/log.h"

namespace chatchain::http {

namespace {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using boost::asio::ip::tcp;
using Error = boost::system::error_code;

constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kPingEveryNs = 15'000 * kNsPerMs;
constexpr int kSilentMs = 40'000;  // then the peer is taken for dead
constexpr int kHandshakeMs = 10'000;
constexpr int kCloseMs = 5'000;
// permessage-deflate keeps a window for each connection and direction. Small ones: 5,000
// connections with zlib's default would hold more than a gigabyte.
constexpr int kWindowBits = 10;
constexpr int kMemLevel = 2;

bool EqualNoCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool HasListItem(const Request& request, std::string_view field, std::string_view item) {
  for (const auto& [name, value] : request.headers.all()) {
    if (!EqualNoCase(name, field)) continue;
    std::string_view rest = value;
    while (true) {
      const size_t comma = rest.find(',');
      std::string_view part = rest.substr(0, comma);
      while (!part.empty() && (part.front() == ' ' || part.front() == '\t')) part.remove_prefix(1);
      while (!part.empty() && (part.back() == ' ' || part.back() == '\t')) part.remove_suffix(1);
      if (EqualNoCase(part, item)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

// "https://chat.example:8443" is our own for `Host: chat.example:8443`.
bool IsOwnOrigin(std::string_view origin, std::optional<std::string_view> host) {
  const size_t scheme = origin.find("://");
  return host && scheme != std::string_view::npos && EqualNoCase(origin.substr(scheme + 3), *host);
}

class Session final : public WebSocketSession, public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Connection> connection, std::shared_ptr<WebSocketApp> app)
      : core_(CoreOf(*connection)),
        strand_(*core_.live_strand),
        connection_(std::move(connection)),
        app_(std::move(app)),
        stream_(SocketOf(*connection_)) {}

  void Start(Request request) override;
  void Tick() override;
  void End() override;

  void Poke() override { Write(); }
  void Close(int code, const std::string& reason) override;
  void SetReading(bool on) override;
  void Run(std::function<void()> work, std::function<void()> done) override;

 private:
  template <typename Handler>
  auto Bound(Handler handler) {
    return boost::asio::bind_executor(strand_, std::move(handler));
  }
  bool over() const { return connection_ == nullptr; }
  void Read();
  void OnRead(const Error& error);
  void Write();
  void TryClose();
  void Fail();

  ServerCore& core_;
  ServerCore::Strand strand_;
  std::shared_ptr<Connection> connection_;  // null: it has ended
  std::shared_ptr<WebSocketApp> app_;
  websocket::stream<tcp::socket&, true> stream_;
  beast::http::request<beast::http::string_body> upgrade_;
  beast::flat_buffer input_;
  std::optional<WebSocketMessage> sending_;
  std::optional<websocket::close_reason> closing_;
  int64_t pinged_ns_ = 0;
  bool open_ = false;
  bool reading_ = false;
  bool want_reading_ = true;
  bool pinging_ = false;
  bool close_sent_ = false;
};

// Work for the pool that a connection is not.
class Job final : public WorkerPool::Task {
 public:
  Job(ServerCore& core, std::function<void()> work, std::function<void()> then)
      : core_(core), work_(std::move(work)), then_(std::move(then)) {
    core_.in_flight.fetch_add(1);
  }
  void RunTask() override {
    try {
      work_();
    } catch (const std::exception& error) {
      spdlog::error("the work of a WebSocket failed: {}", LogSafe(error.what()));
    }
    core_.in_flight.fetch_sub(1);
    then_();
  }

 private:
  ServerCore& core_;
  const std::function<void()> work_;
  const std::function<void()> then_;
};

void Session::Start(Request request) {
  upgrade_.method(beast::http::verb::get);
  upgrade_.target(request.target);
  upgrade_.version(11);
  for (const auto& [name, value] : request.headers.all()) upgrade_.insert(name, value);

  websocket::permessage_deflate deflate;
  deflate.server_enable = true;
  deflate.server_max_window_bits = kWindowBits;
  deflate.client_max_window_bits = kWindowBits;
  deflate.server_no_context_takeover = true;
  deflate.client_no_context_takeover = true;
  deflate.memLevel = kMemLevel;
  stream_.set_option(deflate);
  stream_.set_option(websocket::stream_base::decorator([this](websocket::response_type& response) {
    for (const auto& [name, value] : core_.options.fixed_headers) response.set(name, value);
    response.set(beast::http::field::server, "chatchain");
  }));
  // Time is kept by the table of connections and by Tick().
  stream_.set_option(websocket::stream_base::timeout{websocket::stream_base::none(),
                                                     websocket::stream_base::none(), false});
  stream_.auto_fragment(false);
  stream_.read_message_max(app_->max_message_bytes());
  stream_.control_callback([this](websocket::frame_type /*kind*/, beast::string_view /*payload*/) {
    if (!over()) Keep(*connection_, kSilentMs);
  });
  Keep(*connection_, kHandshakeMs);
  stream_.async_accept(upgrade_, Bound([self = shared_from_this()](const Error& error) {
                         if (self->over()) return;
                         if (error) return self->Fail();
                         self->upgrade_ = {};
                         self->open_ = true;
                         self->pinged_ns_ = NowNs();
                         Keep(*self->connection_, kSilentMs);
                         self->app_->Begin(self.get());
                         self->Read();
                         self->Write();
                         if (self->core_.draining) self->Tick();
                       }));
}

void Session::Read() {
  if (over() || !open_ || reading_ || !want_reading_) return;
  reading_ = true;
  stream_.async_read(input_, Bound([self = shared_from_this()](const Error& error, size_t) {
                       self->reading_ = false;
                       if (!self->over()) self->OnRead(error);
                     }));
}

void Session::OnRead(const Error& error) {
  // Closed by either side, with or without a close frame: Beast has answered what is to be
  // answered.
  if (error) return Fail();
  Keep(*connection_, kSilentMs);
  std::string data = beast::buffers_to_string(input_.data());
  // A long message's memory is not kept.
  input_ = beast::flat_buffer();
  const std::shared_ptr<Session> self = shared_from_this();
  if (!closing_) app_->OnMessage(std::move(data), stream_.got_binary());
  Read();
}

void Session::SetReading(bool on) {
  want_reading_ = on;
  // On the next turn of the loop: the caller may be OnMessage().
  if (on) boost::asio::post(strand_, [self = shared_from_this()] { self->Read(); });
}

void Session::Write() {
  if (over() || !open_ || sending_ || close_sent_) return;
  if (closing_) return TryClose();
  sending_ = app_->Next();
  if (!sending_) return;
  stream_.binary(sending_->binary);
  stream_.async_write(boost::asio::buffer(*sending_->data),
                      Bound([self = shared_from_this()](const Error& error, size_t) {
                        self->sending_.reset();
                        if (self->over()) return;
                        if (error) return self->Fail();
                        self->Write();
                      }));
}

void Session::Close(int code, const std::string& reason) {
  if (over() || closing_) return;
  closing_ = websocket::close_reason(static_cast<websocket::close_code>(code), reason);
  TryClose();
}

void Session::TryClose() {
  if (over() || !open_ || sending_ || close_sent_) return;
  close_sent_ = true;
  Keep(*connection_, kCloseMs);
  stream_.async_close(*closing_,
                      Bound([self = shared_from_this()](const Error& /*error*/) { self->Fail(); }));
}

void Session::Tick() {
  if (over() || !open_) return;
  if (core_.draining) Close(kCloseGoingAway, "the server is shutting down");
  const int64_t now_ns = NowNs();
  // It is we who do not listen.
  if (!want_reading_ && !close_sent_) Keep(*connection_, kSilentMs);
  if (!pinging_ && !close_sent_ && now_ns - pinged_ns_ >= kPingEveryNs) {
    pinging_ = true;
    pinged_ns_ = now_ns;
    stream_.async_ping({}, Bound([self = shared_from_this()](const Error& error) {
                         self->pinging_ = false;
                         if (error && !self->over()) self->Fail();
                       }));
  }
  Write();
}

void Session::Run(std::function<void()> work, std::function<void()> done) {
  core_.pool.Post(std::make_shared<Job>(core_, std::move(work),
                                        [self = shared_from_this(), done = std::move(done)] {
                                          boost::asio::post(self->strand_, [self, done] {
                                            if (!self->over()) done();
                                          });
                                        }),
                  false);
}

void Session::Fail() {
  // The connection ends this session, which gives it up.
  if (const std::shared_ptr<Connection> connection = connection_) CloseOf(*connection);
}

void Session::End() {
  if (over()) return;
  const std::shared_ptr<Connection> connection = std::move(connection_);
  connection_ = nullptr;
  if (open_) app_->End();
  app_ = nullptr;
}

}  // namespace

ServerCore& WebSocketSession::CoreOf(Connection& connection) {
  return connection.core_;
}

boost::asio::ip::tcp::socket& WebSocketSession::SocketOf(Connection& connection) {
  return connection.socket_;
}

void WebSocketSession::Keep(Connection& connection, int timeout_ms) {
  // One that has been cut stays so.
  if (connection.Disarm()) connection.Arm(Connection::Phase::kLive, timeout_ms);
}

void WebSocketSession::CloseOf(Connection& connection) {
  connection.Close(false);
}

std::shared_ptr<WebSocketSession> MakeWebSocketSession(std::shared_ptr<Connection> connection,
                                                       std::shared_ptr<WebSocketApp> app) {
  return std::make_shared<Session>(std::move(connection), std::move(app));
}

std::optional<Problem> CheckUpgrade(const Request& request,
                                    const std::vector<std::string>& origins) {
  if (!HasListItem(request, "Upgrade", "websocket") ||
      !HasListItem(request, "Connection", "upgrade")) {
    Problem problem = MakeProblem(426, "", "this path speaks WebSocket (RFC 6455) only");
    problem.headers.emplace_back("Upgrade", "websocket");
    return problem;
  }
  if (request.headers.Get("Sec-WebSocket-Version") != "13") {
    Problem problem = MakeProblem(426, "", "Sec-WebSocket-Version: must be 13");
    problem.headers.emplace_back("Sec-WebSocket-Version", "13");
    return problem;
  }
  const auto key = request.headers.Get("Sec-WebSocket-Key");
  if (!key || key->size() != 24 || request.headers.Count("Sec-WebSocket-Key") != 1) {
    return BadRequest("Sec-WebSocket-Key: must be 16 bytes in base64");
  }
  const auto origin = request.headers.Get("Origin");
  if (!origin || IsOwnOrigin(*origin, request.headers.Get("Host"))) return std::nullopt;
  for (const std::string& allowed : origins) {
    if (allowed == "*" || allowed == *origin) return std::nullopt;
  }
  return MakeProblem(403, "", "Origin: pages of " + Quoted(*origin) + " may not connect here");
}

}  // namespace chatchain::http
