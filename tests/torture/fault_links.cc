// SPDX-License-Identifier: MIT
// Links between programs of 127.0.0.1 that can be told to fail (tests/support/fault_proxy), for
// tests that are not written in C++.
//
//     chatchain-fault-links TARGET_PORT...
//
// Says "ports P..." first, one for each target. Then each line "NUMBER FAULT" of its input, a link
// and one of none, cut, stall, no-answers, is put in force and answered with "ok". Ends with its
// input.
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/fault_proxy.h"

int main(int argc, char** argv) {
  using chatchain::testing::FaultProxy;
  const std::map<std::string, FaultProxy::Fault> faults = {
      {"none", FaultProxy::Fault::kNone},
      {"cut", FaultProxy::Fault::kCut},
      {"stall", FaultProxy::Fault::kStall},
      {"no-answers", FaultProxy::Fault::kNoAnswers},
  };
  std::vector<std::unique_ptr<FaultProxy>> links;
  for (int i = 1; i < argc; ++i) {
    links.push_back(std::make_unique<FaultProxy>(static_cast<uint16_t>(std::stoi(argv[i]))));
  }
  std::cout << "ports";
  for (const auto& link : links) std::cout << " " << link->port();
  std::cout << std::endl;
  size_t number = 0;
  std::string fault;
  while (std::cin >> number >> fault) {
    links.at(number)->Set(faults.at(fault));
    std::cout << "ok" << std::endl;
  }
  return 0;
}
