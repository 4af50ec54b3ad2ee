// SPDX-License-Identifier: MIT
#include "client/http/status_pages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/protocol/json.h"
#include "common/protocol/sync.h"
#include "common/util/encoding.h"
#include "common/util/version.h"

namespace chatchain {

namespace {

// Text of nodes may hold anything.
std::string JsonText(std::string_view text) {
  std::string out;
  AppendJsonString(&out, IsUtf8(text) ? text : "(not UTF-8)");
  return out;
}

std::string TextOrNull(std::string_view text) { return text.empty() ? "null" : JsonText(text); }

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

std::string Seconds(int64_t us) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", static_cast<double>(us) / 1e6);
  return text;
}

// One metric family: HELP and TYPE, then its samples.
class Family {
 public:
  Family(std::string* out, std::string_view name, std::string_view type, std::string_view help)
      : out_(*out), name_("chatchain_proxy_" + std::string(name)) {
    out_.append("# HELP ").append(name_).append(" ").append(help).append("\n");
    out_.append("# TYPE ").append(name_).append(" ").append(type).append("\n");
  }
  // `labels` without braces; empty: none.
  void Sample(std::string_view labels, std::string_view value, std::string_view suffix = "") {
    out_.append(name_).append(suffix);
    if (!labels.empty()) out_.append("{").append(labels).append("}");
    out_.append(" ").append(value).append("\n");
  }
  void Sample(std::string_view labels, uint64_t value) { Sample(labels, std::to_string(value)); }
  void Histogram(const std::string& labels, const DurationHistogram& histogram) {
    uint64_t total = 0;
    for (size_t i = 0; i < DurationHistogram::kBoundsUs.size(); ++i) {
      total += histogram.bucket(i);
      Sample(labels + ",le=\"" + Seconds(DurationHistogram::kBoundsUs[i]) + "\"",
             std::to_string(total), "_bucket");
    }
    total += histogram.bucket(DurationHistogram::kBoundsUs.size());
    Sample(labels + ",le=\"+Inf\"", std::to_string(total), "_bucket");
    char sum[32];
    std::snprintf(sum, sizeof(sum), "%.6f", static_cast<double>(histogram.sum_us()) / 1e6);
    Sample(labels, sum, "_sum");
    Sample(labels, std::to_string(total), "_count");
  }

