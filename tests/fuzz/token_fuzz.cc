// SPDX-License-Identifier: MIT
// Session and feed tokens: one text a value, and only the type that was asked for.
#include "tests/fuzz/tokens.h"

using namespace chatchain;

namespace {

void Check(std::string_view text) {
  const auto session = fuzz::Codec().DecodeSession(text);
  const auto feed = fuzz::Codec().DecodeFeed(text);
  FUZZ_CHECK(!session || !feed);
  if (session) FUZZ_CHECK(fuzz::Codec().EncodeSession(*session) == text);
  if (feed) FUZZ_CHECK(fuzz::Codec().EncodeFeed(*feed) == text);
  if (!session) return;
  TokenVector joined = *session;
  Join(&joined, *session);
  FUZZ_CHECK(joined == *session);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::Text(data, size);
  Check(bytes);
  for (const char type : {'S', 'F'}) Check(fuzz::TokenWith(type, bytes));
  return 0;
}
