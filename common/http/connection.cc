// SPDX-License-Identifier: MIT
#include "common/http/connection.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/http/connection_table.h"
#include "common/http/event_loop.h"
#include "common/http/later.h"
#include "common/http/live_session.h"
#include "common/http/read_buffer.h"
#include "common/http/websocket_session.h"
#include "common/util/contain.h"
#include "common/util/log.h"

namespace chatchain::http {

namespace {

constexpr int kReadsInARow = 16;  // 1 MiB, then others have their turn
constexpr size_t kFlushBytes = 64 * 1024;
constexpr int kResumesInARow = 8;
constexpr int kHandledInARow = 32;  // on an event loop; then other connections have their turn
constexpr size_t kKeptBufferBytes = 1024;
constexpr int64_t kHoldAnswersNs = 500'000;  // for the next one of a pipeline
constexpr size_t kFreeBytes = 4 * 1024;      // that a connection may hold whatever others do
constexpr size_t kSkippedBodyBytes = 64 * 1024;
constexpr int kLingerMs = 1'000;
constexpr int kLingerDrainingMs = 300;
constexpr size_t kLingerBytes = 16 * 1024 * 1024;
// What was sent to a live reader and is not acknowledged for so long will not be: with a heartbeat
// every 15 s a dead peer is noticed within 45 s.
constexpr unsigned kLiveUnacknowledgedMs = 25'000;
constexpr std::string_view kContinueAnswer = "HTTP/1.1 100 Continue\r\n\r\n";

// The answer's head needs to know that there is a source; the real one stays with the connection.
class NoSource final : public BodySource {
 public:
  Step Read(std::string* /*out*/) override { return Step::kEnd; }
};

void Clear(std::string* buffer) {
  if (buffer->capacity() > kKeptBufferBytes) {
    *buffer = std::string();
  } else {
    buffer->clear();
  }
}

}  // namespace

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

Connection::Connection(ServerCore& core, boost::asio::io_context& io, int fd, bool ipv6,
                       std::string remote_address, bool refused)
    : core_(core),
      socket_(io, ipv6 ? boost::asio::ip::tcp::v6() : boost::asio::ip::tcp::v4(), fd),
      fd_(fd),
      remote_address_(std::move(remote_address)),
      refused_(refused),
      framer_({core.options.max_head_bytes, core.options.max_target_bytes}) {
  boost::system::error_code ignored;
  socket_.native_non_blocking(true, ignored);
  core_.table.Add(this);
}

// A connection that was dropped with its operation (the loop ended) has not been closed.
Connection::~Connection() {
  Close(false);
}

void Connection::Start() {
  Go(Proceed(After::kContinue));
}

void Connection::Refuse(std::string detail) {
  close_after_answer_ = true;
  Answer(ProblemResponse(Unavailable(std::move(detail))));
  Go(Flush(After::kLinger));
}

// ---- deadlines

void Connection::Arm(Phase phase, int64_t timeout_ms) {
  phase_ = phase;
  deadline_ns_ = NowNs() + timeout_ms * 1'000'000;
}

// The clock of a head runs from its first byte and is not set back by further bytes; so does that
// of a body from the end of the head.
void Connection::ArmForInput() {
  if (framer_.idle()) {
    Arm(Phase::kIdle, core_.options.idle_timeout_ms);
  } else if (deadline_ns_ == kNever) {
    if (framer_.in_body()) {
      Arm(Phase::kBody, core_.options.body_timeout_ms);
    } else {
      Arm(Phase::kHead, core_.options.head_timeout_ms);
    }
  }
  // Either CutIdle() sees this phase, or it is seen here that draining has begun.
  if (core_.draining && phase_ != Phase::kBody) ::shutdown(fd_, SHUT_RD);
}

// ---- reading

void Connection::Read() {
  LeaveSlot();
  if (!Account() && !answered_) {
    close_after_answer_ = true;
    Answer(Shed("the server holds as much of requests as it may"));
    Flush(After::kLinger);
    return;
  }
  ArmForInput();
  socket_.async_read_some(
      boost::asio::buffer(in_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
        self->OnRead(bytes, static_cast<bool>(error));
      });
}

void Connection::OnRead(size_t bytes, bool failed) {
  if (failed) {
    if (!Disarm() || core_.draining) return OnReadCut();
    return Close(false);
  }
  if (framer_.idle() && !Disarm()) cut_ = true;  // it came just in time: answered, then closed
  if (bytes < in_.size()) return Go(Advance({in_.data(), bytes}));
  // There is probably more: a body goes through the large buffer that the thread's connections
  // share.
  char* scratch = ReadBuffer<Connection>();
  memcpy(scratch, in_.data(), bytes);
  size_t filled = bytes;
  for (int reads = 0; reads < kReadsInARow; ++reads) {
    const ssize_t n = ::recv(fd_, scratch + filled, kReadBufferBytes - filled, MSG_DONTWAIT);
    if (n > 0) filled += static_cast<size_t>(n);
    const bool more = n > 0 && filled == kReadBufferBytes;
    // Only a body takes all it is given without an answer; anything else is looked at once.
    if (!more || !framer_.WantsAll({scratch, filled})) break;
    std::string_view input(scratch, filled);
    framer_.Consume(&input);
    filled = 0;
  }
  Go(Advance({scratch, filled}));
}

void Connection::OnReadCut() {
  // Nothing of a request has come, or it has been answered and its body is being skipped.
  if (framer_.idle() || answered_) return Close(false);
  close_after_answer_ = true;
  if (core_.draining) {
    Answer(Shed("the server is shutting down"));
  } else if (phase_ == Phase::kBody) {
    AnswerError(408, "the body of the request took too long");
  } else {
    AnswerError(408, "the head of the request took too long");
  }
  Go(Flush(After::kLinger));
}

Connection::Step Connection::Advance(std::string_view input) {
  while (true) {
    switch (framer_.Consume(&input)) {
      case RequestFramer::Event::kNeedMore:
        Stash({});
        if (continue_wanted_) out_ += kContinueAnswer;
        continue_wanted_ = false;
        return Flush(After::kContinue);
      case RequestFramer::Event::kHead: {
        const Verdict verdict = OnHead();
        if (verdict == Verdict::kFinal) return Flush(After::kLinger);
        if (verdict == Verdict::kGone) return Step::kParked;
        break;
      }
      case RequestFramer::Event::kRequest:
        if (!Disarm()) cut_ = true;
        if (!answered_) {
          Stash(input);
          Account();  // it is complete: to refuse it now would save little
          return Step::kHandle;
        }
        FinishRequest();
        break;
      case RequestFramer::Event::kError:
        if (answered_) return Close(false), Step::kParked;
        AnswerError(framer_.error().status, framer_.error().detail);
        return Flush(After::kLinger);
    }
    if (out_.size() - out_sent_ > kFlushBytes) {
      if (!SendSome()) return Close(false), Step::kParked;
      if (!out_.empty()) {
        Stash(input);
        return WriteRest(After::kContinue), Step::kParked;
      }
    }
  }
}

// On the event loop: the next step of a connection that may have one.
void Connection::Go(Step step) {
  while (step == Step::kHandle) {
    if (TakeSlot(route_->never_shed)) {
      phase_ = Phase::kBusy;
      break;
    }
    Answer(Shed("too many requests are in flight"));
    const After after = AfterAnswer();
    FinishRequest();
    step = after == After::kContinue ? Proceed(after) : Flush(after);
  }
  if (step == Step::kParked) return;
  if (step == Step::kStream) {
    core_.in_flight.fetch_add(1);  // it was admitted when it began
    has_slot_ = true;
  }
  if (MayRunHere(step)) return Run(step, /*here=*/true);
  core_.pool.Post(shared_from_this(), route_->never_shed);
}

Connection::Verdict Connection::OnHead() {
  core_.requests.fetch_add(1, std::memory_order_relaxed);
  const RequestHead& head = framer_.head();
  close_after_answer_ = !head.keep_alive || cut_;
  request_ = std::make_unique<Request>();
  Router::Decision decision = core_.router.Decide(head, request_.get());
  route_ = decision.route;
  if (route_ == nullptr || !route_->never_shed) {
    if (core_.draining) {
      decision.answer = Shed("the server is shutting down");
      route_ = nullptr;
    } else if (route_ != nullptr && !has_slot_ &&
               core_.in_flight.load(std::memory_order_relaxed) >= core_.options.max_in_flight) {
      decision.answer = Shed("too many requests are in flight");
      route_ = nullptr;
    }
  }
  if (core_.draining) close_after_answer_ = true;
  if (route_ != nullptr) {
    if (!framer_.AcceptBody(route_->max_body_bytes)) {
      AnswerError(framer_.error().status, framer_.error().detail);
      return Verdict::kFinal;
    }
    continue_wanted_ = head.expect_continue && head.has_body();
    if (head.has_body()) {
      if (!Disarm()) cut_ = true;
      Arm(Phase::kBody, core_.options.body_timeout_ms);
    }
    return Verdict::kGoOn;
  }
  // The answer is final. What follows of the request is skipped if it is short and sure to come.
  const bool skip = !close_after_answer_ && !head.expect_continue &&
                    decision.answer.status != 413 && framer_.AcceptBody(kSkippedBodyBytes);
  if (!skip) close_after_answer_ = true;
  Answer(std::move(decision.answer));
  answered_ = skip;
  return skip ? Verdict::kGoOn : Verdict::kFinal;
}

bool Connection::Account() {
  const size_t request = request_ != nullptr ? request_->body.size() : 0;
  const size_t held = framer_.buffered_bytes() + request + out_.size() + pending_.size();
  const size_t counted = held > kFreeBytes ? held : 0;
  if (counted == accounted_) return true;
  const bool grows = counted > accounted_;
  const uint64_t total =
      core_.buffered_bytes.fetch_add(counted - accounted_, std::memory_order_relaxed) + counted -
      accounted_;
  accounted_ = counted;
  return !grows || total <= core_.options.max_buffered_bytes;
}

// Keeps what was not looked at. It may be the rest of pending_ itself, which is then not moved: a
// long pipeline would be copied once for each of its requests.
void Connection::Stash(std::string_view rest) {
  if (rest.empty()) {
    Clear(&pending_);
    pending_at_ = 0;
  } else if (has_pending() && rest.end() == std::string_view(pending_).end()) {
    pending_at_ = pending_.size() - rest.size();
  } else {
    pending_.assign(rest);
    pending_at_ = 0;
  }
}

// ---- running

bool Connection::TakeSlot(bool never_shed) {
  if (has_slot_) return true;
  if (core_.in_flight.fetch_add(1) >= core_.options.max_in_flight && !never_shed) {
    core_.in_flight.fetch_sub(1);
    return false;
  }
  has_slot_ = true;
  return true;
}

void Connection::LeaveSlot() {
  if (has_slot_) core_.in_flight.fetch_sub(1);
  has_slot_ = false;
}

void Connection::RunTask() {
  const std::shared_ptr<Connection> self = shared_from_this();
  // A connection that somebody else has taken over by then lives on; any other one closes.
  Contained("a request", [this] {
    Run(later_ != nullptr    ? Step::kFinish
        : source_ != nullptr ? Step::kStream
                             : Step::kHandle,
        /*here=*/false);
  });
}

bool Connection::MayRunHere(Step step) const {
  if (step == Step::kHandle) return route_->quick;
  return step == Step::kFinish && later_->finishes_at_once();
}

void Connection::Run(Step step, bool here) {
  int handled = 0;
  while (step != Step::kParked) {
    if (here && !MayRunHere(step)) {
      return core_.pool.Post(shared_from_this(), route_->never_shed);
    }
    if (here && handled++ == kHandledInARow) {
      boost::asio::post(socket_.get_executor(),
                        [self = shared_from_this(), step] { self->Run(step, /*here=*/true); });
      return;
    }
    switch (step) {
      case Step::kHandle: step = RunHandler(); break;
      case Step::kFinish: step = FinishLater(); break;
      case Step::kStream: step = ContinueStream(); break;
      case Step::kParked: break;
    }
  }
}

// The duty to go on with a connection whose answer comes later: once. Where it is forgotten
// instead, since what would have resumed was given up or has thrown, the client is told that it
// failed.
class Connection::Resumption {
 public:
  explicit Resumption(std::shared_ptr<Connection> connection)
      : core_(connection->core_), connection_(std::move(connection)) {
    core_.resumes.Add();
  }
  ~Resumption() {
    // Anybody may hold any lock here.
    End([](const std::shared_ptr<Connection>& connection) {
      boost::asio::post(connection->socket_.get_executor(),
                        [connection] { connection->OnForgotten(); });
    });
  }
  Resumption(const Resumption&) = delete;
  Resumption& operator=(const Resumption&) = delete;

