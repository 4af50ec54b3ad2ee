// SPDX-License-Identifier: MIT
#include "common/http/answer.h"

#include <zlib.h>

#include <array>
#include <charconv>
#include <ctime>

#include "common/http/framing.h"

namespace chatchain::http {

namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

void AppendNumber(uint64_t value, int base, std::string* out) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base);
  out->append(digits.data(), end.ptr);
}

// "Sat, 21 Nov 2026 08:15:30 GMT", made once a second on each thread.
std::string_view HttpDate() {
  thread_local time_t made_at = 0;
  thread_local std::array<char, 40> text;
  thread_local size_t length = 0;
  const time_t now = time(nullptr);
  if (now != made_at) {
    // strftime's names follow the locale, which no part of the program changes.
    tm utc{};
    gmtime_r(&now, &utc);
    length = strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    made_at = now;
  }
  return {text.data(), length};
}

// Fields that only the server may set, because they say where the answer ends.
bool IsFramingField(std::string_view name) {
  switch (name.size()) {
    case 4: return EqualNoCase(name, "date");
    case 10: return EqualNoCase(name, "connection") || EqualNoCase(name, "keep-alive");
    case 14: return EqualNoCase(name, "content-length");
    case 17: return EqualNoCase(name, "transfer-encoding");
    default: return false;
  }
}

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  if (!IsToken(name)) return;
  out->append(name).append(": ");
  if (IsFieldValue(value)) {
    out->append(value);
  } else {
    for (char c : value) {
      if (IsFieldValue({&c, 1})) out->push_back(c);
    }
  }
  out->append("\r\n");
}

bool IsCompressible(std::string_view content_type) {
  const std::string_view type = Trim(content_type.substr(0, content_type.find(';')));
  return type.starts_with("text/") || type.ends_with("json") || type.ends_with("xml") ||
         type == "application/javascript";
}

void Compress(Response* response, const AnswerForm& form) {
  if (form.gzip_min_bytes == 0 || response->body.size() < form.gzip_min_bytes ||
      response->body.size() > UINT32_MAX / 2 || !IsCompressible(response->content_type) ||
      response->headers.Get("Content-Encoding")) {
    return;
  }
  if (response->headers.Get("Vary") != "Accept-Encoding") {
    response->headers.Add("Vary", "Accept-Encoding");
  }
  if (!form.accept_encoding || !AcceptsGzip(*form.accept_encoding)) return;
  std::string packed = Gzip(response->body);
  if (packed.empty() || packed.size() >= response->body.size()) return;
  response->body = std::move(packed);
  response->headers.Add("Content-Encoding", "gzip");
}

}  // namespace

bool AcceptsGzip(std::string_view accept_encoding) {
  std::optional<bool> gzip;
  std::optional<bool> any;
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    const std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(comma == std::string_view::npos ? accept_encoding.size()
                                                                  : comma + 1);
    const size_t semicolon = item.find(';');
    const std::string_view coding = Trim(item.substr(0, semicolon));
    bool wanted = true;
    if (semicolon != std::string_view::npos) {
      std::string_view weight = Trim(item.substr(semicolon + 1));
      if (weight.size() > 2 && (weight[0] == 'q' || weight[0] == 'Q') && weight[1] == '=') {
        weight.remove_prefix(2);
        wanted = weight.find_first_of("123456789") != std::string_view::npos;  // not 0, 0.0, 0.000
      }
    }
    if (EqualNoCase(coding, "gzip") || EqualNoCase(coding, "x-gzip")) gzip = wanted;
    if (coding == "*") any = wanted;
  }
  return gzip.value_or(any.value_or(false));
}

std::string Gzip(std::string_view data) {
  constexpr int kGzipWindowBits = 15 + 16;
  constexpr int kMemLevel = 8;
  z_stream stream{};
  // Level 1 takes a third of the time of the default one, and JSON shrinks nearly as far.
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindowBits, kMemLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return {};
  }
  std::string out;
  out.resize(deflateBound(&stream, data.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return result == Z_STREAM_END ? out : std::string();
}

void AppendAnswer(Response* response, const AnswerForm& form, std::string* out) {
  const bool known = response->status >= 200 && response->status <= 599;
  const int status = known ? response->status : 500;
  const bool bodiless = status == 204 || status == 304;
  if (!bodiless && !response->source) Compress(response, form);

  out->reserve(out->size() + 512 + (form.head_only || bodiless ? 0 : response->body.size()));
  out->append("HTTP/1.1 ");
  AppendNumber(static_cast<uint64_t>(status), 10, out);
  out->push_back(' ');
  out->append(ReasonPhrase(status)).append("\r\nDate: ").append(HttpDate()).append("\r\n");
  if (!response->content_type.empty() && !bodiless) {
    AppendField("Content-Type", response->content_type, out);
  }
  std::string vary;  // one field, whoever adds to it
  for (const auto& [name, value] : response->headers.all()) {
    if (IsFramingField(name)) continue;
    if (EqualNoCase(name, "vary")) {
      if (!vary.empty()) vary += ", ";
      vary += value;
      continue;
    }
    AppendField(name, value, out);
  }
  if (!vary.empty()) AppendField("Vary", vary, out);
  if (response->source && !bodiless) {
    if (!form.http_1_0) out->append("Transfer-Encoding: chunked\r\n");
  } else if (!bodiless) {
    out->append("Content-Length: ");
    AppendNumber(response->body.size(), 10, out);
    out->append("\r\n");
  }
  if (form.close) {
    out->append("Connection: close\r\n");
  } else if (form.http_1_0) {
    out->append("Connection: keep-alive\r\n");
  }
  out->append("\r\n");
  if (!form.head_only && !bodiless && !response->source) out->append(response->body);
}

void AppendChunk(std::string_view part, std::string* out) {
  if (part.empty()) return;  // an empty chunk would be the last one
  AppendNumber(part.size(), 16, out);
  out->append("\r\n").append(part).append("\r\n");
}

void AppendLastChunk(std::string* out) {
  out->append("0\r\n\r\n");
}

}  // namespace chatchain::http
