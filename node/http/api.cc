// SPDX-License-Identifier: MIT
#include "node/http/api.h"

#include <algorithm>
#include <memory>

#include "common/http/later.h"
#include "common/http/negotiation.h"
#include "common/http/router.h"
#include "common/http/then.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/protocol/sync.h"
#include "common/util/encoding.h"
#include "common/util/log.h"
#include "node/http/cursor.h"
#include "node/http/history_lines.h"

namespace chatchain {

namespace {

using http::Request;
using http::Response;

constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kLinesType = "application/x-ndjson";

std::optional<Problem> CheckStamp(std::string_view name, std::string_view text,
                                  std::optional<Stamp>* stamp) {
  *stamp = ParseHexU64(text);
  if (*stamp) return std::nullopt;
  return Invalid(name, "must be 16 lower-case hex digits");
}

// The request's own parameters with the cursor of the next page.
std::string NextLink(const QueryParams& params, const std::string& cursor) {
  std::string link = "</messages?";
  for (const auto& [name, value] : params) {
    if (name != "cursor")
      link += http::PercentEncode(name) + '=' + http::PercentEncode(value) + '&';
  }
  return link + "cursor=" + cursor + ">; rel=\"next\"";
}

// What the session has seen is all here.
bool Holds(const LogState& state, const SessionRequest& session) {
  return !session.token ||
         std::all_of(session.token->begin(), session.token->end(), [&](const auto& entry) {
           return Covers(state.heads, entry.first, entry.second.seq);
         });
}

Response PageResponse(const PageCache::Page& page) {
  Response response = http::JsonResponse(200, page.body);
  if (!page.link.empty()) response.headers.Set("Link", page.link);
  return response;
}

// Key and stamp of a batch item; its message's own members are left to MessageFromJson.
Try<AppendItem> ItemFromJson(const JsonValue& json, const Clock& clock, Random& random) {
  static const std::vector<std::string_view> kExtra = {"key", "stamp"};
  auto message = MessageFromJson(json, kExtra);
  if (!message) return Err(std::move(message.error()));
  std::optional<Stamp> stamp;
  for (const char* name : {"key", "stamp"}) {
    const auto member = json.Find(name);
    if (!member) continue;
    if (!member->is_string()) return Err(Invalid(name, "must be a string"));
    const std::string_view text = member->String();
    if (name == std::string_view("stamp")) {
      if (auto problem = CheckStamp(name, text, &stamp)) return Err(std::move(*problem));
    } else {
      if (text.empty()) return Err(Invalid(name, KeyRule(text)));
      message->key = text;
    }
  }
  const bool new_key = message->key.empty();
  if (new_key) message->key = MakeUuidV7(clock.WallMs(), random);
  auto valid = Validate(std::move(*message));
  if (!valid) return Err(InvalidMessage(std::move(valid.error())));
  return AppendItem{std::move(*valid), stamp, new_key};
}

int StatusOf(Sent::Kind kind) {
  switch (kind) {
    case Sent::Kind::kCreated: return 201;
    case Sent::Kind::kReplayed: return 200;
    case Sent::Kind::kNotEnoughCopies: return 202;
  }
  return 500;
}

Response SentResponse(const Sent& sent) {
  std::string body;
  AppendMessageObject(&body, sent.shown, sent.copies);
  Response response = http::JsonResponse(StatusOf(sent.kind), std::move(body));
  response.headers.Set("Location", "/messages/" + sent.shown.id.Text());
  if (sent.kind == Sent::Kind::kReplayed) response.headers.Set("Idempotent-Replayed", "true");
  return response;
}

std::string_view PeerStateName(PeerStatus::State state) {
  switch (state) {
    case PeerStatus::State::kUp: return "up";
    case PeerStatus::State::kSuspect: return "suspect";
    case PeerStatus::State::kDown: return "down";
  }
  return "down";
}

}  // namespace

NodeApi::NodeApi(Options options, Service& service, SqliteStorage& storage, SyncDriver& sync,
                 CopyTracker& copies, const Clock& clock, Random& random)
    : options_(std::move(options)),
      tokens_(options_.cluster),
      service_(service),
      storage_(storage),
      sync_(sync),
      copies_(copies),
      clock_(clock),
      random_(random),
      started_(clock.Steady()) {}

std::vector<http::Route> NodeApi::Routes() {
  const auto with_session = [this](auto method) {
    return WithSession(
        [this, method](Request& request, const SessionRequest& session, SessionAnswer* reply) {
          return (this->*method)(request, session, reply);
        });
  };
  const auto plain = [this](auto method) {
    return Plain([this, method](Request& request) { return (this->*method)(request); });
  };
  const auto fixed = [this](std::string json) {
    return Plain([json = std::move(json)](Request&) -> Try<Response> {
      return http::JsonResponse(200, json);
    });
  };
  return {
      {.method = "POST",
       .pattern = "/messages",
       .handler = with_session(&NodeApi::PostMessage),
       .max_body_bytes = limits::kMessageBodyMaxBytes,
       .json_body = true},
      {.method = "POST",
       .pattern = "/messages/batch",
       .handler = with_session(&NodeApi::PostBatch),
       .max_body_bytes = limits::kBatchBodyMaxBytes,
       .json_body = true},
      {.method = "GET", .pattern = "/messages", .handler = with_session(&NodeApi::GetMessages)},
      {.method = "GET", .pattern = "/messages/{id}", .handler = with_session(&NodeApi::GetMessage)},
      {.method = "POST",
       .pattern = "/sync",
       .handler = plain(&NodeApi::PostSync),
       .max_body_bytes = limits::kSyncBodyMaxBytes,
       .json_body = true},
      {.method = "GET", .pattern = "/nodes", .handler = plain(&NodeApi::GetNodes)},
      {.method = "GET",
       .pattern = "/healthz",
       .handler = fixed(R"({"status":"ok"})"),
       .never_shed = true},
      {.method = "GET",
       .pattern = "/readyz",
       .handler = plain(&NodeApi::GetReady),
       .never_shed = true},
      {.method = "GET",
       .pattern = "/metrics",
       .handler = plain(&NodeApi::GetMetrics),
       .never_shed = true},
      {.method = "GET",
       .pattern = "/version",
       .handler = fixed(R"({"program":"chatchain-node","version":")" + options_.version + "\"}")},
  };
}