 private:
  std::string& out_;
  const std::string name_;
};

std::string Label(std::string_view name, std::string_view value) {
  std::string out(name);
  out.append("=\"");
  for (const char c : value) {
    if (c == '\\' || c == '"') out.push_back('\\');
    out.push_back(c == '\n' ? ' ' : c);
  }
  return out + "\"";
}

void AppendNodeMetrics(std::string* out, Proxy& proxy, const NetworkReport& network) {
  std::vector<std::string> labels;
  for (const auto& node : network.nodes) labels.push_back(Label("node", node.report.address));

  Family answers(out, "node_answers_total", "counter",
                 "Tries at a node by outcome: final, not_final, refused, fault, cancelled.");
  for (size_t i = 0; i < labels.size(); ++i) {
    const NodeMetrics& node = proxy.node_metrics(i);
    const std::array<std::pair<std::string_view, const Counter*>, 5> outcomes = {{
        {"final", &node.final_answers},
        {"not_final", &node.not_final},
        {"refused", &node.refused},
        {"fault", &node.faults},
        {"cancelled", &node.cancelled},
    }};
    for (const auto& [name, counter] : outcomes) {
      answers.Sample(labels[i] + "," + Label("outcome", name), counter->load());
    }
  }
  Family batches(out, "node_batches_total", "counter", "Batches of messages sent to a node.");
  for (size_t i = 0; i < labels.size(); ++i) {
    batches.Sample(labels[i], proxy.node_metrics(i).batches.load());
  }
  Family items(out, "node_batch_messages_total", "counter", "Messages in those batches.");
  for (size_t i = 0; i < labels.size(); ++i) {
    items.Sample(labels[i], proxy.node_metrics(i).batch_items.load());
  }
  Family full(out, "node_queue_full_total", "counter",
              "Messages not handed to a node because its queue was full.");
  for (size_t i = 0; i < labels.size(); ++i) {
    full.Sample(labels[i], proxy.node_metrics(i).queue_full.load());
  }
  Family queued(out, "node_queued_messages", "gauge", "Messages that wait to be sent to a node.");
  for (size_t i = 0; i < labels.size(); ++i) {
    queued.Sample(labels[i], uint64_t{network.nodes[i].queued_messages});
  }
  Family ready(out, "node_ready", "gauge", "1 while a node counts as ready.");
  for (size_t i = 0; i < labels.size(); ++i) {
    ready.Sample(labels[i], network.nodes[i].report.ready ? uint64_t{1} : uint64_t{0});
  }
  Family breaker(out, "node_breaker_open", "gauge",
                 "1 while a node's breaker is open, 0.5 while half open.");
  for (size_t i = 0; i < labels.size(); ++i) {
    const Breaker::State state = network.nodes[i].report.breaker;
    breaker.Sample(labels[i], state == Breaker::State::kOpen       ? "1"
                              : state == Breaker::State::kHalfOpen ? "0.5"
                                                                   : "0");
  }
  Family lag(out, "node_lag_records", "gauge",
             "Log records that other nodes have shown and this one has not; absent when unknown.");
  for (size_t i = 0; i < labels.size(); ++i) {
    if (network.nodes[i].lag >= 0) {
      lag.Sample(labels[i], static_cast<uint64_t>(network.nodes[i].lag));
    }
  }
  Family duration(out, "node_duration_seconds", "histogram", "Duration of tries at a node.");
  for (size_t i = 0; i < labels.size(); ++i) {
    duration.Histogram(labels[i], proxy.node_metrics(i).duration);
  }
}

void AppendRouteMetrics(std::string* out, const ProxyMetrics& metrics) {
  constexpr std::array<std::string_view, 5> kClasses = {"1xx", "2xx", "3xx", "4xx", "5xx"};
  Family requests(out, "requests_total", "counter", "Requests by route and class of status.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    const std::string label = Label("route", RouteName(static_cast<RouteId>(route)));
    for (size_t i = 0; i < kClasses.size(); ++i) {
      requests.Sample(label + "," + Label("code", kClasses[i]),
                      metrics.routes[route].by_class[i].load());
    }
  }
  Family duration(out, "request_duration_seconds", "histogram",
                  "Duration of requests by route; of NDJSON the first page.");
  for (size_t route = 0; route < kRouteCount; ++route) {
    duration.Histogram(Label("route", RouteName(static_cast<RouteId>(route))),
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

std::string NetworkJson(const NetworkReport& network, Strategy read, Strategy write) {
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
  out.append(",\"strategy\":{\"read\":").append(JsonText(StrategyName(read)));
  out.append(",\"write\":").append(JsonText(StrategyName(write))).append("}}");
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

std::string MetricsText(Proxy& proxy, const http::ServerStats& server) {
  const NetworkReport network = proxy.Network();
  const ProxyMetrics& metrics = proxy.metrics();
  std::string out;
  const auto single = [&](std::string_view name, std::string_view type, std::string_view help,
                          uint64_t value) { Family(&out, name, type, help).Sample("", value); };
  Family(&out, "build_info", "gauge", "Always 1; the version is a label.")
      .Sample(Label("version", ProjectVersion()), uint64_t{1});
  AppendRouteMetrics(&out, metrics);
  AppendNodeMetrics(&out, proxy, network);
  single("nodes", "gauge", "Configured nodes.", network.nodes.size());
  single("nodes_ready", "gauge", "Nodes that count as ready.",
         static_cast<uint64_t>(network.ready));
  single("converged", "gauge", "1 while all nodes that answer hold the same log.",
         network.converged ? 1 : 0);
  single("hedges_total", "counter", "Second tries sent because the first was slow.",
         metrics.hedges.load());
  single("hedges_refused_total", "counter", "Second tries not sent: over the budget.",
         metrics.hedges_refused.load());
  single("retry_rounds_total", "counter", "Times that all nodes were asked once more.",
         metrics.rounds.load());
  single("retry_rounds_refused_total", "counter", "Times that they were not: over the budget.",
         metrics.rounds_refused.load());
  single("unanswered_total", "counter", "Requests that no node could take.",
         metrics.unanswered.load());
  single("connections_open", "gauge", "Client connections.", server.connections_open);
  single("connections_accepted_total", "counter", "Client connections accepted.",
         server.connections_accepted);
  single("connections_refused_total", "counter", "Client connections refused: over the limit.",
         server.connections_refused);
  single("requests_shed_total", "counter", "Requests answered 503 because too many were in flight.",
         server.requests_shed);
  single("requests_in_flight", "gauge", "Requests being worked on.", server.in_flight);
  single("workers", "gauge", "Threads that run requests.", server.workers);
  return out;
}

}  // namespace chatchain
