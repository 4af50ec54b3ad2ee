// SPDX-License-Identifier: MIT
#include "common/http/framing.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace chatchain::http {

namespace {

constexpr size_t kMaxChunkLineBytes = 256;
constexpr size_t kMaxTrailerBytes = 8 * 1024;
constexpr size_t kKeptBufferBytes = 1024;
constexpr int kMaxInterimAnswers = 8;
constexpr size_t kMaxResponseHeadBytes = 64 * 1024;

enum CharClass : uint8_t {
  kTokenChar = 1,   // RFC 9110 tchar
  kFieldChar = 2,   // VCHAR, obs-text, SP, HTAB
  kTargetChar = 4,  // visible ASCII without "#"
  kHostChar = 8,    // uri-host, port, IPv6 literal
};

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    uint8_t bits = 0;
    if (alnum) bits |= kTokenChar | kHostChar;
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) bits |= kFieldChar;
    if (c > 0x20 && c < 0x7f && c != '#') bits |= kTargetChar;
    table[static_cast<size_t>(c)] = bits;
  }
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] |= kTokenChar;
  for (char c : std::string_view("-._~%!$&'()*+;=:[]")) table[static_cast<uint8_t>(c)] |= kHostChar;
  return table;
}

constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

bool Is(char c, CharClass wanted) {
  return (kClasses[static_cast<uint8_t>(c)] & wanted) != 0;
}

bool All(std::string_view text, CharClass wanted) {
  return std::all_of(text.begin(), text.end(), [=](char c) { return Is(c, wanted); });
}

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// 18 digits cannot overflow, and nobody sends an exabyte.
std::optional<uint64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 18 || !std::all_of(text.begin(), text.end(), IsDigit)) {
    return std::nullopt;
  }
  uint64_t value = 0;
  for (char c : text) value = value * 10 + static_cast<uint64_t>(c - '0');
  return value;
}

int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  c = Lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Scans for the end of a line that began before `data`. Tells the first byte that must not be
// there.
struct LineScan {
  enum class What { kMore, kLine, kBareLf, kBareCr, kControl } what = What::kMore;
  size_t used = 0;  // bytes of `data` up to and including the one that decided
};

LineScan ScanLine(std::string_view data, bool after_cr) {
  for (size_t i = 0; i < data.size(); ++i) {
    const char c = data[i];
    if (after_cr) return {c == '\n' ? LineScan::What::kLine : LineScan::What::kBareCr, i + 1};
    if (Is(c, kFieldChar)) continue;
    if (c == '\r') {
      after_cr = true;
    } else {
      return {c == '\n' ? LineScan::What::kBareLf : LineScan::What::kControl, i + 1};
    }
  }
  return {LineScan::What::kMore, data.size()};
}

const char* Describe(LineScan::What what) {
  switch (what) {
    case LineScan::What::kBareLf: return "a line ends in LF without CR";
    case LineScan::What::kBareCr: return "a CR is not followed by LF";
    default: return "a control character";
  }
}

// Name and value of a field line, or what is wrong with it.
const char* SplitField(std::string_view line, FieldView* field) {
  if (line.empty() || IsSpace(line.front())) return "a folded field line (obs-fold)";
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "a field line without a colon";
  field->name = line.substr(0, colon);
  field->value = Trim(line.substr(colon + 1));
  if (!IsToken(field->name)) {
    return !field->name.empty() && IsSpace(field->name.back())
               ? "whitespace between a field name and its colon"
               : "a field name with characters that are not allowed in one";
  }
  return nullptr;
}

bool IsHost(std::string_view host) {
  return All(host, kHostChar);
}

// Port 80 is the default and need not be written.
std::string_view WithoutDefaultPort(std::string_view host) {
  return host.ends_with(":80") ? host.substr(0, host.size() - 3) : host;
}

}  // namespace

bool EqualNoCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

