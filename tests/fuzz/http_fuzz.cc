// SPDX-License-Identifier: MIT
// HTTP framing: what is read, and whether it is refused, does not depend on how the bytes were cut,
// and never exceeds its bounds. The first byte says how they are cut.
#include <algorithm>
#include <string>

#include "common/http/framing.h"
#include "tests/fuzz/fuzz.h"

using namespace chatchain;

namespace {

constexpr size_t kMaxBody = 200;
constexpr http::FramingLimits kLimits = {
    .max_head_bytes = 600, .max_target_bytes = 200, .max_fields = 12};

// Everything that is said about a stream of requests.
std::string ReadRequests(std::string_view bytes, size_t piece) {
  std::string said;
  http::RequestFramer framer(kLimits);
  while (!bytes.empty()) {
    std::string_view input = bytes.substr(0, piece);
    bytes.remove_prefix(input.size());
    while (true) {
      switch (framer.Consume(&input)) {
        case http::RequestFramer::Event::kNeedMore:
          FUZZ_CHECK(input.empty());
          FUZZ_CHECK(framer.buffered_bytes() <= kLimits.max_head_bytes + kMaxBody);
          goto next_piece;
        case http::RequestFramer::Event::kHead: {
          const http::RequestHead& head = framer.head();
          FUZZ_CHECK(http::IsToken(head.method));
          FUZZ_CHECK(head.target.size() <= kLimits.max_target_bytes);
          FUZZ_CHECK(head.fields.size() <= kLimits.max_fields);
          FUZZ_CHECK(!(head.chunked && head.content_length));
          said += std::string(head.method) + ' ' + std::string(head.path) + '?' +
                  std::string(head.query) + (head.keep_alive ? "" : " close");
          for (const http::FieldView& field : head.fields) {
            FUZZ_CHECK(http::IsToken(field.name) && http::IsFieldValue(field.value));
            said += '{' + std::string(field.name) + '=' + std::string(field.value) + '}';
          }
          if (!framer.AcceptBody(kMaxBody)) {
            FUZZ_CHECK(framer.error().status == 413);
            return said + "413";
          }
          break;
        }
        case http::RequestFramer::Event::kRequest: {
          const std::string body = framer.TakeBody();
          FUZZ_CHECK(body.size() <= kMaxBody);
          said += '[' + body + ']';
          framer.Reset();
          break;
        }
        case http::RequestFramer::Event::kError:
          FUZZ_CHECK(framer.error().status >= 400 && framer.error().status < 600);
          return said + std::to_string(framer.error().status);
      }
    }
  next_piece:;
  }
  return said + (framer.idle() ? " idle" : " more");
}

std::string ReadResponse(std::string_view bytes, size_t piece, bool head_request) {
  http::ResponseFramer framer(head_request, kMaxBody);
  while (!bytes.empty()) {
    std::string_view input = bytes.substr(0, piece);
    const size_t given = input.size();
    const auto event = framer.Consume(&input);
    bytes.remove_prefix(given - input.size());
    FUZZ_CHECK(framer.body().size() <= kMaxBody);
    if (event == http::ResponseFramer::Event::kNeedMore) continue;
    // Of several things that are wrong, the one that is seen first depends on the cuts.
    if (event == http::ResponseFramer::Event::kError) return "refused";
    if (event == http::ResponseFramer::Event::kTooLarge) return "too large";
    return "done " + std::to_string(framer.head().status) + framer.body() + "|" +
           std::string(bytes);
  }
  return "more";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes = fuzz::Text(data + 1, size - 1);
  const size_t piece = size_t{1} + data[0] % 64;
  FUZZ_CHECK(ReadRequests(bytes, bytes.size() + 1) == ReadRequests(bytes, piece));
  for (const bool head_request : {false, true}) {
    FUZZ_CHECK(ReadResponse(bytes, bytes.size() + 1, head_request) ==
               ReadResponse(bytes, piece, head_request));
  }
  return 0;
}