http::Handler NodeApi::SendHandler() {
  return WithSession([this](Request& request, const SessionRequest& session, SessionAnswer* reply) {
    return PostMessage(request, session, reply);
  });
}

http::Handler NodeApi::WithToken(http::Handler handler) {
  return WithSession([this, handler = std::move(handler)](Request& request,
                                                          const SessionRequest& session,
                                                          SessionAnswer* reply) -> Try<Response> {
    Response response = handler(request);
    if (response.later == nullptr) {
      *reply = service_.CurrentSession(session);
      return response;
    }
    return http::Then(std::move(response), [this, session](Response later) {
      AddSession(service_.CurrentSession(session), &later);
      return later;
    });
  });
}

http::Handler NodeApi::Plain(Answer answer) {
  return [answer = std::move(answer)](Request& request) {
    Try<Response> result = [&]() -> Try<Response> {
      if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
      return answer(request);
    }();
    return result ? std::move(*result) : http::ProblemResponse(result.error());
  };
}

// The answer to a message that is being stored: most wait for the disk at once, so none holds a
// thread.
class NodeApi::SendAnswer final : public http::LaterAnswer {
 public:
  SendAnswer(NodeApi& api, AppendItem item, SessionRequest session, SteadyTime deadline)
      : api_(api), item_(std::move(item)), session_(std::move(session)), deadline_(deadline) {}

