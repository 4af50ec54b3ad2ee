// SPDX-License-Identifier: MIT
// GET /messages as NDJSON: every message of a walk, one a line, page by page, so that neither
// memory nor a read snapshot grows with history. One thread at a time.
#pragma once

#include "common/http/message.h"
#include "node/service/service.h"

namespace chatchain {

class HistoryLines final : public http::BodySource {
 public:
  static constexpr size_t kPage = 500;

  // `first`: the first page, of at most kPage messages.
  HistoryLines(Service& service, ListQuery query, HistoryAnswer first)
      : service_(service),
        query_(std::move(query)),
        left_(query_.limit),
        page_(std::move(first.page)),
        next_(std::move(first.next)) {}

  Step Read(std::string* out) override;

 private:
  Service& service_;
  const ListQuery query_;
  std::optional<size_t> left_;  // none: all
  std::optional<HistoryPage> page_;
  std::optional<Cursor> next_;
};

}  // namespace chatchain
