// SPDX-License-Identifier: MIT
#include "common/util/error_text.h"

#include <system_error>

namespace chatchain {

std::string ErrorText(int error) {
  std::string text = std::generic_category().message(error);
  const bool capital = text.size() > 1 && text[0] >= 'A' && text[0] <= 'Z';
  // "RPC version wrong" stays as it is.
  if (capital && text[1] >= 'a' && text[1] <= 'z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

}  // namespace chatchain