  void Begin(std::function<void()> resume) override {
    api_.service_.SendLater(std::move(item_), deadline_,
                            [this, resume = std::move(resume)](Try<Sent> sent) {
                              sent_ = std::move(sent);
                              resume();
                            });
  }
  bool finishes_at_once() const override { return true; }
  Response Finish() override {
    Response response = *sent_ ? SentResponse(**sent_) : http::ProblemResponse(sent_->error());
    api_.AddSession(api_.service_.CurrentSession(session_), &response);
    return response;
  }

 private:
  NodeApi& api_;
  AppendItem item_;
  const SessionRequest session_;
  const SteadyTime deadline_;
  std::optional<Try<Sent>> sent_;
};

void NodeApi::AddSession(const SessionAnswer& session, Response* response) {
  response->headers.Set("ChatChain-Session", EncodeSession(session.token));
  if (session.stale) response->headers.Set("ChatChain-Stale", "1");
  if (session.lost) response->headers.Set("ChatChain-Lost", "1");
}

http::Handler NodeApi::WithSession(SessionHandler handler) {
  return [this, handler = std::move(handler)](Request& request) {
    SessionAnswer reply;
    bool decoded = false;
    Try<Response> result = [&]() -> Try<Response> {
      auto session = DecodeSession(request);
      if (!session) return Err(std::move(session.error()));
      decoded = true;
      reply = service_.CurrentSession(*session);
      if (auto problem = http::ApplyDeadlineHeader(request, clock_.Steady())) {
        return Err(std::move(*problem));
      }
      return handler(request, *session, &reply);
    }();
    Response response = result ? std::move(*result) : http::ProblemResponse(result.error());
    if (decoded && response.later == nullptr) AddSession(reply, &response);
    return response;
  };
}

Try<SessionRequest> NodeApi::DecodeSession(const Request& request) const {
  SessionRequest session;
  const auto token = http::SingleHeader(request, "ChatChain-Session");
  if (!token) return Err(token.error());
  if (*token) {
    auto vector = tokens_.DecodeSession(**token);
    if (!vector) {
      vector.error().detail = "ChatChain-Session: " + vector.error().detail;
      return Err(std::move(vector.error()));
    }
    session.token = std::move(*vector);
  }
  const auto consistency = http::SingleHeader(request, "ChatChain-Consistency");
  if (!consistency) return Err(consistency.error());
  if (*consistency) {
    if (**consistency != "strict") {
      return Err(Invalid("ChatChain-Consistency", "must be strict, or absent"));
    }
    session.strict = true;
  }
  return session;
}

std::string NodeApi::EncodeSession(const TokenVector& vector) {
  {
    MutexLock lock(session_mutex_);
    if (!session_text_.empty() && session_vector_ == vector) return session_text_;
  }
  std::string text = tokens_.EncodeSession(vector);
  MutexLock lock(session_mutex_);
  session_vector_ = vector;
  session_text_ = text;
  return text;
}

Try<int> NodeApi::CopiesNeeded(const Request& request) const {
  const auto header = http::SingleHeader(request, "ChatChain-Acks");
  if (!header) return Err(header.error());
  if (!*header) return 0;
  const auto acks = ParseAcks(**header, options_.configured_nodes);
  if (!acks) return Err(acks.error());
  return acks->Needed(options_.configured_nodes);
}

