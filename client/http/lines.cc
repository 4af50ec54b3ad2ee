// SPDX-License-Identifier: MIT
#include "client/http/lines.h"

#include <algorithm>
#include <utility>

#include "client/http/headers.h"
#include "client/proxy/json_slice.h"

namespace chatchain {

namespace {

// Small enough that the longest messages make a page of some megabytes.
constexpr size_t kPageMessages = 200;

class LinesSource final : public http::BodySource {
 public:
  LinesSource(Proxy& proxy, const Clock& clock, LinesRequest request)
      : proxy_(proxy), clock_(clock), request_(std::move(request)), left_(request_.limit) {
    std::erase_if(request_.params, [this](const auto& param) {
      if (param.first == "cursor") cursor_ = param.second;
      return param.first == "cursor" || param.first == "limit";
    });
  }

  // The page at the cursor.
  ReadResult Fetch() {
    QueryParams params = request_.params;
    const size_t size = left_ ? std::min(*left_, kPageMessages) : kPageMessages;
    params.emplace_back("limit", std::to_string(size));
    if (!cursor_.empty()) params.emplace_back("cursor", cursor_);
    return proxy_.Read(
        {.target = "/messages?" + EncodeQuery(params),
         .headers = request_.headers,
         .session = request_.session,
         .expect = Expect::kPage,
         .deadline = clock_.Steady() + std::chrono::milliseconds(request_.page_timeout_ms)});
  }

  // Makes lines of a page and moves the cursor on; false when it is not a page.
  bool TakePage(const std::string& body) {
    const auto page = SlicePage(body);
    if (!page) return false;
    const bool whole = VisitJsonElements(page->messages, [&](std::string_view message) {
      if (left_ && *left_ == 0) return true;
      if (left_) --*left_;
      const size_t begin = lines_.size();
      lines_.append(message);
      // A raw line break in JSON is white space between tokens.
      std::replace_if(
          lines_.begin() + static_cast<std::ptrdiff_t>(begin), lines_.end(),
          [](char c) { return c == '\n' || c == '\r'; }, ' ');
      lines_.push_back('\n');
      return true;
    });
    if (!whole) return false;
    ended_ = !page->next || (left_ && *left_ == 0);
    if (page->next) cursor_ = std::string(*page->next);
    return true;
  }

  Step Read(std::string* out) override {
    while (lines_.empty() && !ended_) {
      const ReadResult result = Fetch();
      if (!result.answered || result.response.status != 200 || !TakePage(result.response.body)) {
        return Step::kAbort;
      }
    }
    *out = std::exchange(lines_, std::string());
    return ended_ ? Step::kEnd : Step::kMore;
  }

 private:
  Proxy& proxy_;
  const Clock& clock_;
  LinesRequest request_;
  std::optional<size_t> left_;
  std::string cursor_;
  std::string lines_;
  bool ended_ = false;
};

}  // namespace

http::Response ListLines(Proxy& proxy, const Clock& clock, LinesRequest request) {
  auto source = std::make_unique<LinesSource>(proxy, clock, std::move(request));
  ReadResult first = source->Fetch();
  if (!first.answered) {
    return Unanswered("no node could answer", first.failures, first.attempts);
  }
  const bool good = first.response.status == 200;
  if (good && !source->TakePage(first.response.body)) {
    return Unanswered("no node gave a page", {"a page that cannot be read"}, first.attempts);
  }
  http::Response response = AnswerFrom(std::move(first));
  if (!good) return response;
  // They belong to one page, not to the walk.
  http::Headers headers;
  for (const auto& [name, value] : response.headers.all()) {
    if (name != "Link" && name != "link") headers.Add(name, value);
  }
  response.headers = std::move(headers);
  response.content_type = "application/x-ndjson";
  response.body.clear();
  response.source = std::move(source);
  return response;
}

}  // namespace chatchain
