// SPDX-License-Identifier: MIT
#include "common/util/metrics_text.h"
#include "node/http/api.h"

namespace chatchain {

Try<http::Response> NodeApi::GetMetrics(http::Request&) {
  const LogStatePtr state = storage_.State();
  const WriterStats writer = storage_.writer().stats();
  const std::vector<PeerStatus> peers = sync_.peers();
  MetricsText text;
  const auto gauge = [&](std::string_view name, std::string_view help, double value) {
    text.Family(name, "gauge", help);
    text.Sample(value);
  };
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    text.Family(name, "counter", help);
    text.Sample(static_cast<double>(value));
  };

  text.Family("chatchain_node_info", "gauge", "Always 1; says who this is.");
  text.Sample(
      {{"node", options_.node_id}, {"cluster", options_.cluster}, {"version", options_.version}},
      1);
  text.Family("chatchain_node_state", "gauge", "1 for the state that the node is in.");
  for (const char* name : {"ready", "catching_up", "draining", "read_only"}) {
    text.Sample({{"state", name}}, State() == name ? 1 : 0);
  }
  gauge("chatchain_node_messages", "Messages stored.", static_cast<double>(state->messages));
  gauge("chatchain_node_epochs", "Epochs in the vector of heads.",
        static_cast<double>(state->heads.size()));
  gauge("chatchain_node_open_epochs", "Epochs that tokens name; the others are sealed.",
        static_cast<double>(state->token.size()));
  gauge("chatchain_node_forked_epochs", "Epochs frozen because two branches of them exist.",
        static_cast<double>(state->forks.size()));
  gauge("chatchain_node_id_runs_twice", "1 when another process was seen under this node's id.",
        state->id_runs_twice ? 1 : 0);
  gauge("chatchain_node_disk_bytes", "Size of the database and its write-ahead log.",
        static_cast<double>(storage_.DiskBytes()));
  gauge("chatchain_node_wal_bytes", "Size of the write-ahead log at the last commit.",
        static_cast<double>(writer.wal_bytes));
  gauge("chatchain_node_write_queue", "Writes that wait for the writer thread.",
        static_cast<double>(writer.queued));
  counter("chatchain_node_commits_total", "Durable commits.", writer.commits);
  counter("chatchain_node_failed_commits_total", "Commits that failed and were rolled back.",
          writer.failed_commits);
  counter("chatchain_node_committed_jobs_total", "Writes in those commits.", writer.jobs);
  counter("chatchain_node_repaired_records_total",
          "Stored records that failed their check and were given up to be pulled again.",
          writer.repaired_records);
  counter("chatchain_node_sync_served_records_total", "Records given to peers.",
          served_records_.load());

  const auto per_peer = [&](std::string_view name, std::string_view type, std::string_view help,
                            auto value) {
    text.Family(name, type, help);
    for (const PeerStatus& peer : peers) {
      text.Sample({{"peer", peer.address}}, static_cast<double>(value(peer)));
    }
  };
  per_peer("chatchain_node_peer_up", "gauge", "1 when the last pull of the peer succeeded.",
           [](const PeerStatus& peer) { return peer.state == PeerStatus::State::kUp ? 1 : 0; });
  per_peer("chatchain_node_peer_lag_records", "gauge",
           "Records of this node that the peer has not shown to have.",
           [](const PeerStatus& peer) { return peer.lag; });
  per_peer("chatchain_node_sync_pulls_total", "counter", "Successful pulls.",
           [](const PeerStatus& peer) { return peer.pulls; });
  per_peer("chatchain_node_sync_failed_pulls_total", "counter", "Failed pulls.",
           [](const PeerStatus& peer) { return peer.failed_pulls; });
  per_peer("chatchain_node_sync_records_total", "counter", "Records taken from the peer.",
           [](const PeerStatus& peer) { return peer.records; });
  per_peer("chatchain_node_sync_refused_records_total", "counter",
           "Records of the peer that failed a check.",
           [](const PeerStatus& peer) { return peer.refused_records; });

  if (server_ != nullptr) {
    const http::ServerStats http = server_->stats();
    gauge("chatchain_http_connections", "Open connections.",
          static_cast<double>(http.connections_open));
    gauge("chatchain_http_in_flight", "Requests being answered.",
          static_cast<double>(http.in_flight));
    gauge("chatchain_http_workers", "Worker threads.", static_cast<double>(http.workers));
    gauge("chatchain_http_live", "Connections that are event streams or WebSockets.",
          static_cast<double>(http.live));
    counter("chatchain_http_accepted_total", "Connections accepted.", http.connections_accepted);
    counter("chatchain_http_refused_total", "Connections refused because of a limit.",
            http.connections_refused);
    counter("chatchain_http_requests_total", "Requests read.", http.requests);
    counter("chatchain_http_shed_total", "Requests refused because of a limit.",
            http.requests_shed);
  }
  if (more_metrics_) more_metrics_(&text);
  http::Response response;
  response.content_type = MetricsText::kContentType;
  response.body = text.Take();
  return response;
}

}  // namespace chatchain
