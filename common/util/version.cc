// SPDX-License-Identifier: MIT
#include "common/util/version.h"

namespace chatchain {

// A file of its own, so that a new version rebuilds this file and nothing else.
std::string_view ProjectVersion() {
  return CHATCHAIN_VERSION;
}

}  // namespace chatchain