  void Resume() {
    End([](const std::shared_ptr<Connection>& connection) { connection->Resume(); });
  }

 private:
  template <typename GoOn>
  void End(GoOn go_on) {
    auto connection = std::exchange(connection_, nullptr);
    if (connection == nullptr) return;
    Contained("a request", [&] { go_on(connection); });
    connection.reset();
    core_.resumes.Remove();  // the last act: nothing of the server is touched after it
  }

  ServerCore& core_;
  std::shared_ptr<Connection> connection_;  // null: done
};

// What is quick is finished on an event loop: at once where this is one, unless answers have led to
// answers (a pipeline) for a while.
void Connection::Resume() {
  thread_local int depth = 0;
  if (!MayRunHere(Step::kFinish)) return core_.pool.Post(shared_from_this(), /*urgent=*/false);
  if (EventLoop::Current() == nullptr || depth == kResumesInARow) {
    boost::asio::post(socket_.get_executor(),
                      [self = shared_from_this()] { self->Run(Step::kFinish, /*here=*/true); });
    return;
  }
  struct Nested {
    Nested() { ++depth; }
    ~Nested() { --depth; }
  } nested;
  Run(Step::kFinish, /*here=*/true);
}

void Connection::OnForgotten() {
  spdlog::error("the answer to {} {} was given up", route_->method, route_->pattern);
  forgotten_ = true;
  core_.pool.Post(shared_from_this(), /*urgent=*/false);
}

Connection::Step Connection::RunHandler() {
  // What has been answered so far is not held back for a handler that may be slow.
  if (!out_.empty() && NowNs() - out_since_ns_ > kHoldAnswersNs) {
    if (!SendSome()) return Close(false), Step::kParked;
    if (!out_.empty()) return WriteRest(After::kHandle), Step::kParked;
  }
  request_->body = framer_.TakeBody();
  request_->remote_address = remote_address_;
  request_->deadline = std::chrono::steady_clock::now() +
                       std::chrono::milliseconds(core_.options.request_timeout_ms);
  Response response = Guarded([this] { return route_->handler(*request_); });
  if (response.later == nullptr) return Respond(std::move(response));
  // Answers that came before this one on the connection do not wait for it.
  if (!out_.empty() && !SendSome()) return Close(false), Step::kParked;
  // From Begin() on, another worker may be at FinishLater().
  const std::shared_ptr<LaterAnswer> later = later_ = std::move(response.later);
  if (later->waits_long()) {
    LeaveSlot();
    WatchPeer(later);
  }
  Contained("a request", [&] {
    later->Begin(
        [resumption = std::make_shared<Resumption>(shared_from_this())] { resumption->Resume(); });
  });
  return Step::kParked;
}

// Tells `later` when the peer closes before there is an answer. One that sends more instead is
// asked no further: how long its answer may take is bounded.
void Connection::WatchPeer(const std::shared_ptr<LaterAnswer>& later) {
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                     [weak_self = weak_from_this(), weak_later = std::weak_ptr<LaterAnswer>(later)](
                         const boost::system::error_code& error) {
                       const auto self = weak_self.lock();
                       const auto waiting = weak_later.lock();
                       if (error || self == nullptr || waiting == nullptr) return;
                       char byte = 0;
                       const ssize_t n = ::recv(self->fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
                       if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
                       waiting->Cancel();
                     });
}

Connection::Step Connection::FinishLater() {
  const std::shared_ptr<LaterAnswer> later = std::move(later_);
  later_ = nullptr;
  if (!has_slot_) {
    core_.in_flight.fetch_add(1);  // it was admitted when it began
    has_slot_ = true;
  }
  const bool forgotten = std::exchange(forgotten_, false);
  return Respond(Guarded([&] { return forgotten ? later->GivenUp() : later->Finish(); }));
}

// What `make` gives, or an answer that says that it failed.
template <typename Make>
Response Connection::Guarded(Make make) {
  try {
    return make();
  } catch (...) {
    LogCaught("handler of " + route_->method + " " + route_->pattern);
  }
  return FailedResponse();
}

Connection::Step Connection::Respond(Response response) {
  if (core_.draining) close_after_answer_ = true;
  if (response.websocket != nullptr && !has_pending()) {
    websocket_ = MakeWebSocketSession(shared_from_this(), std::move(response.websocket));
    boost::asio::post(*core_.live_strand, [self = shared_from_this()] { self->BeginLive(); });
    return Step::kParked;
  }
  if (response.websocket != nullptr) {
    response = ProblemResponse(MakeProblem(400, "", "nothing may follow an upgrade unanswered"));
    close_after_answer_ = true;
  }
  if (response.live != nullptr) {
    close_after_answer_ = true;  // what follows on this connection is not looked at
    const RequestHead& head = framer_.head();
    const bool chunked = head.version_minor > 0;
    const bool head_only = head.method == "HEAD";
    std::shared_ptr<LiveBody> body = std::move(response.live);
    response.source = std::make_unique<NoSource>();
    Answer(std::move(response));
    if (!head_only) {
      live_ = std::make_unique<LiveSession>(*this, std::move(body), chunked);
      boost::asio::post(*core_.live_strand, [self = shared_from_this()] { self->BeginLive(); });
      return Step::kParked;
    }
    const After after = AfterAnswer();
    FinishRequest();
    return Flush(after);
  }
  source_ = std::move(response.source);
  if (source_ != nullptr) {
    const RequestHead& head = framer_.head();
    if (head.version_minor == 0) close_after_answer_ = true;
    response.source = std::make_unique<NoSource>();
    Answer(std::move(response));
    if (head.method != "HEAD") return Step::kStream;
    source_.reset();
  } else {
    Answer(std::move(response));
  }
  const After after = AfterAnswer();
  FinishRequest();
  // Before the peer has the answer, so that its next request finds room.
  if (!has_pending()) LeaveSlot();
  return after == After::kContinue ? Proceed(after) : Flush(after);
}

Connection::Step Connection::ContinueStream() {
  const bool chunked = framer_.head().version_minor > 0;
  while (true) {
    std::string part;
    BodySource::Step step = BodySource::Step::kAbort;
    try {
      step = source_->Read(&part);
    } catch (...) {
      LogCaught("the body of " + route_->pattern);
    }
    if (step == BodySource::Step::kAbort) {
      source_.reset();
      // Chunked, the missing last chunk tells; the end of a plain stream would look like success.
      return Flush(chunked ? After::kClose : After::kReset);
    }
    if (chunked) {
      AppendChunk(part, &out_);
    } else {
      out_ += part;
    }
    if (step == BodySource::Step::kEnd) break;
    if (!SendSome()) return Close(false), Step::kParked;
    if (!out_.empty()) return WriteRest(After::kStream), Step::kParked;
  }
  if (chunked) AppendLastChunk(&out_);
  source_.reset();
  const After after = AfterAnswer();
  FinishRequest();
  return after == After::kContinue ? Proceed(after) : Flush(after);
}

// ---- live answers

void Connection::BeginLive() {
  LeaveSlot();
  is_live_ = true;
  core_.live.insert(this);
  core_.live_count = core_.live.size();
  phase_ = Phase::kLive;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &kLiveUnacknowledgedMs,
               sizeof(kLiveUnacknowledgedMs));
  if (websocket_ != nullptr) {
    websocket_->Start(std::move(*request_));
    FinishRequest();
    return;
  }
  FinishRequest();
  pending_ = std::string();
  pending_at_ = 0;
  live_->Start();
}

