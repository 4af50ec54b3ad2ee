// SPDX-License-Identifier: MIT
#include "client/http/status_pages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/json.h"
#include "common/protocol/sync.h"
#include "common/util/encoding.h"
#include "common/util/metrics_text.h"
#include "common/util/version.h"

namespace chatchain {

namespace {

// Text of nodes may hold anything.
std::string JsonText(std::string_view text) {
  std::string out;
  AppendJsonString(&out, IsUtf8(text) ? text : "(not UTF-8)");
  return out;
}

std::string TextOrNull(std::string_view text) {
  return text.empty() ? "null" : JsonText(text);
}

std::string NumberOrNull(std::optional<int64_t> number) {
  return number && *number >= 0 ? std::to_string(*number) : "null";
}

// Microseconds as milliseconds with three decimals.
std::string MillisOrNull(std::optional<int64_t> us) {
  if (!us) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", static_cast<double>(*us) / 1e3);
  return text;
}

// A number as a label: 0.0005, 1, 10.
std::string Seconds(int64_t us) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(us) / 1e6);
  return text;
}

using Labels = MetricsText::Labels;

void Family(MetricsText* page, std::string_view name, std::string_view type,
            std::string_view help) {
  page->Family("chatchain_proxy_" + std::string(name), type, help);
}

double Value(const Counter& counter) {
  return static_cast<double>(counter.load());
}

void Histogram(MetricsText* page, const Labels& labels, const DurationHistogram& histogram) {
  uint64_t total = 0;
  const auto bucket = [&](std::string le) {
    Labels with_bound = labels;
    with_bound.emplace_back("le", std::move(le));
    page->Sample(with_bound, static_cast<double>(total), "_bucket");
  };
  for (size_t i = 0; i < DurationHistogram::kBoundsUs.size(); ++i) {
    total += histogram.bucket(i);
    bucket(Seconds(DurationHistogram::kBoundsUs[i]));
  }
  total += histogram.bucket(DurationHistogram::kBoundsUs.size());
  bucket("+Inf");
  page->Sample(labels, static_cast<double>(histogram.sum_us()) / 1e6, "_sum");
  page->Sample(labels, static_cast<double>(total), "_count");
}

// One family with one sample a node.
template <typename ValueOf>
void NodeFamily(MetricsText* page, const NetworkReport& network, std::string_view name,
                std::string_view type, std::string_view help, ValueOf value_of) {
  Family(page, name, type, help);
  for (size_t i = 0; i < network.nodes.size(); ++i) {
    page->Sample({{"node", network.nodes[i].report.address}}, static_cast<double>(value_of(i)));
  }
}

void AppendNodeMetrics(MetricsText* page, const NetworkReport& network) {
  Family(page, "node_answers_total", "counter",
         "Tries at a node by outcome: final, not_final, refused, fault, cancelled.");
  for (size_t i = 0; i < network.nodes.size(); ++i) {
    const NodeMetrics& node = network.nodes[i].link->metrics();
    const std::array<std::pair<const char*, const Counter*>, 5> outcomes = {{
        {"final", &node.final_answers},
        {"not_final", &node.not_final},
        {"refused", &node.refused},
        {"fault", &node.faults},
        {"cancelled", &node.cancelled},
    }};
    for (const auto& [outcome, counter] : outcomes) {
      page->Sample({{"node", network.nodes[i].report.address}, {"outcome", outcome}},
                   Value(*counter));
    }
  }
  NodeFamily(page, network, "node_batches_total", "counter", "Batches of messages sent to a node.",
             [&](size_t i) { return Value(network.nodes[i].link->metrics().batches); });
  NodeFamily(page, network, "node_batch_messages_total", "counter", "Messages in those batches.",
             [&](size_t i) { return Value(network.nodes[i].link->metrics().batch_items); });
  NodeFamily(page, network, "node_queue_full_total", "counter",
             "Messages not handed to a node because its queue was full.",
             [&](size_t i) { return Value(network.nodes[i].link->metrics().queue_full); });
  NodeFamily(page, network, "node_queued_messages", "gauge",
             "Messages that wait to be sent to a node.",
             [&](size_t i) { return network.nodes[i].queued_messages; });
  NodeFamily(page, network, "node_ready", "gauge", "1 while a node counts as ready.",
             [&](size_t i) { return network.nodes[i].report.ready ? 1 : 0; });
  NodeFamily(page, network, "node_breaker_open", "gauge",
             "1 while a node's breaker is open, 0.5 while half open.", [&](size_t i) {
               const Breaker::State state = network.nodes[i].report.breaker;
               if (state == Breaker::State::kHalfOpen) return 0.5;
               return state == Breaker::State::kOpen ? 1.0 : 0.0;
             });
  NodeFamily(page, network, "node_lag_records", "gauge",
             "Log records that other nodes have shown and this one has not; -1 when not known.",
             [&](size_t i) { return network.nodes[i].lag; });
  Family(page, "node_duration_seconds", "histogram", "Duration of tries at a node.");
  for (size_t i = 0; i < network.nodes.size(); ++i) {
    Histogram(page, {{"node", network.nodes[i].report.address}},
              network.nodes[i].link->metrics().duration);
  }
}

