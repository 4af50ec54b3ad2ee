// SPDX-License-Identifier: MIT
#include "client/proxy/write_op.h"

#include <algorithm>

namespace chatchain {

WriteOp::WriteOp(std::string items_json, size_t count, int copies, SteadyTime deadline)
    : items_json_(std::move(items_json)), count_(count), copies_(copies), deadline_(deadline) {
  MutexLock lock(mutex_);
  outcome_.items.resize(count);
}

void WriteOp::Expect() {
  MutexLock lock(mutex_);
  ++outstanding_;
}

WriteOp::Progress WriteOp::ProgressLocked() const {
  Progress progress{.done = true, .answered = true, .stored = true, .outstanding = outstanding_};
  for (const ItemOutcome& item : outcome_.items) {
    const bool final = item.verdict.finality == Finality::kFinal && item.status != 0;
    const bool success = final && item.status < 300;
    const bool copied = !success || item.copies() >= copies_;
    progress.done = progress.done && final && (copies_ <= 1 || copied);
    progress.answered = progress.answered && item.status != 0;
    progress.stored = progress.stored && final;
  }
  return progress;
}

WriteOp::Progress WriteOp::progress() const {
  MutexLock lock(mutex_);
  return ProgressLocked();
}

std::vector<WriteOp::Lack> WriteOp::LackingCopies() const {
  MutexLock lock(mutex_);
  std::vector<Lack> lacking;
  for (size_t i = 0; i < outcome_.items.size(); ++i) {
    const ItemOutcome& item = outcome_.items[i];
    const bool stored =
        item.verdict.finality == Finality::kFinal && item.status >= 200 && item.status < 300;
    if (stored && item.copies() < copies_) lacking.push_back({i, item.node});
  }
  return lacking;
}

WriteOutcome WriteOp::Close() {
  closed_.store(true, std::memory_order_release);
  MutexLock lock(mutex_);
  on_report_ = nullptr;
  return std::move(outcome_);
}

void WriteOp::set_on_report(std::function<void()> on_report) {
  MutexLock lock(mutex_);
  on_report_ = std::move(on_report);
}

void WriteOp::TakeItem(ItemOutcome* into, const ItemReport& report, int node,
                       std::string_view node_id, bool* used) {
  const AnswerVerdict& verdict = report.verdict;
  if (verdict.finality == Finality::kFailed) {
    std::string why = "node " + std::string(node_id) + ": " + std::to_string(report.status);
    into->refusals.push_back(std::move(why));
    return;
  }
  const bool final = verdict.finality == Finality::kFinal;
  const bool success = final && report.status < 300;
  if (success && copies_ > 1 &&
      std::find(into->holders.begin(), into->holders.end(), node_id) == into->holders.end()) {
    into->holders.emplace_back(node_id);
  }
  if (success) into->known_copies = std::max(into->known_copies, report.copies);
  if (into->status != 0) {
    const bool have_final = into->verdict.finality == Finality::kFinal;
    // The first final answer stays, but a success beats a refusal: the message is stored then.
    const bool better =
        have_final ? success && into->status >= 300 : final || verdict.rank > into->verdict.rank;
    if (!better) return;
  }
  into->status = report.status;
  into->body = report.body;
  into->verdict = verdict;
  into->node = node;
  *used = true;
}

void WriteOp::ReportItems(int node, std::string_view node_id, std::string_view token,
                          const std::vector<ItemReport>& items) {
  std::function<void()> on_report;
  {
    MutexLock lock(mutex_);
    --outstanding_;
    on_report = on_report_;
    if (!closed_.load(std::memory_order_relaxed)) {
      bool used = false;
      for (size_t i = 0; i < items.size() && i < outcome_.items.size(); ++i) {
        TakeItem(&outcome_.items[i], items[i], node, node_id, &used);
      }
      if (used) {
        outcome_.sources.push_back(
            {.node = node, .node_id = std::string(node_id), .token = std::string(token)});
      }
      if (ProgressLocked().done) closed_.store(true, std::memory_order_release);
    }
  }
  if (on_report) on_report();
}

void WriteOp::ReportFailure(std::string why) {
  std::function<void()> on_report;
  {
    MutexLock lock(mutex_);
    --outstanding_;
    on_report = on_report_;
    if (!closed_.load(std::memory_order_relaxed)) outcome_.failures.push_back(std::move(why));
  }
  if (on_report) on_report();
}

}  // namespace chatchain