bool ListHasToken(std::string_view value, std::string_view token) {
  while (true) {
    const size_t comma = value.find(',');
    if (EqualNoCase(Trim(value.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) return false;
    value.remove_prefix(comma + 1);
  }
}

bool IsToken(std::string_view text) {
  return !text.empty() && All(text, kTokenChar);
}

bool IsFieldValue(std::string_view text) {
  return All(text, kFieldChar);
}

// ---- chunks

bool ChunkDecoder::TakeLine(std::string_view* input, size_t max_bytes) {
  const LineScan scan = ScanLine(*input, line_cr_);
  const std::string_view taken = input->substr(0, scan.used);
  input->remove_prefix(scan.used);
  line_.append(taken);
  if (scan.what == LineScan::What::kMore) {
    line_cr_ = !line_.empty() && line_.back() == '\r';
    if (line_.size() > max_bytes) error_ = "a chunk or trailer line is too long";
    return false;
  }
  if (scan.what != LineScan::What::kLine) {
    error_ = std::string("in the chunked body: ") + Describe(scan.what);
    return false;
  }
  line_cr_ = false;
  line_.resize(line_.size() - 2);
  if (line_.size() > max_bytes) {
    error_ = "a chunk or trailer line is too long";
    return false;
  }
  return true;
}

// chunk-size [ *( ";" name [ "=" ( token / quoted-string ) ] ) ], without whitespace anywhere.
bool ChunkDecoder::ParseSizeLine() {
  size_t i = 0;
  uint64_t size = 0;
  while (i < line_.size() && HexValue(line_[i]) >= 0) {
    size = size * 16 + static_cast<uint64_t>(HexValue(line_[i++]));
    if (i > 15) {
      error_ = "a chunk size has too many digits";
      return false;
    }
  }
  if (i == 0) {
    error_ = "a chunk size is not a hexadecimal number";
    return false;
  }
  left_ = size;
  const auto token = [&] {
    const size_t begin = i;
    while (i < line_.size() && Is(line_[i], kTokenChar)) ++i;
    return i > begin;
  };
  const auto quoted = [&] {
    if (i >= line_.size() || line_[i] != '"') return false;
    for (++i; i < line_.size(); ++i) {
      if (line_[i] == '"') return ++i, true;
      if (line_[i] == '\\' && ++i == line_.size()) return false;
    }
    return false;
  };
  while (i < line_.size()) {
    bool good = line_[i] == ';' && (++i, token());
    if (good && i < line_.size() && line_[i] == '=') good = (++i, token() || quoted());
    if (!good) {
      error_ = "a chunk size is followed by something that is not a chunk extension";
      return false;
    }
  }
  return true;
}

ChunkDecoder::Event ChunkDecoder::Consume(std::string_view* input, std::string* body,
                                          size_t max_body_bytes) {
  while (true) {
    switch (state_) {
      case State::kSize: {
        if (!TakeLine(input, kMaxChunkLineBytes) || !ParseSizeLine()) {
          return error_.empty() ? Event::kNeedMore : Event::kError;
        }
        line_.clear();
        if (left_ > max_body_bytes - body->size()) return Event::kTooLarge;
        state_ = left_ == 0 ? State::kTrailer : State::kData;
        break;
      }
      case State::kData: {
        const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, input->size()));
        body->append(input->substr(0, n));
        input->remove_prefix(n);
        left_ -= n;
        if (left_ > 0) return Event::kNeedMore;
        state_ = State::kDataEnd;
        break;
      }
      case State::kDataEnd: {
        // Anything but CRLF here means that the size was wrong: do not read on to find one.
        while (!input->empty() && line_.size() < 2) {
          if (input->front() != (line_.empty() ? '\r' : '\n')) {
            error_ = "a chunk does not end in CRLF where its size says";
            return Event::kError;
          }
          line_ += input->front();
          input->remove_prefix(1);
        }
        if (line_.size() < 2) return Event::kNeedMore;
        line_.clear();
        state_ = State::kSize;
        break;
      }
      case State::kTrailer: {
        if (!TakeLine(input, kMaxTrailerBytes)) {
          return error_.empty() ? Event::kNeedMore : Event::kError;
        }
        if (line_.empty()) return Event::kDone;
        FieldView field;
        if (const char* wrong = SplitField(line_, &field)) {
          error_ = std::string("in the trailer: ") + wrong;
          return Event::kError;
        }
        trailer_bytes_ += line_.size() + 2;
        if (trailer_bytes_ > kMaxTrailerBytes) {
          error_ = "the trailer is too long";
          return Event::kError;
        }
        line_.clear();  // trailers are checked and dropped: none means anything here
        break;
      }
    }
  }
}

