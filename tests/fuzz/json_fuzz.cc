// SPDX-License-Identifier: MIT
// JSON bodies: our reader takes nothing that the library refuses and reads the same; a message
// keeps its identity when it is written and read again; the proxy finds the end of every value.
#include <nlohmann/json.hpp>

#include "client/proxy/json_slice.h"
#include "common/protocol/json.h"
#include "tests/fuzz/fuzz.h"

using chatchain::Json;
using chatchain::JsonValue;
using chatchain::Message;

namespace {

void CheckMessage(const JsonValue& json) {
  static const std::vector<std::string_view> kExtra = {"key", "stamp"};
  auto strict = chatchain::MessageFromJson(json, kExtra);
  auto loose = chatchain::MessageFromJson(json, kExtra, chatchain::UnknownMembers::kIgnore);
  FUZZ_CHECK(loose || !strict);
  if (!loose) return;
  if (strict) FUZZ_CHECK(*strict == *loose);
  Message message = std::move(*loose);
  message.key = "k";
  const auto valid = chatchain::Validate(message);
  if (!valid) return;
  FUZZ_CHECK(chatchain::IdOf(message) == valid->id());
  std::string out = "{";
  chatchain::AppendMessageMembers(&out, message);
  out += '}';
  const auto reread = chatchain::ReadJsonObject(out);
  FUZZ_CHECK(reread);
  auto again = chatchain::MessageFromJson(reread->root(), {});
  FUZZ_CHECK(again);
  again->key = "k";
  FUZZ_CHECK(*again == message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = chatchain::fuzz::Text(data, size);
  const auto parsed = chatchain::ParseJson(text);
  // Never fails, whatever it is given; some of what it takes is not JSON.
  size_t end = chatchain::SkipJsonSpace(text, 0);
  if (end < text.size()) end = chatchain::SkipJsonValue(text, end);
  if (!parsed) return 0;
  FUZZ_CHECK(end != std::string_view::npos);
  FUZZ_CHECK(chatchain::SkipJsonSpace(text, end) == text.size());
  const Json library = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  // Numbers beyond a double are ours to take and no value of ours.
  if (!library.is_discarded()) FUZZ_CHECK(library == *parsed || parsed->dump() == library.dump());
  if (parsed->is_object()) CheckMessage(chatchain::ReadJson(text)->root());
  return 0;
}
