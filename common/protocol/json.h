// SPDX-License-Identifier: MIT
// JSON at the edges: a strict reader for what clients send, and writers for the hot paths that
// append to a string without building a tree. Who reads a Json includes <nlohmann/json.hpp>: it is
// heavy.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/hlc.h"
#include "common/protocol/json_tree.h"
#include "common/protocol/message.h"

namespace chatchain {

using Json = nlohmann::json;

// RFC 8259, and beyond what the library checks: no duplicate member names, at most 16 levels deep,
// no raw NUL. 400 says what and where. A number beyond a double, such as 1e999, reads as some
// fraction: JSON, and no value of ours.
Try<JsonTree> ReadJson(std::string_view text);
// The same, and the top must be an object.
Try<JsonTree> ReadJsonObject(std::string_view text);
// The same as the library's tree, where reading is rare and its values are worked with.
Try<Json> ParseJson(std::string_view text);
Try<Json> ParseJsonObject(std::string_view text);

// The first in the order of the alphabet, so that the answer does not depend on that of the text.
std::optional<Problem> RefuseMembersBeyond(const std::vector<std::string_view>& known,
                                           const JsonValue& object);

// `"..."` with escapes. REQUIRES: valid UTF-8.
void AppendJsonString(std::string* out, std::string_view text);

// A message as clients send it. `extra_members` are allowed beside its own (a batch item's key and
// stamp) and are left to the caller. Wrong types are 422, unknown members 400 unless they are to be
// ignored. `key` stays empty.
enum class UnknownMembers { kRefuse, kIgnore };
Try<Message> MessageFromJson(const JsonValue& json,
                             const std::vector<std::string_view>& extra_members,
                             UnknownMembers unknown = UnknownMembers::kRefuse);
// The list `{"messages":[...]}` of a batch: a value of `body`.
Try<JsonValue> BatchMessages(const JsonTree& body);

// A message as the API shows it.
struct ShownMessage {
  MessageId id;
  Message message;  // its key is not shown
  Stamp stamp = 0;  // the smallest of its records
};
// `copies`: 0 leaves it out.
void AppendMessageObject(std::string* out, const ShownMessage& shown, int copies = 0);

// The members of a message without braces, e.g. `"sender":"a","recipient":"b","text":"c"`.
void AppendMessageMembers(std::string* out, const Message& message);

}  // namespace chatchain