// ---- requests

std::optional<std::string_view> RequestHead::Get(std::string_view name) const {
  for (const FieldView& field : fields) {
    if (EqualNoCase(field.name, name)) return field.value;
  }
  return std::nullopt;
}

RequestFramer::Event RequestFramer::Fail(int status, std::string detail) {
  state_ = State::kError;
  error_ = {status, std::move(detail)};
  return Event::kError;
}

RequestFramer::Event RequestFramer::Consume(std::string_view* input) {
  while (true) {
    switch (state_) {
      case State::kStart:
        if (input->empty()) return Event::kNeedMore;
        // TLS, a proxy protocol, noise: say so at the first byte instead of waiting for a line.
        if (head_bytes_.empty() && !Is(input->front(), kTokenChar) && input->front() != '\r') {
          return Fail(400, "a request begins with a method");
        }
        state_ = State::kRequestLine;
        break;
      case State::kRequestLine:
      case State::kFields: {
        const LineScan scan = ScanLine(*input, !head_bytes_.empty() && head_bytes_.back() == '\r');
        head_bytes_.append(input->substr(0, scan.used));
        input->remove_prefix(scan.used);
        const bool wrong = scan.what != LineScan::What::kLine && scan.what != LineScan::What::kMore;
        const bool in_request_line = state_ == State::kRequestLine;
        // Of several things that are wrong, the first one is told, however the bytes were cut.
        const size_t sound_bytes = head_bytes_.size() - (wrong ? 1 : 0);
        // The longest method and version that are looked at are short.
        if (in_request_line && sound_bytes > limits_.max_target_bytes + 64) {
          return Fail(414, "the request line is too long");
        }
        if (sound_bytes > limits_.max_head_bytes) {
          return Fail(431, "the head of the request is too long");
        }
        if (wrong) return Fail(400, Describe(scan.what));
        if (scan.what == LineScan::What::kMore) return Event::kNeedMore;
        const size_t begin = line_begin_;
        const size_t end = head_bytes_.size() - 2;
        if (in_request_line && begin == end) {
          if (skipped_empty_line_) return Fail(400, "empty lines before the request line");
          skipped_empty_line_ = true;  // RFC 9112 section 2.2: one may be ignored
          head_bytes_.clear();
          state_ = State::kStart;
          break;
        }
        line_begin_ = head_bytes_.size();
        if (!OnLine(begin, end)) return Event::kError;
        if (state_ == State::kHeadDone) return Event::kHead;
        break;
      }
      case State::kHeadDone:
        assert(false && "AcceptBody() was not called");
        return Fail(500, "internal error");
      case State::kBody: {
        const size_t missing = static_cast<size_t>(*head_.content_length) - body_.size();
        const size_t n = std::min(missing, input->size());
        body_.append(input->substr(0, n));
        input->remove_prefix(n);
        if (n < missing) return Event::kNeedMore;
        state_ = State::kDone;
        break;
      }
      case State::kChunks:
        switch (chunks_.Consume(input, &body_, max_body_bytes_)) {
          case ChunkDecoder::Event::kNeedMore: return Event::kNeedMore;
          case ChunkDecoder::Event::kError: return Fail(400, chunks_.error());
          case ChunkDecoder::Event::kTooLarge:
            return Fail(413,
                        "the body is longer than " + std::to_string(max_body_bytes_) + " bytes");
          case ChunkDecoder::Event::kDone: state_ = State::kDone; break;
        }
        break;
      case State::kDone: return Event::kRequest;
      case State::kError: return Event::kError;
    }
  }
}

