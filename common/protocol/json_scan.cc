// SPDX-License-Identifier: MIT
#include "common/protocol/json_scan.h"

#include <array>
#include <cstdint>
#include <string>

#include "common/util/encoding.h"

namespace chatchain {

namespace {

// What stands in a string for itself.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 256; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void AppendUtf8(std::string* out, uint32_t code) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xc0 | code >> 6));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | code >> 12));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | code >> 18));
    out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

class Scanner {
 public:
  Scanner(std::string_view text, nlohmann::json_sax<nlohmann::json>* events)
      : at_(text.data()), end_(text.data() + text.size()), events_(events) {}

  bool Document() {
    if (!Value()) return false;
    SkipSpace();
    return at_ == end_;
  }

 private:
  // The depth of the recursion is what the events allow.
  bool Value() {
    SkipSpace();
    if (at_ == end_) return false;
    switch (*at_) {
      case '{': return Object();
      case '[': return Array();
      case '"': return TakeString() && events_->string(string_);
      case 't': return TakeWord("true") && events_->boolean(true);
      case 'f': return TakeWord("false") && events_->boolean(false);
      case 'n': return TakeWord("null") && events_->null();
      default: return Integer();
    }
  }

  bool Object() {
    ++at_;
    if (!events_->start_object(static_cast<size_t>(-1))) return false;
    SkipSpace();
    if (Take('}')) return events_->end_object();
    while (true) {
      SkipSpace();
      if (at_ == end_ || *at_ != '"' || !TakeString() || !events_->key(string_)) return false;
      SkipSpace();
      if (!Take(':') || !Value()) return false;
      SkipSpace();
      if (Take('}')) return events_->end_object();
      if (!Take(',')) return false;
    }
  }

  bool Array() {
    ++at_;
    if (!events_->start_array(static_cast<size_t>(-1))) return false;
    SkipSpace();
    if (Take(']')) return events_->end_array();
    while (true) {
      if (!Value()) return false;
      SkipSpace();
      if (Take(']')) return events_->end_array();
      if (!Take(',')) return false;
    }
  }

  bool Integer() {
    constexpr ptrdiff_t kMaxDigits = 18;  // always fits
    const bool negative = Take('-');
    const char* digits = at_;
    uint64_t value = 0;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9' && at_ - digits <= kMaxDigits) {
      value = value * 10 + static_cast<uint64_t>(*at_ - '0');
      ++at_;
    }
    const ptrdiff_t count = at_ - digits;
    if (count == 0 || count > kMaxDigits || (count > 1 && *digits == '0')) return false;
    // What follows a whole number: nothing of a number.
    if (at_ != end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) return false;
    return negative ? events_->number_integer(-static_cast<int64_t>(value))
                    : events_->number_unsigned(value);
  }

  // From its first quote to behind its last one, into string_.
  bool TakeString() {
    ++at_;
    string_.clear();
    while (true) {
      const char* from = at_;
      while (at_ != end_ && kPlain[static_cast<unsigned char>(*at_)]) ++at_;
      string_.append(from, at_);
      if (at_ == end_) return false;
      if (*at_ == '"') {
        ++at_;
        return true;
      }
      if (*at_ != '\\' || !TakeEscape()) return false;
    }
  }

  bool TakeEscape() {
    ++at_;
    if (at_ == end_) return false;
    switch (*at_++) {
      case '"': string_.push_back('"'); return true;
      case '\\': string_.push_back('\\'); return true;
      case '/': string_.push_back('/'); return true;
      case 'b': string_.push_back('\b'); return true;
      case 'f': string_.push_back('\f'); return true;
      case 'n': string_.push_back('\n'); return true;
      case 'r': string_.push_back('\r'); return true;
      case 't': string_.push_back('\t'); return true;
      case 'u': break;
      default: return false;
    }
    uint32_t code = 0;
    if (!TakeHex4(&code)) return false;
    if (code >= 0xd800 && code <= 0xdfff) {
      uint32_t low = 0;
      if (code > 0xdbff || !Take('\\') || !Take('u') || !TakeHex4(&low) || low < 0xdc00 ||
          low > 0xdfff) {
        return false;
      }
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    AppendUtf8(&string_, code);
    return true;
  }

  bool TakeHex4(uint32_t* code) {
    if (end_ - at_ < 4) return false;
    for (int i = 0; i < 4; ++i) {
      const char c = *at_++;
      uint32_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        digit = static_cast<uint32_t>((c | 0x20) - 'a' + 10);
      } else {
        return false;
      }
      *code = *code << 4 | digit;
    }
    return true;
  }

  bool TakeWord(std::string_view word) {
    if (std::string_view(at_, static_cast<size_t>(end_ - at_)).substr(0, word.size()) != word) {
      return false;
    }
    at_ += word.size();
    return true;
  }

  bool Take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  void SkipSpace() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }

  const char* at_;
  const char* const end_;
  nlohmann::json_sax<nlohmann::json>* const events_;
  std::string string_;
};

}  // namespace

bool ScanJson(std::string_view text, nlohmann::json_sax<nlohmann::json>* events) {
  // Once for all strings: elsewhere a byte beyond ASCII is no JSON anyway.
  return IsUtf8(text) && Scanner(text, events).Document();
}

}  // namespace chatchain