void AppendRouteMetrics(MetricsText* page, const ProxyMetrics& metrics) {
  constexpr std::array<const char*, 5> kClasses = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  Family(page, "requests_total", "counter", "Requests by route and class of status.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    const std::string name(RouteName(static_cast<RouteId>(route)));
    for (size_t i = 0; i < kClasses.size(); ++i) {
      page->Sample({{"route", name}, {"code", kClasses[i]}},
                   Value(metrics.routes[route].by_class[i]));
    }
  }
  Family(page, "request_duration_seconds", "histogram",
         "Duration of requests by route; of NDJSON the first page.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    Histogram(page, {{"route", std::string(RouteName(static_cast<RouteId>(route)))}},
              metrics.routes[route].duration);
  }
}

}  // namespace

std::string_view RouteName(RouteId route) {
  switch (route) {
    case RouteId::kSend: return "POST /messages";
    case RouteId::kSendBatch: return "POST /messages/batch";
    case RouteId::kList: return "GET /messages";
    case RouteId::kListLines: return "GET /messages (NDJSON)";
    case RouteId::kGet: return "GET /messages/{id}";
  }
  return "";
}

std::string NetworkJson(const NetworkReport& network) {
  std::string out = "{\"nodes\":[";
  for (const NetworkReport::Node& node : network.nodes) {
    const NodeReport& report = node.report;
    if (out.back() != '[') out.push_back(',');
    out.append("{\"id\":").append(TextOrNull(report.id));
    out.append(",\"address\":").append(JsonText(report.address));
    out.append(",\"state\":").append(JsonText(NodeStateName(report.state)));
    out.append(",\"breaker\":").append(JsonText(BreakerName(report.breaker)));
    out.append(",\"latency_ms\":{\"p50\":").append(MillisOrNull(report.p50_us));
    out.append(",\"p99\":").append(MillisOrNull(report.p99_us));
    out.append("},\"messages\":").append(NumberOrNull(report.messages));
    out.append(",\"lag\":").append(NumberOrNull(node.lag));
    out.append(",\"last_error\":").append(TextOrNull(report.last_error)).append("}");
  }
  out.append("],\"ready\":").append(std::to_string(network.ready));
  out.append(",\"total\":").append(std::to_string(network.nodes.size()));
  out.append(",\"converged\":").append(network.converged ? "true" : "false");
  out.append(",\"strategy\":{\"read\":").append(JsonText(StrategyName(network.read_strategy)));
  out.append(",\"write\":").append(JsonText(StrategyName(network.write_strategy))).append("}}");
  return out;
}

std::string ReadyJson(const NetworkReport& network, bool draining) {
  // What the best node is; without any that answers, the proxy waits for one.
  std::string_view state = "catching_up";
  HeadVector heads;
  for (const NetworkReport::Node& node : network.nodes) {
    if (node.report.state == NodeState::kReadOnly && state != "ready") state = "read_only";
    if (node.report.ready) state = "ready";
    if (node.report.heads == nullptr) continue;
    for (const auto& [key, position] : *node.report.heads) {
      Position& most = heads[key];
      if (position.seq > most.seq) most = position;
    }
  }
  std::string out = "{\"state\":" + JsonText(draining ? "draining" : state) + ",\"heads\":";
  AppendHeads(&out, heads);
  return out + "}";
}

std::string RenderMetrics(Proxy& proxy, const http::ServerStats& server) {
  const NetworkReport network = proxy.Network();
  const ProxyMetrics& metrics = proxy.metrics();
  MetricsText page;
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    Family(&page, name, "counter", help);
    page.Sample(static_cast<double>(value));
  };
  const auto gauge = [&](std::string_view name, std::string_view help, uint64_t value) {
    Family(&page, name, "gauge", help);
    page.Sample(static_cast<double>(value));
  };
  Family(&page, "build_info", "gauge", "Always 1; the version is a label.");
  page.Sample({{"version", std::string(ProjectVersion())}}, 1);
  AppendRouteMetrics(&page, metrics);
  AppendNodeMetrics(&page, network);
  gauge("nodes", "Configured nodes.", network.nodes.size());
  gauge("nodes_ready", "Nodes that count as ready.", static_cast<uint64_t>(network.ready));
  gauge("converged", "1 while all nodes that answer hold the same log.", network.converged ? 1 : 0);
  counter("hedges_total", "Second tries sent because the first was slow.", metrics.hedges);
  counter("hedges_refused_total", "Second tries not sent: over the budget.",
          metrics.hedges_refused);
  counter("retry_rounds_total", "Times that all nodes were asked once more.", metrics.rounds);
  counter("retry_rounds_refused_total", "Times that they were not: over the budget.",
          metrics.rounds_refused);
  counter("rate_limited_total", "Requests answered 429: over the rate of their client's address.",
          metrics.rate_limited);
  counter("shared_reads_total", "Reads answered by what an identical one in flight got.",
          metrics.shared_reads);
  counter("shared_writes_total", "Messages answered by what one with the same key in flight got.",
          metrics.shared_writes);
  counter("unanswered_total", "Requests that no node could take.", metrics.unanswered);
  gauge("connections_open", "Client connections.", server.connections_open);
  counter("connections_accepted_total", "Client connections accepted.",
          server.connections_accepted);
  counter("connections_refused_total", "Client connections refused: over the limit.",
          server.connections_refused);
  counter("requests_shed_total", "Requests answered 503 because too many were in flight.",
          server.requests_shed);
  gauge("requests_in_flight", "Requests being worked on.", server.in_flight);
  gauge("workers", "Threads that run requests.", server.workers);
  return page.Take();
}

}  // namespace chatchain