bool RequestFramer::OnLine(size_t begin, size_t end) {
  const std::string_view line(head_bytes_.data() + begin, end - begin);
  if (state_ == State::kRequestLine) {
    // Judged at once, so that a wrong version or a foreign protocol is answered without a wait.
    if (!ParseRequestLine(line)) return false;
    lines_.push_back({begin, end});
    state_ = State::kFields;
    return true;
  }
  if (line.empty()) return FinishHead();
  FieldView field;
  if (const char* wrong = SplitField(line, &field)) return Fail(400, wrong), false;
  if (lines_.size() > limits_.max_fields) return Fail(431, "too many header fields"), false;
  lines_.push_back({begin, end});
  return true;
}

bool RequestFramer::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos) return Fail(400, "the request line is not a request"), false;
  head_.method = line.substr(0, first);
  if (!IsToken(head_.method))
    return Fail(400, "the method has characters not allowed in one"), false;
  if (first == last) return Fail(400, "HTTP/0.9: the request line has no version"), false;
  const std::string_view version = line.substr(last + 1);
  head_.target = line.substr(first + 1, last - first - 1);
  const bool well_formed = version.size() == 8 && version.starts_with("HTTP/") &&
                           IsDigit(version[5]) && version[6] == '.' && IsDigit(version[7]);
  if (!well_formed) return Fail(400, "the request line does not end in an HTTP version"), false;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Fail(505, "HTTP/1.1 and HTTP/1.0 are spoken here"), false;
  }
  head_.version_minor = version[7] - '0';
  if (head_.target.size() > limits_.max_target_bytes) {
    return Fail(414,
                "the target is longer than " + std::to_string(limits_.max_target_bytes) + " bytes"),
           false;
  }
  return ParseTarget(head_.target);
}

bool RequestFramer::ParseTarget(std::string_view target) {
  if (target.empty() || !All(target, kTargetChar)) {
    return Fail(400, "the target has characters that must be percent-encoded"), false;
  }
  authority_ = {};
  if (target == "*") {
    if (head_.method != "OPTIONS") return Fail(400, "the target * is only for OPTIONS"), false;
    head_.path = target;
    head_.query = {};
    return true;
  }
  if (target.size() > 7 && EqualNoCase(target.substr(0, 7), "http://")) {
    target.remove_prefix(7);
    authority_ = target.substr(0, target.find_first_of("/?"));
    if (authority_.empty() || !IsHost(authority_)) {
      return Fail(400, "the target has no valid authority"), false;
    }
    target.remove_prefix(authority_.size());
    if (target.empty() || target.front() == '?') {
      head_.path = "/";
      head_.query = target.empty() ? target : target.substr(1);
      return true;
    }
  }
  if (target.front() != '/') {
    return Fail(400, "the target is neither a path nor an http:// address"), false;
  }
  const size_t question = target.find('?');
  head_.path = target.substr(0, question);
  head_.query =
      question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
  return true;
}

bool RequestFramer::ParseField(std::string_view line) {
  FieldView field;
  SplitField(line, &field);  // cannot fail: it did not in OnLine()
  head_.fields.push_back(field);
  switch (field.name.size()) {
    case 6:
      if (EqualNoCase(field.name, "expect") && head_.version_minor == 1) {
        if (!EqualNoCase(field.value, "100-continue")) {
          return Fail(417, "only Expect: 100-continue is known"), false;
        }
        head_.expect_continue = true;
      }
      break;
    case 10:
      if (EqualNoCase(field.name, "connection")) {
        if (ListHasToken(field.value, "close")) {
          head_.keep_alive = false;
        } else if (head_.version_minor == 0 && ListHasToken(field.value, "keep-alive")) {
          head_.keep_alive = true;
        }
      }
      break;
    case 14:
      if (EqualNoCase(field.name, "content-length")) {
        if (head_.content_length) return Fail(400, "Content-Length is given twice"), false;
        head_.content_length = ParseLength(field.value);
        if (!head_.content_length)
          return Fail(400, "Content-Length is not one plain number"), false;
      }
      break;
    case 17:
      if (EqualNoCase(field.name, "transfer-encoding")) {
        if (head_.chunked) return Fail(400, "Transfer-Encoding is given twice"), false;
        if (head_.version_minor == 0) {
          return Fail(400, "Transfer-Encoding is not part of HTTP/1.0"), false;
        }
        if (!EqualNoCase(field.value, "chunked")) {
          return Fail(400, "Transfer-Encoding is not exactly chunked"), false;
        }
        head_.chunked = true;
      }
      break;
    default: break;
  }
  return true;
}

