// SPDX-License-Identifier: MIT
#include "common/http/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

namespace chatchain::http {

namespace {
constexpr std::chrono::milliseconds kSlice{20};  // how often a wait looks for a cancel

SteadyTime Now() {
  return std::chrono::steady_clock::now();
}
}  // namespace

std::optional<Resolver::HostPort> Resolver::Split(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == address.size())
    return std::nullopt;
  std::string_view host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{std::string(host), std::string(address.substr(colon + 1))};
}

std::vector<Address> Resolver::SystemLookup(const HostPort& where, bool numeric_only) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  std::vector<Address> addresses;
  if (getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &found) != 0) return addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Address address;
    memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.size = info->ai_addrlen;
    addresses.push_back(address);
  }
  freeaddrinfo(found);
  return addresses;
}

Resolver::Resolver(const std::string& address, Lookup lookup, SteadyTime::duration fresh_for)
    : lookup_(std::move(lookup)), fresh_for_(fresh_for), where_(Split(address)) {
  if (where_) numeric_ = lookup_(*where_, /*numeric_only=*/true);
}

void Resolver::StartLookup() {
  if (running_) return;
  running_ = true;
  try {
    std::thread([self = shared_from_this()] { self->Run(); }).detach();
  } catch (const std::system_error&) {
    running_ = false;  // no thread to be had: as if the name could not be found
    ++ended_;
  }
}

std::vector<Address> Resolver::Resolve(SteadyTime deadline,
                                       const std::function<bool()>& cancelled) {
  if (!numeric_.empty() || !where_) return numeric_;
  MutexLock lock(mutex_);
  if (Now() < fresh_until_) return addresses_;
  StartLookup();
  while (running_ && Now() < deadline && !cancelled()) {
    done_.WaitUntil(mutex_, std::min(deadline, Now() + kSlice));
  }
  // A former answer is better than none while the resolver is slow.
  return addresses_;
}

std::optional<std::vector<Address>> Resolver::TryResolve(uint64_t* lookup) {
  if (!numeric_.empty() || !where_) return numeric_;
  MutexLock lock(mutex_);
  if (Now() < fresh_until_) return addresses_;
  if (*lookup == 0) {
    *lookup = ended_ + 1;
    StartLookup();
  }
  if (ended_ < *lookup) return std::nullopt;
  return addresses_;
}

std::vector<Address> Resolver::Former() const {
  if (!numeric_.empty()) return numeric_;
  MutexLock lock(mutex_);
  return addresses_;
}

void Resolver::Run() {
  std::vector<Address> found = lookup_(*where_, /*numeric_only=*/false);
  MutexLock lock(mutex_);
  running_ = false;
  ++ended_;
  if (!found.empty()) {
    addresses_ = std::move(found);
    fresh_until_ = Now() + fresh_for_;
  }
  done_.NotifyAll();
}

}  // namespace chatchain::http
