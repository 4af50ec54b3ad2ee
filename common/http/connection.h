// SPDX-License-Identifier: MIT
// One connection of the server, from accept to close.
//
// At each moment a connection has exactly one owner: the event loop (an asynchronous read or write
// is under way, its completion runs, or a handler that is quick), one worker (a handler runs), or
// whoever resumes an answer that comes later: on an event loop, not always its own, that one
// finishes what is quick. Ownership passes on with the start of the next asynchronous operation,
// with WorkerPool::Post() or with LaterAnswer::Begin(), after which the former owner does not touch
// it. Two things may be done to it by others: the table cuts it by shutdown() when its deadline has
// passed, which ends the operation under way; its owner then cleans up.
//
// An idle connection has a small read buffer and no other memory of its own.
//
// A live answer (an event stream, a WebSocket) stays parked on the loop after its head was sent; a
// session of its own (LiveSession, WebSocketSession) then owns the connection. All live connections
// share one strand, on which their bodies are filled: what feeds them needs no lock.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/http/answer.h"
#include "common/http/framing.h"
#include "common/http/router.h"
#include "common/http/server.h"
#include "common/http/worker_pool.h"
#include "common/util/mutex.h"

namespace chatchain::http {

class Connection;
class ConnectionTable;
class LiveSession;
class WebSocketSession;

// How many answers are awaited that somebody outside of the server will resume. Thread-safe.
class PendingResumes {
 public:
  void Add() {
    MutexLock lock(mutex_);
    ++count_;
  }
  void Remove() {
    MutexLock lock(mutex_);
    if (--count_ == 0) none_.NotifyAll();
  }
  void AwaitNone() {
    MutexLock lock(mutex_);
    while (count_ > 0) none_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar none_;
  int64_t count_ GUARDED_BY(mutex_) = 0;
};

// What all connections of a server share. Outlives them.
struct ServerCore {
  const ServerOptions& options;
  const Router& router;
  ConnectionTable& table;
  WorkerPool& pool;
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
  std::optional<Strand> live_strand;  // must end before its loop

  std::unordered_set<Connection*> live;  // of the strand alone
  std::atomic<uint64_t> live_count{0};
  PendingResumes resumes;
  std::atomic<bool> draining{false};
  std::atomic<uint64_t> requests{0};
  std::atomic<uint64_t> requests_shed{0};
  std::atomic<uint64_t> in_flight{0};
  std::atomic<uint64_t> buffered_bytes{0};  // of all connections, as they last told
};

class Connection final : public WorkerPool::Task, public std::enable_shared_from_this<Connection> {
 public:
  // Takes `fd`, which is connected and non-blocking. `refused`: it does not count against the
  // limits.
  Connection(ServerCore& core, boost::asio::io_context& io, int fd, bool ipv6,
             std::string remote_address, bool refused = false);
  ~Connection() override;

  // Begins to read. Called once.
  void Start();
  // Instead of Start(): answers 503 and closes.
  void Refuse(std::string detail);

  void RunTask() override;  // on a worker

  // On the live strand, about once a second and when draining begins.
  void TickLive();

 private:
  friend class ConnectionTable;
  friend class LiveSession;
  friend class WebSocketSession;

  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  static constexpr int64_t kCut = -1;
  enum class Phase : uint8_t { kIdle, kHead, kBody, kBusy, kWriting, kLingering, kLive };
  // What the owner does once everything in out_ is with the kernel.
  enum class After : uint8_t {
    kContinue,  // go on with pending_, or read
    kHandle,    // run the handler of the request that waits
    kStream,    // ask source_ for its next part
    kLinger,    // close so that the peer sees all of the answer
    kClose,
    kReset,  // close so that the peer sees that something is missing
  };
  enum class Step : uint8_t {
    kParked,  // the connection belongs to somebody else now: do not touch it
    kHandle,  // a whole request waits for its handler
    kFinish,  // what later_ waited for has happened
    kStream,  // source_ wants to be read
  };
  enum class Verdict : uint8_t { kGoOn, kFinal, kGone };
  class Resumption;

  // -- deadlines
  void Arm(Phase phase, int64_t timeout_ms);
  // False: the deadline had passed, or Drain() began, and the table has cut the connection: reading
  // phases for reading only, so that the peer can still be answered.
  bool Disarm() { return deadline_ns_.exchange(kNever) != kCut; }
  void ArmForInput();

  // -- reading: each may pass the ownership on
  void Read();
  void OnRead(size_t bytes, bool failed);
  void OnReadCut();
  void Go(Step step);  // on the event loop
  Step Advance(std::string_view input);
  Verdict OnHead();

  // Tells what this connection holds. False: it is too much for what all may hold.
  bool Account();
  void Stash(std::string_view rest);
  bool has_pending() const { return pending_at_ < pending_.size(); }

  // -- running
  bool TakeSlot(bool never_shed);
  void LeaveSlot();
  bool MayRunHere(Step step) const;
  // Goes on with `step`, `here`: on a thread that must not block.
  void Run(Step step, bool here);
  void Resume();
  void OnForgotten();
  Step RunHandler();
  Step FinishLater();
  void WatchPeer(const std::shared_ptr<LaterAnswer>& later);
  template <typename Make>
  Response Guarded(Make make);
  Step Respond(Response response);
  Step ContinueStream();
  bool ReadSource(std::string* part, BodySource::Step* step);

  // -- live answers, on the live strand
  void BeginLive();

  // -- answering
  Response Shed(std::string detail);
  // Appends to out_.
  void Answer(Response response);
  void AnswerError(int status, std::string detail);
  AnswerForm FormOfAnswer() const;
  // Ready for the next request.
  void FinishRequest();
  After AfterAnswer() const;
  Step Flush(After after);
  // Sends what it can. False: an error.
  bool SendSome();
  Step Proceed(After after);
  void WriteRest(After after);
  void OnWritten(size_t bytes, bool failed);

  // -- ending
  // The peer is told that no more comes, and has a moment to close.
  void EndSending();
  void Linger();
  void Discard();
  void Close(bool reset);

  ServerCore& core_;
  boost::asio::ip::tcp::socket socket_;
  const int fd_;
  const std::string remote_address_;
  const bool refused_;
  size_t table_index_ = 0;  // of ConnectionTable

  std::atomic<int64_t> deadline_ns_{kNever};
  std::atomic<Phase> phase_{Phase::kIdle};

  RequestFramer framer_;
  std::unique_ptr<Request> request_;  // from its head to its answer
  const Route* route_ = nullptr;
  std::unique_ptr<BodySource> source_;
  std::shared_ptr<LaterAnswer> later_;
  std::unique_ptr<LiveSession> live_;
  std::shared_ptr<WebSocketSession> websocket_;
  std::string pending_;  // read, and from pending_at_ on not yet looked at
  size_t pending_at_ = 0;
  size_t accounted_ = 0;  // of ServerCore::buffered_bytes
  std::string out_;       // to be sent from out_sent_ on
  size_t out_sent_ = 0;
  int64_t out_since_ns_ = 0;  // when the first byte came into out_
  size_t discarded_ = 0;
  After after_ = After::kContinue;
  bool cut_ = false;  // for reading
  bool close_after_answer_ = false;
  bool answered_ = false;  // before the body came, which is now skipped
  bool continue_wanted_ = false;
  bool forgotten_ = false;  // nobody will resume later_
  bool has_slot_ = false;
  bool closed_ = false;
  bool is_live_ = false;
  std::array<char, 2048> in_;
};

// Of the steady clock, since its beginning.
int64_t NowNs();

}  // namespace chatchain::http