bool RequestFramer::FinishHead() {
  // head_bytes_ no longer moves: now the views can be made.
  const auto line = [&](const Span& span) {
    return std::string_view(head_bytes_.data() + span.begin, span.end - span.begin);
  };
  if (!ParseRequestLine(line(lines_[0]))) return false;
  head_.keep_alive = head_.version_minor == 1;
  head_.fields.reserve(lines_.size() - 1);
  bool close = false;
  for (size_t i = 1; i < lines_.size(); ++i) {
    if (!ParseField(line(lines_[i]))) return false;
    const FieldView& field = head_.fields.back();
    close = close || (field.name.size() == 10 && EqualNoCase(field.name, "connection") &&
                      ListHasToken(field.value, "close"));
  }
  if (close) head_.keep_alive = false;
  if (head_.chunked && head_.content_length) {
    return Fail(400, "both Content-Length and Transfer-Encoding are given"), false;
  }
  const FieldView* host = nullptr;
  for (const FieldView& field : head_.fields) {
    if (field.name.size() != 4 || !EqualNoCase(field.name, "host")) continue;
    if (host != nullptr) return Fail(400, "Host is given twice"), false;
    host = &field;
  }
  if (host == nullptr && head_.version_minor == 1) return Fail(400, "Host is missing"), false;
  if (host != nullptr && !IsHost(host->value)) return Fail(400, "Host is not a host"), false;
  if (host != nullptr && !authority_.empty() &&
      !EqualNoCase(WithoutDefaultPort(host->value), WithoutDefaultPort(authority_))) {
    return Fail(400, "Host and the authority of the target differ"), false;
  }
  state_ = State::kHeadDone;
  return true;
}

bool RequestFramer::AcceptBody(size_t max_body_bytes) {
  assert(state_ == State::kHeadDone);
  max_body_bytes_ = max_body_bytes;
  if (head_.chunked) {
    state_ = State::kChunks;
    return true;
  }
  const uint64_t length = head_.content_length.value_or(0);
  if (length > max_body_bytes) {
    Fail(413, "the body is longer than " + std::to_string(max_body_bytes) + " bytes");
    return false;
  }
  state_ = length == 0 ? State::kDone : State::kBody;
  // Memory follows what has really come, but a usual body need not grow step by step.
  if (length > 0) body_.reserve(static_cast<size_t>(std::min<uint64_t>(length, 64 * 1024)));
  return true;
}

void RequestFramer::Reset() {
  state_ = State::kStart;
  if (head_bytes_.capacity() > kKeptBufferBytes) {
    head_bytes_ = std::string();
  } else {
    head_bytes_.clear();
  }
  if (body_.capacity() > kKeptBufferBytes) {
    body_ = std::string();
  } else {
    body_.clear();
  }
  line_begin_ = 0;
  skipped_empty_line_ = false;
  lines_.clear();
  std::vector<FieldView> fields = std::move(head_.fields);
  fields.clear();
  head_ = RequestHead();
  head_.fields = std::move(fields);
  authority_ = {};
  max_body_bytes_ = 0;
  chunks_.Reset();
  error_ = {};
}

// ---- responses

ResponseFramer::Event ResponseFramer::Fail(std::string detail) {
  error_ = std::move(detail);
  return Event::kError;
}

