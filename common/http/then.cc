// SPDX-License-Identifier: MIT
#include "common/http/then.h"

#include <memory>
#include <utility>

#include "common/http/later.h"

namespace chatchain::http {

namespace {

class Finished final : public LaterAnswer {
 public:
  Finished(std::shared_ptr<LaterAnswer> inner, std::function<Response(Response)> finish)
      : inner_(std::move(inner)), finish_(std::move(finish)) {}

  void Begin(std::function<void()> resume) override { inner_->Begin(std::move(resume)); }
  bool finishes_at_once() const override { return inner_->finishes_at_once(); }
  bool waits_long() const override { return inner_->waits_long(); }
  void Cancel() override { inner_->Cancel(); }
  Response Finish() override { return finish_(inner_->Finish()); }

 private:
  const std::shared_ptr<LaterAnswer> inner_;
  const std::function<Response(Response)> finish_;
};

}  // namespace

Response Then(Response response, std::function<Response(Response)> finish) {
  if (response.later == nullptr) return finish(std::move(response));
  Response later;
  later.later = std::make_shared<Finished>(std::move(response.later), std::move(finish));
  return later;
}

}  // namespace chatchain::http
