// SPDX-License-Identifier: MIT
// Cursors, and the query parameters that they go with: `name=value&...`, then the cursor's payload
// after the first newline.
#include <algorithm>

#include "common/protocol/query.h"
#include "tests/fuzz/tokens.h"

using namespace chatchain;

namespace {

void Check(std::string_view text) {
  const auto cursor = fuzz::Codec().DecodeCursor(text);
  if (cursor) FUZZ_CHECK(fuzz::Codec().EncodeCursor(*cursor) == text);
}

QueryParams ParamsFrom(std::string_view text) {
  QueryParams params;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    const size_t equals = pair.find('=');
    params.emplace_back(pair.substr(0, equals),
                        equals == std::string_view::npos ? "" : pair.substr(equals + 1));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
  }
  return params;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::Text(data, size);
  const size_t newline = bytes.find('\n');
  QueryParams params = ParamsFrom(bytes.substr(0, newline));
  if (const auto query = ParseListQuery(params)) {
    // The order of the parameters makes no other walk.
    std::reverse(params.begin(), params.end());
    const auto reversed = ParseListQuery(params);
    FUZZ_CHECK(reversed);
    FUZZ_CHECK(reversed->Hash() == query->Hash());
    FUZZ_CHECK(query->filter.participants.size() <= 2);
  }
  const std::string_view payload =
      newline == std::string_view::npos ? bytes : bytes.substr(newline + 1);
  Check(bytes);
  Check(fuzz::TokenWith('C', payload));
  return 0;
}