void Connection::TickLive() {
  if (websocket_ != nullptr) return websocket_->Tick();
  if (live_ != nullptr) live_->Tick();
}

// ---- answering

Response Connection::Shed(std::string detail) {
  core_.requests_shed.fetch_add(1, std::memory_order_relaxed);
  return ProblemResponse(Unavailable(std::move(detail)));
}

AnswerForm Connection::FormOfAnswer() const {
  AnswerForm form;
  form.close = close_after_answer_;
  if (request_ == nullptr) return form;  // there is no whole head
  const RequestHead& head = framer_.head();
  form.head_only = head.method == "HEAD";
  form.http_1_0 = head.version_minor == 0;
  form.gzip_min_bytes = core_.options.gzip_min_bytes;
  form.accept_encoding = head.Get("Accept-Encoding");
  return form;
}

void Connection::Answer(Response response) {
  if (out_.empty()) out_since_ns_ = NowNs();
  core_.router.AddCors(request_ != nullptr ? framer_.head().Get("Origin") : std::nullopt,
                       &response);
  for (const auto& [name, value] : core_.options.fixed_headers) response.headers.Set(name, value);
  AppendAnswer(&response, FormOfAnswer(), &out_);
}

void Connection::AnswerError(int status, std::string detail) {
  close_after_answer_ = true;
  Answer(ProblemResponse(MakeProblem(status, "", std::move(detail))));
}

