// SPDX-License-Identifier: MIT
#include "client/proxy/json_slice.h"

namespace chatchain {

namespace {

constexpr size_t kNpos = std::string_view::npos;
constexpr size_t kMaxDepth = 32;

// REQUIRES: text[pos] == '"'.
size_t SkipString(std::string_view text, size_t pos) {
  ++pos;
  // By memchr: each character is looked at once or twice, whatever is in the string.
  size_t quote = text.find('"', pos);
  while (quote != kNpos) {
    const size_t backslash = text.substr(0, quote).find('\\', pos);
    if (backslash == kNpos) return quote + 1;
    pos = backslash + 2;  // and what it escapes
    if (pos > quote) quote = text.find('"', pos);
  }
  return kNpos;
}

bool IsStructural(char c) {
  return c == '"' || c == '{' || c == '}' || c == '[' || c == ']';
}

// REQUIRES: text[pos] is '{' or '['.
size_t SkipContainer(std::string_view text, size_t pos) {
  char closers[kMaxDepth];
  size_t depth = 0;
  while (pos < text.size()) {
    while (pos < text.size() && !IsStructural(text[pos])) ++pos;
    if (pos == text.size()) return kNpos;
    const char c = text[pos];
    if (c == '"') {
      pos = SkipString(text, pos);
      if (pos == kNpos) return kNpos;
      continue;
    }
    if (c == '{' || c == '[') {
      if (depth == kMaxDepth) return kNpos;
      closers[depth++] = c == '{' ? '}' : ']';
    } else {
      if (closers[--depth] != c) return kNpos;
      if (depth == 0) return pos + 1;
    }
    ++pos;
  }
  return kNpos;
}

}  // namespace

size_t SkipJsonSpace(std::string_view text, size_t pos) {
  while (pos < text.size() &&
         (text[pos] == ' ' || text[pos] == '\n' || text[pos] == '\r' || text[pos] == '\t')) {
    ++pos;
  }
  return pos;
}

size_t SkipJsonValue(std::string_view text, size_t pos) {
  if (pos >= text.size()) return kNpos;
  if (text[pos] == '"') return SkipString(text, pos);
  if (text[pos] == '{' || text[pos] == '[') return SkipContainer(text, pos);
  const size_t begin = pos;
  while (pos < text.size()) {
    const char c = text[pos];
    const bool scalar = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
                        c == '.' || c == 'E';
    if (!scalar) break;
    ++pos;
  }
  return pos == begin ? kNpos : pos;
}

std::optional<std::string_view> JsonMember(std::string_view object, std::string_view name) {
  std::optional<std::string_view> found;
  const bool whole = VisitJsonMembers(object, [&](std::string_view member, std::string_view value) {
    if (member == name && !found) found = value;
    return true;
  });
  return whole ? found : std::nullopt;
}

std::optional<std::string_view> PlainJsonString(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::nullopt;
  value = value.substr(1, value.size() - 2);
  if (value.find('"') != kNpos || value.find('\\') != kNpos) return std::nullopt;
  return value;
}

std::optional<PageSlices> SlicePage(std::string_view body) {
  PageSlices page;
  bool has_next = false;
  const bool whole = VisitJsonMembers(body, [&](std::string_view name, std::string_view value) {
    if (name == "messages") {
      page.messages = value;
    } else if (name == "next") {
      has_next = true;
      page.next = PlainJsonString(value);
      return page.next.has_value() || value == "null";
    }
    return true;
  });
  if (!whole || !has_next || page.messages.empty() || page.messages.front() != '[') {
    return std::nullopt;
  }
  return page;
}

PageForm FormOfPage(std::string_view body) {
  size_t pos = SkipJsonSpace(body, 0);
  const size_t last = body.find_last_not_of(" \t\r\n");
  if (pos >= body.size() || body[pos] != '{' || body[last] != '}') return PageForm::kNotAPage;
  pos = SkipJsonSpace(body, pos + 1);
  constexpr std::string_view kFirst = "\"messages\"";
  if (body.substr(pos, kFirst.size()) == kFirst) {
    pos = SkipJsonSpace(body, pos + kFirst.size());
    if (pos < body.size() && body[pos] == ':') pos = SkipJsonSpace(body, pos + 1);
    if (pos >= body.size() || body[pos] != '[') return PageForm::kNotAPage;
    pos = SkipJsonSpace(body, pos + 1);
    return pos < body.size() && body[pos] == ']' ? PageForm::kEmpty : PageForm::kFull;
  }
  const auto page = SlicePage(body);
  if (!page) return PageForm::kNotAPage;
  pos = SkipJsonSpace(page->messages, 1);
  return page->messages[pos] == ']' ? PageForm::kEmpty : PageForm::kFull;
}

}  // namespace chatchain
