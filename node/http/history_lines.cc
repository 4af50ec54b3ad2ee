// SPDX-License-Identifier: MIT
#include "node/http/history_lines.h"

#include <algorithm>

namespace chatchain {

http::BodySource::Step HistoryLines::Read(std::string* out) {
  if (!page_) {
    auto page = service_.MoreHistory(query_, *next_, std::min(left_.value_or(kPage), kPage));
    // The reader must see that the answer is not whole.
    if (!page) return Step::kAbort;
    page_ = std::move(*page);
    if (!page_->more) {
      next_.reset();
    } else {
      next_->after = page_->items.back().place;
    }
  }
  for (const HistoryItem& item : page_->items) {
    AppendMessageObject(out, item.shown);
    *out += '\n';
  }
  if (left_) *left_ -= std::min(*left_, page_->items.size());
  page_.reset();
  return next_ && left_ != 0U ? Step::kMore : Step::kEnd;
}

}  // namespace chatchain
