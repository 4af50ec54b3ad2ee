// SPDX-License-Identifier: MIT
#include "client/http/then.h"

#include <memory>
#include <utility>

#include "common/http/later.h"

namespace chatchain {

namespace {

class Finished final : public http::LaterAnswer {
 public:
  Finished(std::shared_ptr<http::LaterAnswer> inner,
           std::function<http::Response(http::Response)> finish)
      : inner_(std::move(inner)), finish_(std::move(finish)) {}

  void Begin(std::function<void()> resume) override { inner_->Begin(std::move(resume)); }
  http::Response Finish() override { return finish_(inner_->Finish()); }

 private:
  const std::shared_ptr<http::LaterAnswer> inner_;
  const std::function<http::Response(http::Response)> finish_;
};

}  // namespace

http::Response Then(http::Response response, std::function<http::Response(http::Response)> finish) {
  if (response.later == nullptr) return finish(std::move(response));
  http::Response later;
  later.later = std::make_shared<Finished>(std::move(response.later), std::move(finish));
  return later;
}

}  // namespace chatchain
