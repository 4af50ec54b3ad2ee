// SPDX-License-Identifier: MIT
#include "common/http/then.h"

#include <memory>
#include <utility>

#include "common/http/event_loop.h"
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
  Response GivenUp() override { return finish_(inner_->GivenUp()); }

 private:
  const std::shared_ptr<LaterAnswer> inner_;
  const std::function<Response(Response)> finish_;
};

// `answer` may be there already.
class OnWorker final : public LaterAnswer {
 public:
  OnWorker(Response answer, std::function<Response(Response)> finish)
      : answer_(std::move(answer)), finish_(std::move(finish)) {}

  void Begin(std::function<void()> resume) override {
    if (answer_.later == nullptr) return resume();
    answer_.later->Begin(std::move(resume));
  }
  bool waits_long() const override {
    return answer_.later != nullptr && answer_.later->waits_long();
  }
  void Cancel() override {
    if (answer_.later != nullptr) answer_.later->Cancel();
  }
  Response Finish() override {
    return finish_(answer_.later != nullptr ? answer_.later->Finish() : std::move(answer_));
  }
  Response GivenUp() override {
    return finish_(answer_.later != nullptr ? answer_.later->GivenUp() : FailedResponse());
  }

 private:
  Response answer_;
  const std::function<Response(Response)> finish_;
};

}  // namespace

Response Then(Response response, std::function<Response(Response)> finish) {
  if (response.later == nullptr) return finish(std::move(response));
  Response later;
  later.later = std::make_shared<Finished>(std::move(response.later), std::move(finish));
  return later;
}

Response ThenOnWorker(Response response, std::function<Response(Response)> finish) {
  if (response.later == nullptr && EventLoop::Current() == nullptr) {
    return finish(std::move(response));
  }
  Response later;
  later.later = std::make_shared<OnWorker>(std::move(response), std::move(finish));
  return later;
}

}  // namespace chatchain::http
