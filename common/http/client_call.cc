// SPDX-License-Identifier: MIT
#include "common/http/client_call.h"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <utility>

#include "common/http/exchange.h"
#include "common/http/read_buffer.h"
#include "common/util/contain.h"
#include "common/util/error_text.h"

namespace chatchain::http {

// A connection to a server, of the loop from when it is made.
class LoopConnection {
 public:
  LoopConnection(EventLoop& loop, int fd, int family)
      : loop_(loop),
        socket_(loop.io(),
                family == AF_INET6 ? boost::asio::ip::tcp::v6() : boost::asio::ip::tcp::v4(), fd) {
    boost::system::error_code ignored;
    socket_.native_non_blocking(true, ignored);
  }
  const EventLoop* loop() const { return &loop_; }
  int fd() { return socket_.native_handle(); }
  boost::asio::ip::tcp::socket& socket() { return socket_; }
  boost::asio::mutable_buffer buffer() { return boost::asio::buffer(in_); }
  std::string_view filled(size_t bytes) const { return {in_.data(), bytes}; }
  bool full(size_t bytes) const { return bytes == in_.size(); }

 private:
  EventLoop& loop_;
  boost::asio::ip::tcp::socket socket_;
  std::array<char, 4096> in_;
};

namespace {

using Kind = TransportError::Kind;
using boost::asio::ip::tcp;

constexpr std::chrono::milliseconds kResolveSlice{20};
constexpr int kReadsInARow = 16;  // 1 MiB, then others have their turn

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}

// After Begin() everything happens on the loop, so that nothing here needs a lock. Times and
// cancels only shut the socket down: the operation under way then ends, and sees why.
class LoopCall final : public EventLoop::Timed, public std::enable_shared_from_this<LoopCall> {
 public:
  LoopCall(EventLoop& loop, std::shared_ptr<ClientCore> core, ClientRequest request,
           SteadyTime deadline, std::shared_ptr<Cancellation::State> cancellation,
           Client::Done done)
      : loop_(loop),
        core_(std::move(core)),
        request_(std::move(request)),
        call_{core_->address, deadline, std::move(cancellation)},
        done_(std::move(done)) {}

  // Dropped with its loop it has not finished: a later cancel must not find the descriptor, which
  // somebody else may have by then.
  ~LoopCall() override { call_.Unwatch(); }

  // On any thread. The first bytes leave on it, where a connection is there. Where this throws,
  // `done` is dropped.
  void Begin() {
    try {
      TryBegin();
    } catch (...) {
      GiveUp();
      throw;
    }
  }

  void OnDue() override {
    Guarded([&] {
      if (done_ == nullptr) return;
      if (phase_ == Phase::kResolving) return Resolve(/*again=*/true);
      timed_out_ = true;
      ::shutdown(fd_, SHUT_RDWR);
    });
  }

 private:
  enum class Phase { kResolving, kConnecting, kExchanging };

  // On the loop. What throws ends this call: nobody else would.
  template <typename Work>
  void Guarded(Work work) {
    if (Contained("a call to a server", work) || done_ == nullptr) return;
    if (!Contained("the end of a call to a server", [this] {
          Finish(Err(call_.Fail(Kind::kBroken, "the exchange could not be handled")));
        })) {
      GiveUp();
    }
  }

  void GiveUp() {
    done_ = nullptr;
    call_.Unwatch();
    if (watched_) loop_.Unwatch(this);
    CloseConnection();
  }

  void TryBegin() {
    auto head = MakeRequestHead(request_, core_->address);
    if (!head || call_.Cancelled() || Now() >= call_.deadline) {
      loop_.Post([self = shared_from_this(), bad = !head] {
        self->Guarded([&] {
          self->Finish(Err(bad ? self->call_.Fail(Kind::kBroken, kNotARequest)
                               : self->call_.Fail(Kind::kTimeout, "no time was left")));
        });
      });
      return;
    }
    head_ = std::move(*head);
    kept_ = core_->idle_on_loop.Take(
        [this](const LoopConnection& connection) { return connection.loop() == &loop_; });
    if (kept_ == nullptr) {
      loop_.Post(
          [self = shared_from_this()] { self->Guarded([&] { self->Resolve(/*again=*/false); }); });
      return;
    }
    fd_ = kept_->fd();
    set_due(call_.deadline);
    watched_ = true;
    loop_.Watch(shared_from_this());
    exchange_.emplace(call_, head_, request_, core_->options.max_response_bytes);
    const bool watched = call_.Watch(fd_);
    if (!watched || !exchange_->Send(fd_) || exchange_->more_to_send()) {
      loop_.Post([self = shared_from_this()] { self->Guarded([&] { self->GoOn(); }); });
    } else {
      Read();
    }
  }

