// SPDX-License-Identifier: MIT
#include "client/proxy/write_lane.h"

#include <algorithm>
#include <utility>

#include "client/proxy/batch_answer.h"
#include "client/proxy/upstream.h"
#include "common/protocol/limits.h"

namespace chatchain {

namespace {

// Room for the braces around the items.
constexpr size_t kBatchMaxBytes = limits::kBatchBodyMaxBytes - 1024;

}  // namespace

WriteLane::WriteLane(int node, NodeLink& link, const WriteLaneOptions& options, const Clock& clock)
    : node_(node), link_(link), options_(options), clock_(clock) {
  {
    MutexLock lock(mutex_);
    in_flight_.resize(options_.senders);
  }
  for (size_t i = 0; i < options_.senders; ++i) senders_.emplace_back([this, i] { Run(i); });
}

WriteLane::~WriteLane() {
  std::vector<std::shared_ptr<http::Cancellation>> in_flight;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    in_flight = in_flight_;
  }
  called_cv_.NotifyAll();
  for (const auto& cancellation : in_flight) {
    if (cancellation) cancellation->Cancel();
  }
  for (std::thread& sender : senders_) sender.join();
}

bool WriteLane::Full() const {
  return queued_ >= options_.queue_messages || queued_bytes_ >= options_.queue_bytes;
}

void WriteLane::Forget(const WriteOp& op) {
  queued_ -= op.count();
  queued_bytes_ -= op.items_json().size();
}

bool WriteLane::Push(std::shared_ptr<WriteOp> op) {
  {
    MutexLock lock(mutex_);
    // The oldest are answered first, so this keeps the queue of a hung node short.
    while (!queue_.empty() && !queue_.front()->wanted()) {
      Forget(*queue_.front());
      queue_.pop_front();
    }
    if (Full()) DropUnwanted(clock_.Steady());
    if (stopping_ || Full()) {
      link_.metrics().queue_full.fetch_add(op->count(), std::memory_order_relaxed);
      return false;
    }
    queued_ += op->count();
    queued_bytes_ += op->items_json().size();
    queue_.push_back(std::move(op));
    // One call brings one sender, who takes all that is there when it arrives.
    if (called_ || resting_ == 0) return true;
    called_ = true;
  }
  called_cv_.NotifyOne();
  return true;
}

size_t WriteLane::queued_messages() const {
  MutexLock lock(mutex_);
  return queued_;
}

void WriteLane::DropUnwanted(SteadyTime now) {
  std::erase_if(queue_, [&](const std::shared_ptr<WriteOp>& op) REQUIRES(mutex_) {
    const bool unwanted = !op->wanted() || op->deadline() <= now;
    if (unwanted) Forget(*op);
    return unwanted;
  });
}

WriteLane::Batch WriteLane::Collect() {
  const SteadyTime now = clock_.Steady();
  Batch batch;
  size_t messages = 0;
  size_t bytes = 0;
  while (!queue_.empty()) {
    std::shared_ptr<WriteOp>& op = queue_.front();
    const bool unwanted = !op->wanted() || op->deadline() <= now;
    // An op that is too large by itself still travels: alone.
    const bool fits = batch.empty() || (messages + op->count() <= options_.batch_messages &&
                                        bytes + op->items_json().size() < kBatchMaxBytes);
    if (!unwanted && !fits) break;
    Forget(*op);
    if (!unwanted) {
      messages += op->count();
      bytes += op->items_json().size() + 1;
      batch.push_back(std::move(op));
    }
    queue_.pop_front();
  }
  return batch;
}

WriteLane::Batch WriteLane::TakeBatch() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    Batch batch = Collect();
    if (!queue_.empty() && resting_ > 0 && !called_) {
      called_ = true;
      called_cv_.NotifyOne();
    }
    if (!batch.empty()) return batch;
    ++resting_;
    while (!called_ && !stopping_) called_cv_.Wait(mutex_);
    called_ = false;
    --resting_;
  }
  return {};
}

