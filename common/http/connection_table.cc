// SPDX-License-Identifier: MIT
#include "common/http/connection_table.h"

#include <sys/socket.h>

#include "common/http/connection.h"

namespace chatchain::http {

ConnectionTable::Admission ConnectionTable::Check(const std::string& address) const {
  MutexLock lock(mutex_);
  if (connections_.size() - refused_ >= max_connections_) return Admission::kTooMany;
  const auto found = per_address_.find(address);
  const bool over = found != per_address_.end() && found->second >= max_per_address_;
  return over ? Admission::kTooManyOfAddress : Admission::kAdmitted;
}

void ConnectionTable::Add(Connection* connection) {
  MutexLock lock(mutex_);
  connection->table_index_ = connections_.size();
  connections_.push_back(connection);
  ++open_;
  if (connection->refused_) {
    ++refused_;
  } else {
    ++per_address_[connection->remote_address_];
  }
}

void ConnectionTable::Remove(Connection* connection) {
  MutexLock lock(mutex_);
  const size_t index = connection->table_index_;
  connections_[index] = connections_.back();
  connections_[index]->table_index_ = index;
  connections_.pop_back();
  if (connection->refused_) {
    --refused_;
    return;
  }
  const auto found = per_address_.find(connection->remote_address_);
  if (--found->second == 0) per_address_.erase(found);
}

void ConnectionTable::Gone() {
  MutexLock lock(mutex_);
  if (--open_ == 0) empty_.NotifyAll();
}

void ConnectionTable::Cut(Connection* connection, int64_t deadline_ns) {
  // The phase belongs to this deadline: its owner changes neither before it has seen the cut.
  const Connection::Phase phase = connection->phase_;
  if (!connection->deadline_ns_.compare_exchange_strong(deadline_ns, Connection::kCut)) return;
  const bool reading = phase == Connection::Phase::kIdle || phase == Connection::Phase::kHead ||
                       phase == Connection::Phase::kBody;
  ::shutdown(connection->fd_, reading ? SHUT_RD : SHUT_RDWR);
}

void ConnectionTable::CutExpired(int64_t now_ns) {
  MutexLock lock(mutex_);
  for (Connection* connection : connections_) {
    const int64_t deadline_ns = connection->deadline_ns_;
    if (deadline_ns <= now_ns && deadline_ns != Connection::kCut) Cut(connection, deadline_ns);
  }
}

void ConnectionTable::CutIdle() {
  MutexLock lock(mutex_);
  for (Connection* connection : connections_) {
    const int64_t deadline_ns = connection->deadline_ns_;
    const Connection::Phase phase = connection->phase_;
    const bool waits = phase == Connection::Phase::kIdle || phase == Connection::Phase::kHead;
    if (waits && deadline_ns != Connection::kCut && deadline_ns != Connection::kNever) {
      Cut(connection, deadline_ns);
    }
  }
}

size_t ConnectionTable::CutAll() {
  MutexLock lock(mutex_);
  for (Connection* connection : connections_) ::shutdown(connection->fd_, SHUT_RDWR);
  return connections_.size();
}

bool ConnectionTable::WaitEmpty(SteadyTime deadline) {
  MutexLock lock(mutex_);
  while (open_ > 0) {
    if (!empty_.WaitUntil(mutex_, deadline)) return open_ == 0;
  }
  return true;
}

size_t ConnectionTable::refused() const {
  MutexLock lock(mutex_);
  return refused_;
}

size_t ConnectionTable::size() const {
  MutexLock lock(mutex_);
  return open_;
}

}  // namespace chatchain::http