ResponseFramer::Event ResponseFramer::Consume(std::string_view* input) {
  while (true) {
    if (!error_.empty()) return Event::kError;
    switch (state_) {
      case State::kHead: {
        if (input->empty()) return Event::kNeedMore;
        const LineScan scan = ScanLine(*input, !head_bytes_.empty() && head_bytes_.back() == '\r');
        head_bytes_.append(input->substr(0, scan.used));
        input->remove_prefix(scan.used);
        if (scan.what != LineScan::What::kLine && scan.what != LineScan::What::kMore) {
          return Fail(Describe(scan.what));
        }
        if (head_bytes_.size() > kMaxResponseHeadBytes)
          return Fail("the head of the answer is too long");
        // Something else than HTTP is seen by its first bytes.
        const std::string_view begin = std::string_view(head_bytes_).substr(0, 7);
        if (begin != std::string_view("HTTP/1.").substr(0, begin.size()))
          return Fail("not HTTP/1.x");
        if (scan.what == LineScan::What::kMore) return Event::kNeedMore;
        const bool empty_line = head_bytes_.size() == line_begin_ + 2;
        line_begin_ = head_bytes_.size();
        if (!empty_line) break;
        if (!ParseHead()) return Event::kError;
        if (state_ == State::kBody && content_length_ > max_bytes_) return Event::kTooLarge;
        break;
      }
      case State::kBody: {
        const size_t missing = static_cast<size_t>(content_length_) - body_.size();
        const size_t n = std::min(missing, input->size());
        body_.append(input->substr(0, n));
        input->remove_prefix(n);
        if (n < missing) return Event::kNeedMore;
        state_ = State::kDone;
        break;
      }
      case State::kChunks:
        switch (chunks_.Consume(input, &body_, max_bytes_)) {
          case ChunkDecoder::Event::kNeedMore: return Event::kNeedMore;
          case ChunkDecoder::Event::kError: return Fail(chunks_.error());
          case ChunkDecoder::Event::kTooLarge: return Event::kTooLarge;
          case ChunkDecoder::Event::kDone: state_ = State::kDone; break;
        }
        break;
      case State::kDone: return Event::kDone;
    }
  }
}

// HTTP/1.d SP 3DIGIT SP reason; an empty reason may have lost its space.
bool ResponseFramer::ParseStatusLine(std::string_view line) {
  const bool good = line.size() >= 12 && line.starts_with("HTTP/1.") && IsDigit(line[7]) &&
                    line[8] == ' ' && line[9] >= '1' && line[9] <= '9' && IsDigit(line[10]) &&
                    IsDigit(line[11]) && (line.size() == 12 || line[12] == ' ');
  if (!good) return Fail("the status line is not one"), false;
  head_.version_minor = line[7] - '0';
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  return true;
}

bool ResponseFramer::ParseHead() {
  head_ = ResponseHead();
  std::optional<uint64_t> length;
  bool chunked = false;
  bool close = false;
  bool keep = false;
  std::string_view rest(head_bytes_);
  for (bool first = true;; first = false) {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    if (line.empty() && !first) break;
    if (first) {
      if (!ParseStatusLine(line)) return false;
      continue;
    }
    FieldView field;
    if (const char* wrong = SplitField(line, &field)) return Fail(wrong), false;
    head_.fields.emplace_back(field.name, field.value);
    if (EqualNoCase(field.name, "content-length")) {
      if (length) return Fail("Content-Length is given twice"), false;
      length = ParseLength(field.value);
      if (!length) return Fail("Content-Length is not one plain number"), false;
    } else if (EqualNoCase(field.name, "transfer-encoding")) {
      if (chunked || !EqualNoCase(field.value, "chunked")) {
        return Fail("Transfer-Encoding is not exactly chunked"), false;
      }
      chunked = true;
    } else if (EqualNoCase(field.name, "connection")) {
      close = close || ListHasToken(field.value, "close");
      keep = keep || ListHasToken(field.value, "keep-alive");
    }
  }
  if (chunked && length) return Fail("both Content-Length and Transfer-Encoding are given"), false;
  head_.keep_alive = !close && (head_.version_minor >= 1 || keep);
  const int status = head_.status;
  if (status < 200) {
    if (status == 101 || ++interim_ > kMaxInterimAnswers)
      return Fail("an unexpected 1xx answer"), false;
    head_bytes_.clear();
    line_begin_ = 0;
    return true;
  }
  if (head_request_ || status == 204 || status == 304) {
    state_ = State::kDone;
  } else if (chunked) {
    state_ = State::kChunks;
  } else if (length) {
    content_length_ = *length;
    state_ = State::kBody;
    body_.reserve(static_cast<size_t>(std::min<uint64_t>(content_length_, 1024 * 1024)));
  } else {
    return Fail("the answer does not say how long it is"), false;
  }
  return true;
}

}  // namespace chatchain::http