Try<Response> NodeApi::PostMessage(Request& request, const SessionRequest& session,
                                   SessionAnswer* reply) {
  if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
  if (!http::Accepts(request, kJsonType)) return Err(http::NotAcceptable(kJsonType));
  const auto copies_needed = CopiesNeeded(request);
  if (!copies_needed) return Err(copies_needed.error());
  std::optional<Stamp> stamp;
  const auto stamp_header = http::SingleHeader(request, "ChatChain-Stamp");
  if (!stamp_header) return Err(stamp_header.error());
  if (*stamp_header) {
    if (auto problem = CheckStamp("ChatChain-Stamp", **stamp_header, &stamp)) {
      return Err(std::move(*problem));
    }
  }
  const auto key = http::SingleHeader(request, "Idempotency-Key");
  if (!key) return Err(key.error());
  if (*key) {
    if (const std::string_view rule = KeyRule(**key); !rule.empty()) {
      return Err(Invalid("Idempotency-Key", rule));
    }
  }
  const auto json = ReadJsonObject(request.body);
  if (!json) return Err(json.error());
  auto message = MessageFromJson(json->root(), {});
  if (!message) return Err(std::move(message.error()));
  message->key = *key ? std::string(**key) : MakeUuidV7(clock_.WallMs(), random_);
  auto valid = Validate(std::move(*message));
  if (!valid) return Err(InvalidMessage(std::move(valid.error())));

  AppendItem item{std::move(*valid), stamp, !*key};
  if (*copies_needed == 0) {
    Response response;
    response.later =
        std::make_shared<SendAnswer>(*this, std::move(item), session, request.deadline);
    return response;
  }
  std::vector<AppendItem> items;
  items.push_back(std::move(item));
  const auto sent =
      std::move(service_.Send(std::move(items), *copies_needed, request.deadline).front());
  *reply = service_.CurrentSession(session);
  if (!sent) return Err(sent.error());
  return SentResponse(*sent);
}

Try<Response> NodeApi::PostBatch(Request& request, const SessionRequest& session,
                                 SessionAnswer* reply) {
  if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
  if (!http::Accepts(request, kJsonType)) return Err(http::NotAcceptable(kJsonType));
  if (request.headers.Count("Idempotency-Key") > 0) {
    return Err(BadRequest("Idempotency-Key: a batch takes a \"key\" in each item instead"));
  }
  const auto copies_needed = CopiesNeeded(request);
  if (!copies_needed) return Err(copies_needed.error());
  const auto json = ReadJsonObject(request.body);
  if (!json) return Err(json.error());
  const auto list = BatchMessages(*json);
  if (!list) return Err(list.error());

  std::vector<std::optional<Problem>> problems(list->size());
  std::vector<AppendItem> items;
  size_t index = 0;
  for (const JsonValue message : list->Elements()) {
    auto item = ItemFromJson(message, clock_, random_);
    if (item) {
      items.push_back(std::move(*item));
    } else {
      problems[index] = std::move(item.error());
    }
    ++index;
  }
  std::vector<Try<Sent>> results;
  if (!items.empty()) results = service_.Send(std::move(items), *copies_needed, request.deadline);
  *reply = service_.CurrentSession(session);

  std::string body = "{\"results\":[";
  size_t next_result = 0;
  for (const std::optional<Problem>& problem : problems) {
    if (body.back() != '[') body += ',';
    const Try<Sent>* sent = problem ? nullptr : &results[next_result++];
    if (sent != nullptr && *sent) {
      body += "{\"status\":" + std::to_string(StatusOf((*sent)->kind)) + ",\"message\":";
      AppendMessageObject(&body, (*sent)->shown, (*sent)->copies);
    } else {
      const Problem& shown = sent != nullptr ? sent->error() : *problem;
      body += "{\"status\":" + std::to_string(shown.status) + ",\"problem\":" + ProblemJson(shown);
    }
    body += '}';
  }
  body += "]}";
  return http::JsonResponse(200, std::move(body));
}

