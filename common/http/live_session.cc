// SPDX-License-Identifier: MIT
#include "common/http/live_session.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <string>
#include <utility>

#include "common/http/answer.h"
#include "common/http/connection.h"

namespace chatchain::http {

namespace {

constexpr size_t kInputBytes = 64 * 1024;  // that a reader may send meanwhile

}  // namespace

void LiveSession::Start() {
  Read();
  body_->Begin([weak = connection_.weak_from_this()] {
    if (const auto connection = weak.lock()) connection->live_->Pump();
  });
  Pump();
}

void LiveSession::End() {
  if (body_ != nullptr) std::exchange(body_, nullptr)->End();
}

// What is read means nothing, but its end does.
void LiveSession::Read() {
  connection_.socket_.async_read_some(
      boost::asio::buffer(connection_.in_),
      boost::asio::bind_executor(*connection_.core_.live_strand,
                                 [this, keep = connection_.shared_from_this()](
                                     const boost::system::error_code& error, size_t bytes) {
                                   connection_.discarded_ += bytes;
                                   if (error || connection_.discarded_ > kInputBytes)
                                     return connection_.Close(false);
                                   Read();
                                 }));
}

void LiveSession::Pump() {
  if (body_ == nullptr || blocked_ || pumping_ || finished_) return;
  const std::shared_ptr<Connection> keep = connection_.shared_from_this();
  std::string& out = connection_.out_;
  pumping_ = true;
  std::string part;
  while (true) {
    if (!out.empty()) {
      if (!connection_.SendSome()) return connection_.Close(true);
      if (!out.empty()) break;
    }
    if (complete_) break;
    part.clear();
    const LiveBody::Step step = body_->Fill(&part, connection_.core_.draining);
    complete_ = step == LiveBody::Step::kEnd;
    if (!complete_ && part.empty()) break;
    if (chunked_) {
      AppendChunk(part, &out);
    } else {
      out += part;
    }
    if (complete_ && chunked_) AppendLastChunk(&out);
  }
  pumping_ = false;
  if (!out.empty()) return WaitToSend();
  if (complete_) Finish();
}

void LiveSession::WaitToSend() {
  if (!connection_.Account()) {
    connection_.core_.requests_shed.fetch_add(1, std::memory_order_relaxed);
    return connection_.Close(true);
  }
  blocked_ = true;
  connection_.Arm(Connection::Phase::kWriting, connection_.core_.options.write_timeout_ms);
  connection_.socket_.async_wait(
      boost::asio::ip::tcp::socket::wait_write,
      boost::asio::bind_executor(
          *connection_.core_.live_strand,
          [this, keep = connection_.shared_from_this()](const boost::system::error_code& error) {
            const bool in_time = connection_.Disarm();
            if (connection_.closed_) return;
            if (error || !in_time) return connection_.Close(true);
            connection_.phase_ = Connection::Phase::kLive;
            blocked_ = false;
            Pump();
          }));
}

// The reader closes when it has seen the end.
void LiveSession::Finish() {
  finished_ = true;
  connection_.EndSending();
}

}  // namespace chatchain::http
