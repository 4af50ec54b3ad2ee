// SPDX-License-Identifier: MIT
// The node's HTTP API: its route table. A handler decodes, makes one call, encodes.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "common/http/server.h"
#include "common/protocol/token.h"
#include "common/util/clock.h"
#include "common/util/metrics_text.h"
#include "common/util/mutex.h"
#include "common/util/random.h"
#include "node/http/page_cache.h"
#include "node/service/service.h"
#include "node/store/sqlite_storage.h"
#include "node/sync/serve.h"
#include "node/sync_driver.h"

namespace chatchain {

class NodeApi {
 public:
  struct Options {
    std::string cluster;
    std::string node_id;
    std::string instance;
    std::string version;
    int configured_nodes = 1;  // peers and this one
  };

  NodeApi(Options options, Service& service, SqliteStorage& storage, SyncDriver& sync,
          CopyTracker& copies, const Clock& clock, Random& random);

  std::vector<http::Route> Routes();
  // The handler of POST /messages, for who sends over another way: it waits for its answer.
  http::Handler SendHandler();
  // `handler`, with ChatChain-Session in its answer: what this node holds after it, joined with
  // what the request brought.
  http::Handler WithToken(http::Handler handler);

  // The server that gives these answers. Before it starts.
  void set_server(const http::Server* server) { server_ = server; }
  // Writes what else belongs to /metrics.
  void set_more_metrics(std::function<void(MetricsText*)> more) { more_metrics_ = std::move(more); }
  // From now on the node answers that it is draining.
  void set_draining() { draining_.store(true); }

 private:
  using Answer = std::function<Try<http::Response>(http::Request&)>;
  using SessionHandler =
      std::function<Try<http::Response>(http::Request&, const SessionRequest&, SessionAnswer*)>;

  http::Handler Plain(Answer answer);
  http::Handler WithSession(SessionHandler handler);

  Try<http::Response> PostMessage(http::Request& request, const SessionRequest& session,
                                  SessionAnswer* reply);
  Try<http::Response> PostBatch(http::Request& request, const SessionRequest& session,
                                SessionAnswer* reply);
  Try<http::Response> GetMessages(http::Request& request, const SessionRequest& session,
                                  SessionAnswer* reply);
  Try<http::Response> GetMessage(http::Request& request, const SessionRequest& session,
                                 SessionAnswer* reply);
  Try<http::Response> PostSync(http::Request& request);
  Try<http::Response> GetNodes(http::Request& request);
  Try<http::Response> GetReady(http::Request& request);
  Try<http::Response> GetMetrics(http::Request& request);

  class SendAnswer;
  void AddSession(const SessionAnswer& session, http::Response* response);
  Try<SessionRequest> DecodeSession(const http::Request& request) const;
  std::string EncodeSession(const TokenVector& vector);
  Try<int> CopiesNeeded(const http::Request& request) const;
  Served Serve(const SyncRequest& request);
  std::string_view State() const;

  const Options options_;
  const TokenCodec tokens_;
  Service& service_;
  SqliteStorage& storage_;
  SyncDriver& sync_;
  CopyTracker& copies_;
  const Clock& clock_;
  Random& random_;
  const SteadyTime started_;
  PageCache pages_;
  const http::Server* server_ = nullptr;
  std::function<void(MetricsText*)> more_metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> served_records_{0};

  // The token given last: between two commits most answers carry the same.
  Mutex session_mutex_;
  TokenVector session_vector_ GUARDED_BY(session_mutex_);
  std::string session_text_ GUARDED_BY(session_mutex_);
};

}  // namespace chatchain