Try<Response> NodeApi::GetMessages(Request& request, const SessionRequest& session,
                                   SessionAnswer* reply) {
  const auto query = ParseListQuery(request.query);
  if (!query) return Err(query.error());
  auto taken = TakeCursor(tokens_, query->cursor, query->Hash());
  if (!taken) return Err(std::move(taken.error()));
  const std::optional<Cursor>& cursor = *taken;
  const bool as_lines = http::AcceptsByName(request, kLinesType);
  if (!as_lines && !http::Accepts(request, kJsonType)) {
    return Err(http::NotAcceptable("application/json or application/x-ndjson"));
  }

  const bool may_keep = !as_lines && !cursor;
  if (const LogStatePtr state = storage_.State(); may_keep && Holds(*state, session)) {
    if (const auto kept = pages_.Find(state->version, request.target)) {
      // As in Service::History: the token covers all that may be seen.
      reply->token = storage_.State()->token;
      return PageResponse(*kept);
    }
  }

  const size_t page =
      as_lines ? std::min(query->limit.value_or(HistoryLines::kPage), HistoryLines::kPage)
               : query->limit.value_or(limits::kPageDefaultMessages);
  auto history = service_.History(*query, cursor, page, session, request.deadline);
  if (!history) return Err(std::move(history.error()));
  *reply = std::move(history->session);
  if (as_lines) {
    Response response;
    response.content_type = kLinesType;
    response.source = std::make_unique<HistoryLines>(service_, *query, std::move(*history));
    return response;
  }

  std::string body = "{\"messages\":[";
  for (const HistoryItem& item : history->page.items) {
    if (body.back() != '[') body += ',';
    AppendMessageObject(&body, item.shown);
  }
  auto made = std::make_shared<PageCache::Page>();
  if (history->next) {
    const std::string next = tokens_.EncodeCursor(*history->next);
    body += "],\"next\":\"" + next + "\"}";
    made->link = NextLink(request.query, next);
  } else {
    body += "],\"next\":null,\"after\":\"" + tokens_.EncodeFeed(history->after) + "\"}";
  }
  made->body = std::move(body);
  Response response = PageResponse(*made);
  if (may_keep && storage_.State()->version == history->version) {
    pages_.Keep(history->version, request.target, std::move(made));
  }
  return response;
}

Try<Response> NodeApi::GetMessage(Request& request, const SessionRequest& session,
                                  SessionAnswer* reply) {
  if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
  if (!http::Accepts(request, kJsonType)) return Err(http::NotAcceptable(kJsonType));
  const std::string& text = request.path_params.at("id");
  const Problem not_found = MakeProblem(404, "", "no message has the id \"" + LogSafe(text) + "\"");
  const auto id = MessageId::Parse(text);
  if (!id) return Err(not_found);
  auto found = service_.Find(*id, session, request.deadline);
  if (!found) return Err(std::move(found.error()));
  *reply = std::move(found->session);
  if (!found->shown) return Err(not_found);
  std::string body;
  AppendMessageObject(&body, *found->shown);
  return http::JsonResponse(200, std::move(body));
}

Served NodeApi::Serve(const SyncRequest& request) {
  // The state first: the snapshot that is begun afterwards holds at least as much.
  const LogStatePtr state = storage_.State();
  const auto serve = [&](LogReader& reader) {
    return ServeSync(request,
                     {*state, reader, options_.cluster, options_.node_id, options_.instance});
  };
  // Who compares chains looks for damage: that is on the disk.
  Served served =
      request.chains ? storage_.WithTables(state, serve) : storage_.WithLog(state, serve);
  Findings findings = served.findings;
  if (state->id_runs_twice) findings.twin = false;  // known
  if (!findings.empty()) {
    storage_.writer().Post([findings = std::move(findings)](Log& log) { log.Heed(findings); });
  }
  return served;
}

