// SPDX-License-Identifier: MIT
#include "common/util/host_port.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>

namespace chatchain {
namespace {

constexpr size_t kMaxHostBytes = 253;  // a DNS name, RFC 1035

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLower(char c) {
  return c >= 'a' && c <= 'z';
}

Result<std::string, std::string> ParseIpv6(const std::string& host) {
  in6_addr address{};
  std::array<char, INET6_ADDRSTRLEN> shortest{};
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1 ||
      inet_ntop(AF_INET6, &address, shortest.data(), shortest.size()) == nullptr) {
    return Err(std::string("has no IPv6 address between its brackets"));
  }
  return std::string(shortest.data());
}

Result<std::string, std::string> ParseName(std::string host) {
  if (host.empty()) {
    return Err(std::string("has no host (0.0.0.0 listens on every IPv4 address, [::] on all)"));
  }
  if (host.size() > kMaxHostBytes) {
    return Err("has a host of more than " + std::to_string(kMaxHostBytes) + " bytes");
  }
  bool numeric = true;
  for (char& c : host) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == ':') return Err(std::string("needs brackets round its IPv6 address: [::1]:8081"));
    if (!IsDigit(c) && !IsLower(c) && c != '.' && c != '-' && c != '_') {
      return Err(std::string("has a host with a character that no host name has"));
    }
    numeric = numeric && (IsDigit(c) || c == '.');
  }
  in_addr address{};
  if (numeric && inet_pton(AF_INET, host.c_str(), &address) != 1) {
    return Err(std::string("has a host that is no IPv4 address"));
  }
  return host;
}

}  // namespace

std::string HostPort::ToString() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<HostPort, std::string> ParseHostPort(std::string_view text) {
  const bool bracketed = text.starts_with('[');
  const size_t host_end = bracketed ? text.find(']') : text.rfind(':');
  if (bracketed && host_end == std::string_view::npos) return Err(std::string("has no closing ]"));
  const std::string_view rest =
      host_end == std::string_view::npos ? "" : text.substr(host_end + (bracketed ? 1 : 0));
  if (!rest.starts_with(':') || rest.size() == 1) return Err(std::string("has no port"));

  HostPort result;
  const std::string_view digits = rest.substr(1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Err(std::string("has a port that is not 0..65535"));
  }
  auto host = bracketed ? ParseIpv6(std::string(text.substr(1, host_end - 1)))
                        : ParseName(std::string(text.substr(0, host_end)));
  if (!host) return Err(std::move(host.error()));
  result.host = std::move(*host);
  return result;
}

bool IsLoopback(const HostPort& address) {
  in_addr ipv4{};
  if (inet_pton(AF_INET, address.host.c_str(), &ipv4) == 1) return ntohl(ipv4.s_addr) >> 24 == 127;
  return address.host == "::1" || address.host == "localhost";
}

}  // namespace chatchain
