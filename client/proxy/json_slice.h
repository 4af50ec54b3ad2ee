// SPDX-License-Identifier: MIT
// Takes nodes' JSON answers apart without building a tree: values are slices of the text, handed on
// to the client as they are. It checks brackets and strings, not every rule of JSON, because what
// comes from a node was made by a writer of ours; anything that does not fit is "not such a text".
// Pure.
#pragma once

#include <optional>
#include <string_view>

namespace chatchain {

// The position after the white space that begins at `pos`.
size_t SkipJsonSpace(std::string_view text, size_t pos);
// The position after the value that begins at `pos`; npos when there is none.
size_t SkipJsonValue(std::string_view text, size_t pos);

// Calls visit(element) for each element of `array`, until it returns false. False when `array` is
// not an array (nothing but white space may follow it) or the visitor said so.
template <typename Visit>
bool VisitJsonElements(std::string_view array, Visit visit) {
  size_t pos = SkipJsonSpace(array, 0);
  if (pos >= array.size() || array[pos] != '[') return false;
  pos = SkipJsonSpace(array, pos + 1);
  if (pos < array.size() && array[pos] == ']') return SkipJsonSpace(array, pos + 1) == array.size();
  while (true) {
    const size_t end = SkipJsonValue(array, pos);
    if (end == std::string_view::npos || !visit(array.substr(pos, end - pos))) return false;
    pos = SkipJsonSpace(array, end);
    if (pos >= array.size()) return false;
    if (array[pos] == ']') return SkipJsonSpace(array, pos + 1) == array.size();
    if (array[pos] != ',') return false;
    pos = SkipJsonSpace(array, pos + 1);
  }
}

// Calls visit(name, value) for each member of `object`; `name` without its quotes, escapes as they
// are.
template <typename Visit>
bool VisitJsonMembers(std::string_view object, Visit visit) {
  size_t pos = SkipJsonSpace(object, 0);
  if (pos >= object.size() || object[pos] != '{') return false;
  pos = SkipJsonSpace(object, pos + 1);
  if (pos < object.size() && object[pos] == '}') {
    return SkipJsonSpace(object, pos + 1) == object.size();
  }
  while (true) {
    if (pos >= object.size() || object[pos] != '"') return false;
    const size_t name_end = SkipJsonValue(object, pos);
    if (name_end == std::string_view::npos) return false;
    const std::string_view name = object.substr(pos + 1, name_end - pos - 2);
    pos = SkipJsonSpace(object, name_end);
    if (pos >= object.size() || object[pos] != ':') return false;
    pos = SkipJsonSpace(object, pos + 1);
    const size_t end = SkipJsonValue(object, pos);
    if (end == std::string_view::npos || !visit(name, object.substr(pos, end - pos))) return false;
    pos = SkipJsonSpace(object, end);
    if (pos >= object.size()) return false;
    if (object[pos] == '}') return SkipJsonSpace(object, pos + 1) == object.size();
    if (object[pos] != ',') return false;
    pos = SkipJsonSpace(object, pos + 1);
  }
}

// The value of a member; none when `object` is not an object or has no such member.
std::optional<std::string_view> JsonMember(std::string_view object, std::string_view name);
// What is between the quotes of a string without escapes; none for every other value.
std::optional<std::string_view> PlainJsonString(std::string_view value);

// A page of GET /messages.
struct PageSlices {
  std::string_view messages;             // the array
  std::optional<std::string_view> next;  // the cursor as text; none on the last page
};
std::optional<PageSlices> SlicePage(std::string_view body);

enum class PageForm { kNotAPage, kEmpty, kFull };
// Looks only at the beginning of what our nodes write; `body` is not checked to its end.
PageForm FormOfPage(std::string_view body);

}  // namespace chatchain
