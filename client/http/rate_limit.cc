// SPDX-License-Identifier: MIT
#include "client/http/rate_limit.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace chatchain {

namespace {

// Forgetting is work too: not more often than this.
constexpr auto kSweepEvery = std::chrono::seconds(1);
const std::string kOthers = "others";

std::string NameOf(const std::string& address) {
  std::array<char, 16> bytes{};
  if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return address;
  return std::string(bytes.data(), 8);
}

}  // namespace

RateLimiter::Client RateLimiter::MakeClient() const {
  const double burst = limits_.burst;
  return {.bucket = TokenBucket(burst, limits_.per_second, burst)};
}

RateLimiter::Client& RateLimiter::ClientOf(const std::string& name, SteadyTime now) {
  if (const auto found = clients_.find(name); found != clients_.end()) return found->second;
  if (clients_.size() >= max_addresses_ && now - swept_at_ >= kSweepEvery) {
    swept_at_ = now;
    std::erase_if(clients_, [&](const auto& client) { return client.second.full_at <= now; });
  }
  const bool room = clients_.size() < max_addresses_;
  return clients_.try_emplace(room ? name : kOthers, MakeClient()).first->second;
}

bool RateLimiter::Take(const std::string& address, SteadyTime now) {
  MutexLock lock(mutex_);
  if (limits_.per_second == 0) return true;
  Client& client = ClientOf(NameOf(address), now);
  if (!client.bucket.Take(now)) return false;
  const auto refill = std::chrono::duration_cast<SteadyTime::duration>(
      std::chrono::duration<double>(1.0 / limits_.per_second));
  client.full_at = std::max(client.full_at, now) + refill;
  return true;
}

void RateLimiter::set_limits(Limits limits) {
  MutexLock lock(mutex_);
  if (limits == limits_) return;
  limits_ = limits;
  clients_.clear();
}

}  // namespace chatchain