Connection::After Connection::AfterAnswer() const {
  if (!close_after_answer_) return After::kContinue;
  // Closing with unread input would reset the connection, perhaps before the answer was seen.
  return framer_.head().keep_alive || has_pending() ? After::kLinger : After::kClose;
}

void Connection::FinishRequest() {
  request_.reset();
  answered_ = false;
  continue_wanted_ = false;
  framer_.Reset();
}

bool Connection::SendSome() {
  while (out_sent_ < out_.size()) {
    const ssize_t sent =
        ::send(fd_, out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    out_sent_ += static_cast<size_t>(sent);
  }
  Clear(&out_);
  out_sent_ = 0;
  return true;
}

Connection::Step Connection::Flush(After after) {
  if (!SendSome()) return Close(false), Step::kParked;
  if (out_.empty()) return Proceed(after);
  WriteRest(after);
  return Step::kParked;
}

// REQUIRES: for kContinue, out_ may still hold answers: they go with the next ones.
Connection::Step Connection::Proceed(After after) {
  switch (after) {
    case After::kContinue: {
      if (has_pending()) return Advance(std::string_view(pending_).substr(pending_at_));
      if (!out_.empty()) return Flush(after);
      Read();
      return Step::kParked;
    }
    case After::kHandle: return Step::kHandle;
    case After::kStream: return Step::kStream;
    case After::kLinger: Linger(); return Step::kParked;
    case After::kClose: Close(false); return Step::kParked;
    case After::kReset: Close(true); return Step::kParked;
  }
  return Step::kParked;
}

void Connection::WriteRest(After after) {
  LeaveSlot();
  if (!Account()) {
    core_.requests_shed.fetch_add(1, std::memory_order_relaxed);
    return Close(true);
  }
  after_ = after;
  Arm(Phase::kWriting, core_.options.write_timeout_ms);
  socket_.async_write_some(
      boost::asio::buffer(out_.data() + out_sent_, out_.size() - out_sent_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
        self->OnWritten(bytes, static_cast<bool>(error));
      });
}

void Connection::OnWritten(size_t bytes, bool failed) {
  const bool in_time = Disarm();
  // What the peer does not take must not stay in the kernel's memory either: reset.
  if (failed || !in_time) return Close(true);
  out_sent_ += bytes;
  if (out_sent_ < out_.size()) return WriteRest(after_);
  Clear(&out_);
  out_sent_ = 0;
  Go(Proceed(after_));
}

// ---- ending

void Connection::Linger() {
  LeaveSlot();
  EndSending();
  Discard();
}

void Connection::EndSending() {
  ::shutdown(fd_, SHUT_WR);
  Arm(Phase::kLingering, core_.draining ? kLingerDrainingMs : kLingerMs);
}

void Connection::Discard() {
  socket_.async_read_some(
      boost::asio::buffer(in_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
        self->discarded_ += bytes;
        if (error) return self->Close(false);
        while (self->discarded_ < kLingerBytes) {
          const ssize_t n =
              ::recv(self->fd_, ReadBuffer<Connection>(), kReadBufferBytes, MSG_DONTWAIT);
          if (n > 0) self->discarded_ += static_cast<size_t>(n);
          if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return self->Discard();
          if (n <= 0 && errno != EINTR) break;
        }
        self->Close(false);
      });
}

void Connection::Close(bool reset) {
  if (closed_) return;
  closed_ = true;
  LeaveSlot();
  core_.buffered_bytes.fetch_sub(accounted_, std::memory_order_relaxed);
  source_.reset();
  if (live_ != nullptr) live_->End();
  if (websocket_ != nullptr) std::exchange(websocket_, nullptr)->End();
  if (is_live_) {
    core_.live.erase(this);
    core_.live_count = core_.live.size();
  }
  core_.table.Remove(this);
  if (reset) {
    const linger abort = {1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
  }
  boost::system::error_code ignored;
  socket_.close(ignored);
  core_.table.Gone();
}

}  // namespace chatchain::http