void WriteLane::Run(size_t sender) {
  while (true) {
    const Batch batch = TakeBatch();
    if (batch.empty()) return;
    auto cancellation = std::make_shared<http::Cancellation>();
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      in_flight_[sender] = cancellation;
    }
    const SteadyTime begin = clock_.Steady();
    SendBatch(batch, options_.copies, cancellation.get());
    const auto took =
        std::chrono::duration_cast<std::chrono::microseconds>(clock_.Steady() - begin);
    // Two senders may lose an update to each other, which an average survives.
    const int64_t usual = expected_us_;
    expected_us_ = usual == 0 ? took.count() : (7 * usual + took.count()) / 8;
    MutexLock lock(mutex_);
    in_flight_[sender] = nullptr;
  }
}

void WriteLane::SendBatch(const Batch& batch, int copies, http::Cancellation* cancellation) {
  // The latest of the deadlines: each waiter keeps its own.
  SteadyTime deadline = batch.front()->deadline();
  size_t bytes = 0;
  size_t messages = 0;
  for (const auto& op : batch) {
    deadline = std::max(deadline, op->deadline());
    bytes += op->items_json().size() + 1;
    messages += op->count();
  }
  http::ClientRequest request{
      .method = "POST", .target = "/messages/batch", .content_type = "application/json"};
  request.headers.Add("ChatChain-Deadline-Ms", DeadlineMs(deadline, clock_.Steady()));
  const bool waits = copies > 1;
  if (waits) request.headers.Add("ChatChain-Acks", std::to_string(copies));
  request.body.reserve(bytes + 16);
  request.body = "{\"messages\":[";
  for (const auto& op : batch) {
    if (request.body.back() != '[') request.body.push_back(',');
    request.body.append(op->items_json());
  }
  request.body.append("]}");

  link_.metrics().batches.fetch_add(1, std::memory_order_relaxed);
  link_.metrics().batch_items.fetch_add(messages, std::memory_order_relaxed);
  const NodeAnswer answer = link_.Ask(request, Expect::kObject, deadline, cancellation, waits);
  if (waits && answer.response.status == 422) return SendBatch(batch, 1, cancellation);
  Distribute(batch, answer);
}

void WriteLane::Distribute(const Batch& batch, const NodeAnswer& answer) {
  if (answer.verdict.finality == Finality::kFailed) {
    for (const auto& op : batch) op->ReportFailure(answer.error);
    return;
  }
  const auto node_id = answer.response.headers.Get("ChatChain-Node").value_or("");
  const auto token = answer.response.headers.Get("ChatChain-Session").value_or("");
  if (answer.response.status != 200) {
    // The node refused the request as a whole: that is its answer to each item.
    const ItemReport refusal{
        .status = answer.response.status, .body = answer.response.body, .verdict = answer.verdict};
    for (const auto& op : batch) {
      op->ReportItems(node_, node_id, token, std::vector<ItemReport>(op->count(), refusal));
    }
    return;
  }

  size_t expected = 0;
  for (const auto& op : batch) expected += op->count();
  auto items = ParseBatchAnswer(answer.response.body, expected);
  if (!items) {
    link_.ReportGarbage("a batch answer that does not fit its batch");
    for (const auto& op : batch) {
      op->ReportFailure(link_.address() + ": a batch answer that does not fit its batch");
    }
    return;
  }
  if (options_.copies > 1) {
    for (ItemReport& item : *items) item.copies = CopiesOf(item.body);
  }
  size_t begin = 0;
  for (const auto& op : batch) {
    const auto first = items->begin() + static_cast<std::ptrdiff_t>(begin);
    op->ReportItems(node_, node_id, token,
                    {first, first + static_cast<std::ptrdiff_t>(op->count())});
    begin += op->count();
  }
}

}  // namespace chatchain