  // ---- a new connection

  void Resolve(bool again) {
    phase_ = Phase::kResolving;
    if (!again) {
      until_ = std::min(call_.deadline, Now() + ConnectTimeout());
      lookup_ = 0;
      next_address_ = 0;
    }
    if (call_.Cancelled()) return Finish(Err(call_.Fail(Kind::kCancelled, "")));
    auto found = core_->resolver->TryResolve(&lookup_);
    if (!found && Now() < until_) {
      SetDue(std::min(until_, Now() + kResolveSlice));
      return;
    }
    addresses_ = found ? std::move(*found) : core_->resolver->Former();
    error_ = call_.Fail(Now() >= call_.deadline ? Kind::kTimeout : Kind::kConnect,
                        "the host name has no address");
    ConnectNext();
  }

  void ConnectNext() {
    phase_ = Phase::kConnecting;
    while (next_address_ < addresses_.size()) {
      const Address& address = addresses_[next_address_++];
      int error = 0;
      const int fd = BeginConnect(address, &error);
      if (fd < 0) {
        error_ = call_.Fail(Kind::kConnect, "no socket: " + ErrorText(error));
        continue;
      }
      kept_ = std::make_shared<LoopConnection>(loop_, fd, address.storage.ss_family);
      fd_ = fd;
      timed_out_ = false;
      if (error != 0 && error != EINPROGRESS) {
        error_ = call_.Fail(Kind::kConnect, "cannot connect: " + ErrorText(error));
        continue;
      }
      if (!call_.Watch(fd)) return Finish(Err(call_.Fail(Kind::kCancelled, "")));
      until_ = std::min(call_.deadline, Now() + ConnectTimeout());
      SetDue(until_);
      kept_->socket().async_wait(tcp::socket::wait_write,
                                 [self = shared_from_this()](const boost::system::error_code&) {
                                   self->Guarded([&] { self->OnConnected(); });
                                 });
      return;
    }
    Finish(Err(std::move(*error_)));
  }

  void OnConnected() {
    call_.Unwatch();
    if (call_.Cancelled()) return Finish(Err(call_.Fail(Kind::kCancelled, "")));
    if (timed_out_) {
      const bool all_over = Now() >= call_.deadline;
      error_ = call_.Fail(all_over ? Kind::kTimeout : Kind::kConnect, "no connection in time");
      if (all_over) return Finish(Err(std::move(*error_)));
      return ConnectNext();
    }
    pollfd state{fd_, POLLOUT, 0};
    ::poll(&state, 1, 0);
    if (const int error = EndConnect(fd_, (state.revents & POLLHUP) != 0); error != 0) {
      error_ = call_.Fail(Kind::kConnect, "cannot connect: " + ErrorText(error));
      return ConnectNext();
    }
    fresh_ = true;
    SetDue(call_.deadline);
    exchange_.emplace(call_, head_, request_, core_->options.max_response_bytes);
    call_.Watch(fd_);
    GoOn();
  }

  // ---- the exchange

  // Sends, and reads beside it.
  void GoOn() {
    phase_ = Phase::kExchanging;
    if (call_.Cancelled()) return Fail(call_.Fail(Kind::kCancelled, ""));
    if (auto sent = exchange_->Send(fd_); !sent) return Fail(std::move(sent.error()));
    if (exchange_->more_to_send()) AwaitRoom();
    Read();
  }

  void AwaitRoom() {
    kept_->socket().async_wait(
        tcp::socket::wait_write,
        [self = shared_from_this(), connection = kept_](const boost::system::error_code& error) {
          if (error || self->done_ == nullptr) return;
          if (self->kept_ != connection) return;
          self->Guarded([&] {
            // What cannot be sent shows when it is read.
            (void)self->exchange_->Send(self->fd_);
            if (self->exchange_->more_to_send()) self->AwaitRoom();
          });
        });
  }

