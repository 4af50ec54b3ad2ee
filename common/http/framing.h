// SPDX-License-Identifier: MIT
// Where an HTTP/1.x message begins and ends, decided strictly (RFC 9112) and without I/O: bytes in,
// verdict out. Whatever two parsers could read in two ways is refused, because that is how requests
// are smuggled: bare CR or LF, obs-fold, a space before the colon, both lengths at once, repeated
// or signed lengths, chunk sizes with anything odd about them.
//
// Incremental: the verdict does not depend on how the bytes were cut. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chatchain::http {

struct FramingError {
  int status = 400;    // what the peer is told
  std::string detail;  // the rule that was broken
};

struct FieldView {
  std::string_view name;
  std::string_view value;  // without the whitespace around it
};

// Compares ASCII without case.
bool EqualNoCase(std::string_view a, std::string_view b);
// Whether the comma-separated list `value` has `token` as an element, without case.
bool ListHasToken(std::string_view value, std::string_view token);
bool IsToken(std::string_view text);
// No byte that could end a field line early: control characters other than HTAB are not allowed.
bool IsFieldValue(std::string_view text);

// The chunked coding (RFC 9112 section 7.1), decoding.
class ChunkDecoder {
 public:
  enum class Event { kNeedMore, kDone, kTooLarge, kError };
  // Takes bytes from the front of `*input` and appends what they carry to `*body`, which never
  // grows beyond `max_body_bytes`. kTooLarge comes as soon as the announced sizes exceed it.
  Event Consume(std::string_view* input, std::string* body, size_t max_body_bytes);
  const std::string& error() const { return error_; }
  void Reset() { *this = ChunkDecoder(); }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer };
  bool TakeLine(std::string_view* input, size_t max_bytes);
  bool ParseSizeLine();

  State state_ = State::kSize;
  std::string line_;      // of a size or trailer line, without its CRLF
  bool line_cr_ = false;  // its CR has come
  uint64_t left_ = 0;     // of the present chunk
  size_t trailer_bytes_ = 0;
  std::string error_;
};

struct RequestHead {
  std::string_view method;
  std::string_view target;  // as received
  std::string_view path;    // still percent-encoded; "*" for the asterisk form
  std::string_view query;   // still percent-encoded, without "?"
  int version_minor = 1;
  std::vector<FieldView> fields;
  bool keep_alive = true;
  bool chunked = false;
  bool expect_continue = false;
  std::optional<uint64_t> content_length;

  bool has_body() const { return chunked || content_length.value_or(0) > 0; }
  // The first value of that name, or none.
  std::optional<std::string_view> Get(std::string_view name) const;
};

struct FramingLimits {
  size_t max_head_bytes = 64 * 1024;
  size_t max_target_bytes = 32 * 1024;
  size_t max_fields = 128;
};

// One request after the other:
//
//   Consume() -> kHead; look at head(), then AcceptBody(); Consume() -> kRequest; TakeBody();
//   Reset().
class RequestFramer {
 public:
  enum class Event {
    kNeedMore,  // all of `*input` was taken
    kHead,      // the head is complete; comes once a request
    kRequest,   // the whole request is there; `*input` begins with the next one
    kError,     // see error(); nothing more will be taken
  };

  explicit RequestFramer(FramingLimits limits) : limits_(limits) {}

  // Takes bytes from the front of `*input`.
  // REQUIRES: AcceptBody() was called after kHead.
  Event Consume(std::string_view* input);
  // Says how long a body may be. False, with a 413 as error(), if the announced one is longer.
  bool AcceptBody(size_t max_body_bytes);

  // Valid from kHead until Reset(); views point into this object.
  const RequestHead& head() const { return head_; }
  const FramingError& error() const { return error_; }
  std::string TakeBody() { return std::move(body_); }
  // Nothing of a request has come yet.
  bool idle() const { return state_ == State::kStart && head_bytes_.empty(); }
  // Of the request under way, in memory.
  size_t buffered_bytes() const { return head_bytes_.size() + body_.size(); }
  // The head was accepted and the body is not complete.
  bool in_body() const { return state_ == State::kBody || state_ == State::kChunks; }
  // Consume() would take all of `input` and want more: it lies within a body of known length.
  bool WantsAll(std::string_view input) const {
    return state_ == State::kBody && input.size() < *head_.content_length - body_.size();
  }

  // Ready for the next request. Large buffers are given back.
  void Reset();

 private:
  enum class State { kStart, kRequestLine, kFields, kHeadDone, kBody, kChunks, kDone, kError };

  Event Fail(int status, std::string detail);
  // One complete line without its CRLF, at [begin, end) of head_bytes_. False: failed.
  bool OnLine(size_t begin, size_t end);
  bool ParseRequestLine(std::string_view line);
  bool ParseTarget(std::string_view target);
  bool ParseField(std::string_view line);
  bool FinishHead();

  const FramingLimits limits_;
  State state_ = State::kStart;
  std::string head_bytes_;  // from the first byte of the request line
  size_t line_begin_ = 0;   // in head_bytes_
  bool skipped_empty_line_ = false;
  RequestHead head_;
  // Lines as offsets, because head_bytes_ moves while it grows; views are made in FinishHead().
  struct Span {
    size_t begin = 0;
    size_t end = 0;
  };
  std::vector<Span> lines_;
  std::string_view authority_;  // of an absolute-form target
  size_t max_body_bytes_ = 0;
  std::string body_;
  ChunkDecoder chunks_;
  FramingError error_;
};

struct ResponseHead {
  int status = 0;
  int version_minor = 1;
  std::vector<std::pair<std::string, std::string>> fields;
  bool keep_alive = true;
};

// The answer to one request. Interim answers (1xx) are skipped. An answer whose end could only be
// told by the end of the connection is refused: it could not be told from a broken one.
class ResponseFramer {
 public:
  enum class Event { kNeedMore, kDone, kTooLarge, kError };

  // `head_request`: the answer has no body whatever its fields say.
  ResponseFramer(bool head_request, size_t max_bytes)
      : head_request_(head_request), max_bytes_(max_bytes) {}

  // Takes bytes from the front of `*input`; what is left after kDone does not belong to the answer.
  Event Consume(std::string_view* input);
  ResponseHead& head() { return head_; }
  std::string& body() { return body_; }
  const std::string& error() const { return error_; }

 private:
  enum class State { kHead, kBody, kChunks, kDone };
  Event Fail(std::string detail);
  bool ParseHead();
  bool ParseStatusLine(std::string_view line);

  const bool head_request_;
  const size_t max_bytes_;
  State state_ = State::kHead;
  std::string head_bytes_;
  size_t line_begin_ = 0;
  ResponseHead head_;
  uint64_t content_length_ = 0;
  int interim_ = 0;
  std::string body_;
  ChunkDecoder chunks_;
  std::string error_;
};

}  // namespace chatchain::http
