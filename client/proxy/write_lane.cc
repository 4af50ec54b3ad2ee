// SPDX-License-Identifier: MIT
#include "client/proxy/write_lane.h"

#include <algorithm>
#include <utility>

#include "client/proxy/batch_answer.h"
#include "client/proxy/upstream.h"
#include "common/protocol/limits.h"
#include "common/util/contain.h"

namespace chatchain {

namespace {

// As much as one chunk of a client's own batch: see writer.cc.
constexpr size_t kBatchMaxBytes = 2 * 1024 * 1024;
static_assert(kBatchMaxBytes < limits::kBatchBodyMaxBytes);

}  // namespace

WriteLane::WriteLane(int node, std::shared_ptr<NodeLink> link, const WriteLaneOptions& options,
                     http::EventLoop& loop, const Clock& clock)
    : node_(node), link_(std::move(link)), options_(options), loop_(loop), clock_(clock) {}

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
    if (Full()) {
      link_->metrics().queue_full.fetch_add(op->count(), std::memory_order_relaxed);
      return false;
    }
    queued_ += op->count();
    queued_bytes_ += op->items_json().size();
    queue_.push_back(std::move(op));
    // One call takes all that is there when it comes.
    if (called_ || in_flight_ >= options_.in_flight) return true;
    called_ = true;
  }
  loop_.Post([self = shared_from_this()] { self->Send(); });
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

void WriteLane::Send() {
  while (true) {
    BatchPtr batch;
    {
      MutexLock lock(mutex_);
      called_ = false;
      if (in_flight_ >= options_.in_flight) return;
      batch = std::make_shared<const Batch>(Collect());
      if (batch->empty()) return;
      ++in_flight_;
    }
    TrySend(batch, options_.copies);
  }
}

void WriteLane::TrySend(const BatchPtr& batch, int copies) {
  if (Contained("sending a batch of writes", [&] { SendBatch(batch, copies); })) return;
  {
    MutexLock lock(mutex_);
    --in_flight_;
  }
  ReportFailure(*batch, 0, link_->address() + ": a batch could not be sent");
}

void WriteLane::SendBatch(const BatchPtr& batch, int copies) {
  // The latest of the deadlines: each waiter keeps its own.
  SteadyTime deadline = batch->front()->deadline();
  size_t bytes = 0;
  size_t messages = 0;
  for (const auto& op : *batch) {
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
  for (const auto& op : *batch) {
    if (request.body.back() != '[') request.body.push_back(',');
    request.body.append(op->items_json());
  }
  request.body.append("]}");

  link_->metrics().batches.fetch_add(1, std::memory_order_relaxed);
  link_->metrics().batch_items.fetch_add(messages, std::memory_order_relaxed);
  const SteadyTime begin = clock_.Steady();
  link_->Ask(std::move(request), Expect::kObject, deadline, nullptr, waits,
             [self = shared_from_this(), batch, begin, waits](const NodeAnswer& answer) {
               if (waits && answer.response.status == 422) return self->TrySend(batch, 1);
               self->OnAnswer(*batch, begin, answer);
             });
}

void WriteLane::OnAnswer(const Batch& batch, SteadyTime begin, const NodeAnswer& answer) {
  {
    MutexLock lock(mutex_);
    --in_flight_;
  }
  size_t reported = 0;
  const bool handled = Contained("the answer to a batch of writes", [&] {
    const auto took =
        std::chrono::duration_cast<std::chrono::microseconds>(clock_.Steady() - begin);
    const int64_t usual = expected_us_;
    expected_us_ = usual == 0 ? took.count() : (7 * usual + took.count()) / 8;
    // First what waits for the node, then those who wait for the answer: they are many.
    Send();
    Distribute(batch, answer, &reported);
  });
  if (!handled) {
    ReportFailure(batch, reported, link_->address() + ": its answer could not be handled");
  }
}

void WriteLane::ReportFailure(const Batch& batch, size_t from, const std::string& why) {
  for (size_t i = from; i < batch.size(); ++i) batch[i]->ReportFailure(why);
}

void WriteLane::Distribute(const Batch& batch, const NodeAnswer& answer, size_t* reported) {
  if (answer.verdict.finality == Finality::kFailed) {
    *reported = batch.size();
    return ReportFailure(batch, 0, answer.error);
  }
  const auto node_id = answer.response.headers.Get("ChatChain-Node").value_or("");
  const auto token = answer.response.headers.Get("ChatChain-Session").value_or("");
  if (answer.response.status != 200) {
    // The node refused the request as a whole: that is its answer to each item.
    const ItemReport refusal{
        .status = answer.response.status, .body = answer.response.body, .verdict = answer.verdict};
    for (const auto& op : batch) {
      const std::vector<ItemReport> refusals(op->count(), refusal);
      ++*reported;
      op->ReportItems(node_, node_id, token, refusals);
    }
    return;
  }

  size_t expected = 0;
  for (const auto& op : batch) expected += op->count();
  auto items = ParseBatchAnswer(answer.response.body, expected);
  if (!items) {
    link_->ReportGarbage("a batch answer that does not fit its batch");
    *reported = batch.size();
    return ReportFailure(batch, 0,
                         link_->address() + ": a batch answer that does not fit its batch");
  }
  if (options_.copies > 1) {
    for (ItemReport& item : *items) item.copies = CopiesOf(item.body);
  }
  size_t begin = 0;
  for (const auto& op : batch) {
    const auto first = items->begin() + static_cast<std::ptrdiff_t>(begin);
    const std::vector<ItemReport> its(first, first + static_cast<std::ptrdiff_t>(op->count()));
    begin += op->count();
    ++*reported;
    op->ReportItems(node_, node_id, token, its);
  }
}

}  // namespace chatchain