  void Read() {
    kept_->socket().async_read_some(
        kept_->buffer(),
        [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
          self->Guarded([&] { self->OnRead(error ? error.value() : 0, bytes); });
        });
  }

  void OnRead(int error, size_t bytes) {
    if (done_ == nullptr) return;  // something has thrown meanwhile
    phase_ = Phase::kExchanging;
    if (bytes == 0) return Fail(exchange_->End(error == boost::asio::error::eof ? 0 : error));
    auto done = exchange_->Take(kept_->filled(bytes));
    // There is probably more: through a large buffer that all calls share.
    if (done && !*done && kept_->full(bytes)) {
      for (int reads = 0; done && !*done && reads < kReadsInARow; ++reads) {
        const ssize_t n = ::recv(fd_, ReadBuffer<LoopCall>(), kReadBufferBytes, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return Fail(exchange_->End(n < 0 ? errno : 0));
        done = exchange_->Take({ReadBuffer<LoopCall>(), static_cast<size_t>(n)});
      }
    }
    if (!done) return Fail(std::move(done.error()));
    // Looked at also when something came: a peer that drips bytes does not extend the call.
    if (!*done && Now() >= call_.deadline) timed_out_ = true;
    if (!*done && timed_out_) return Fail(call_.Fail(Kind::kTimeout, ""));
    if (!*done) return Read();
    bool reusable = false;
    ClientResponse response = exchange_->TakeResponse(&reusable);
    call_.Unwatch();
    // A cancel, or a time, that came after the answer has shut the socket down.
    if (reusable && !timed_out_ && !call_.Cancelled()) {
      core_->idle_on_loop.Keep(std::exchange(kept_, nullptr));
    }
    Finish(std::move(response));
  }

  void Fail(TransportError error) {
    call_.Unwatch();
    if (timed_out_ && error.kind != Kind::kCancelled) {
      error = call_.Fail(Kind::kTimeout, "no complete answer in time");
    }
    // A kept connection that turns out to be dead is replaced once.
    if (!fresh_ && !call_.sent && error.kind == Kind::kBroken) {
      CloseConnection();
      return Resolve(/*again=*/false);
    }
    Finish(Err(std::move(error)));
  }

  void Finish(Result<ClientResponse, TransportError> result) {
    if (done_ == nullptr) return;
    call_.Unwatch();
    if (watched_) loop_.Unwatch(this);
    CloseConnection();
    std::exchange(done_, nullptr)(std::move(result));
  }

  // Ends a wait for room too, where the answer came before all was sent.
  void CloseConnection() {
    if (kept_ == nullptr) return;
    boost::system::error_code ignored;
    kept_->socket().close(ignored);
    kept_ = nullptr;
  }

  void SetDue(SteadyTime at) {
    set_due(at);
    if (!std::exchange(watched_, true)) loop_.Watch(shared_from_this());
  }

  std::chrono::milliseconds ConnectTimeout() const {
    return std::chrono::milliseconds(core_->options.connect_timeout_ms);
  }

  EventLoop& loop_;
  const std::shared_ptr<ClientCore> core_;
  const ClientRequest request_;
  CallState call_;
  Client::Done done_;  // null: it is over
  std::string head_;
  std::optional<Exchange> exchange_;
  std::shared_ptr<LoopConnection> kept_;
  uint64_t lookup_ = 0;  // see Resolver::TryResolve()
  std::vector<Address> addresses_;
  size_t next_address_ = 0;
  std::optional<TransportError> error_;
  SteadyTime until_{};
  Phase phase_ = Phase::kExchanging;
  int fd_ = -1;
  bool fresh_ = false;    // made for this call
  bool watched_ = false;  // by the loop
  bool timed_out_ = false;
};

}  // namespace

void StartCall(EventLoop& loop, std::shared_ptr<ClientCore> core, ClientRequest request,
               SteadyTime deadline, std::shared_ptr<Cancellation::State> cancellation,
               Client::Done done) {
  std::make_shared<LoopCall>(loop, std::move(core), std::move(request), deadline,
                             std::move(cancellation), std::move(done))
      ->Begin();
}

}  // namespace chatchain::http