Try<Response> NodeApi::PostSync(Request& request) {
  auto sync = DecodeSyncRequest(request.body);
  if (!sync) return Err(std::move(sync.error()));
  if (sync->cluster != options_.cluster) {
    return Err(MakeProblem(403, "other-cluster",
                           "cluster: this node belongs to \"" + options_.cluster + "\", not to \"" +
                               LogSafe(sync->cluster) + "\""));
  }
  try {
    Served served = Serve(*sync);
    // Who asks for chains only compares: it may be no node, and holds nothing that counts.
    const bool pulls = !sync->chains.has_value();
    if (pulls) copies_.Seen(sync->node, std::move(served.holds));

    if (pulls && served.records == 0 && served.answer.forks.empty() && sync->wait_ms > 0) {
      storage_.board().WaitUntil(
          [&](const LogState& state) { return HasNews(*sync, state, options_.node_id); },
          clock_.Steady() + std::chrono::milliseconds(sync->wait_ms));
      served = Serve(*sync);
    }
    served.answer.now_ms = clock_.WallMs();
    served_records_ += served.records;
    return http::JsonResponse(200, EncodeSyncAnswer(served.answer, served.records_json));
  } catch (const SqliteError& error) {
    spdlog::error("reading the log failed: {} (code {})", error.what(), error.extended_code());
    return Err(Unavailable("this node cannot read its log"));
  }
}

std::string_view NodeApi::State() const {
  if (draining_.load()) return "draining";
  if (storage_.write_state() != WriteState::kWritable) return "read_only";
  return sync_.first_round_done() ? "ready" : "catching_up";
}

Try<Response> NodeApi::GetReady(Request&) {
  const std::string_view state = State();
  std::string body = "{\"state\":\"" + std::string(state) + "\"";
  if (state == "read_only") {
    body += ",\"reason\":";
    AppendJsonString(&body, storage_.writer().write_error());
  }
  body += ",\"heads\":";
  AppendHeads(&body, storage_.State()->folded);
  body += '}';
  return http::JsonResponse(state == "ready" ? 200 : 503, std::move(body));
}

Try<Response> NodeApi::GetNodes(Request&) {
  const LogStatePtr state = storage_.State();
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(clock_.Steady() - started_);
  std::string body = "{\"self\":{\"id\":\"" + options_.node_id + "\",\"address\":";
  AppendJsonString(&body, server_ != nullptr ? server_->address() : "");
  body += ",\"epoch\":";
  body += state->live ? "\"" + HexU64(state->live->epoch) + "\"" : "null";
  body +=
      ",\"version\":\"" + options_.version + "\",\"uptime_s\":" + std::to_string(uptime.count());
  body +=
      ",\"state\":\"" + std::string(State()) + "\",\"messages\":" + std::to_string(state->messages);
  body += ",\"heads\":";
  AppendHeads(&body, state->heads);
  body += ",\"digest\":\"" + VectorDigest(state->heads).Hex() + "\",\"forks\":[";
  for (const EpochKey& key : state->forks) {
    if (body.back() != '[') body += ',';
    body += "[\"" + key.origin + "\",\"" + HexU64(key.epoch) + "\"]";
  }
  body += "],\"damaged\":[";
  for (const CorruptRecord& record : state->damaged) {
    if (body.back() != '[') body += ',';
    body += "[\"" + record.epoch.origin + "\",\"" + HexU64(record.epoch.epoch) + "\"," +
            std::to_string(record.seq) + "]";
  }
  body += "],\"id_runs_twice\":";
  body += state->id_runs_twice ? "true" : "false";
  body += "},\"peers\":[";
  for (const PeerStatus& peer : sync_.peers()) {
    if (body.back() != '[') body += ',';
    body += "{\"id\":";
    body += peer.id.empty() ? "null" : "\"" + peer.id + "\"";
    body += ",\"address\":";
    AppendJsonString(&body, peer.address);
    body += ",\"state\":\"" + std::string(PeerStateName(peer.state)) + "\",\"last_sync_at\":";
    body += peer.last_sync_ms ? "\"" + FormatTime(*peer.last_sync_ms) + "\"" : "null";
    body += ",\"last_error\":";
    if (peer.last_error.empty()) {
      body += "null";
    } else {
      AppendJsonString(&body, LogSafe(peer.last_error));
    }
    body += ",\"lag\":" + std::to_string(peer.lag) + "}";
  }
  body += "]}";
  return http::JsonResponse(200, std::move(body));
}

}  // namespace chatchain
