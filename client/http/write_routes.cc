// SPDX-License-Identifier: MIT
#include "client/http/write_routes.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "client/http/headers.h"
#include "client/proxy/batch_answer.h"
#include "client/proxy/json_slice.h"
#include "common/http/later.h"
#include "common/http/negotiation.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/encoding.h"

namespace chatchain {

namespace {

// What both routes take from the request's head.
struct WriteHead {
  int copies = 1;
  std::string acks;     // as sent; empty: not asked
  std::string session;  // as sent; empty: none
};

Try<WriteHead> ParseHead(const WriteRouteContext& context, http::Request& request) {
  WriteHead head;
  // A write shows no old state, so the token does not go to the node, where it would keep messages
  // of different clients out of one batch; it is joined to the answer's.
  auto session = SessionText(request);
  if (!session) return Err(std::move(session.error()));
  if (*session) {
    head.session = std::move(**session);
    if (auto token = context.proxy.tokens().DecodeSession(head.session); !token) {
      token.error().detail = "ChatChain-Session: " + token.error().detail;
      return Err(std::move(token.error()));
    }
  }
  if (auto strict = StrictConsistency(request); !strict) return Err(std::move(strict.error()));
  if (auto problem = http::ApplyDeadlineHeader(request, context.clock.Steady())) {
    return Err(std::move(*problem));
  }
  if (auto problem = RefuseParams(request.query)) return Err(std::move(*problem));
  if (!http::Accepts(request, "application/json")) {
    return Err(http::NotAcceptable("application/json"));
  }
  const auto acks = http::SingleHeader(request, "ChatChain-Acks");
  if (!acks) return Err(acks.error());
  if (*acks) {
    const int nodes = static_cast<int>(context.proxy.node_count());
    const auto parsed = ParseAcks(**acks, nodes);
    if (!parsed) return Err(parsed.error());
    head.acks = **acks;
    head.copies = parsed->Needed(nodes);
  }
  return head;
}

struct GivenStamp {
  Stamp stamp = 0;
  bool made_here = false;  // no other request has it
};

Try<GivenStamp> TakeStamp(const WriteRouteContext& context, std::string_view name,
                          std::optional<std::string_view> given) {
  if (!given) return GivenStamp{context.hlc.Next(), true};
  const auto stamp = ParseHexU64(*given);
  if (!stamp) return Err(Invalid(name, "must be 16 lower-case hex digits"));
  return GivenStamp{context.hlc.Accept(*stamp), false};
}

struct MadeItem {
  std::string json;  // as it goes to every node, on every try
  std::string name;  // sender and key: what makes it the same message as another
  std::string id;    // as shown: the same only with the same content
  // When this request accepted it, as accepted_at says it; empty: another may have the same stamp.
  std::string accepted_at;
};

// `key` empty: one is made.
Try<MadeItem> MakeItem(const WriteRouteContext& context, Message message, std::string key,
                       const GivenStamp& given) {
  message.key = key.empty() ? MakeUuidV7(context.hlc.NowMs(), context.random) : std::move(key);
  auto valid = Validate(std::move(message));
  if (!valid) return Err(InvalidMessage(std::move(valid.error())));
  MadeItem item{.json = "{", .name = valid->message().sender + '\0' + valid->message().key};
  AppendMessageMembers(&item.json, valid->message());
  item.json.append(",\"key\":");
  AppendJsonString(&item.json, valid->message().key);
  item.json.append(",\"stamp\":\"").append(HexU64(given.stamp)).append("\"}");
  item.id = valid->id().Text();
  if (given.made_here) item.accepted_at = FormatTime(StampMs(given.stamp));
  return item;
}

// Status and body of an item, once copies are known.
struct Shown {
  int status = 0;
  std::string body;
};

// A node says 200 of a message that reached it by sync before it came from here, and 202 of one,
// old or new, of which it knows too few copies. It is as new as this request when nothing has
// accepted it before this request did.
bool IsNew(const ItemOutcome& item, const std::string& accepted_at) {
  if (item.status != 200 && item.status != 202) return item.status == 201;
  const auto time = JsonMember(item.body, "accepted_at");
  return !accepted_at.empty() && time && PlainJsonString(*time) == accepted_at;
}

Shown Show(ItemOutcome item, int copies, const WriteHead& head, const std::string& accepted_at) {
  const bool stored = item.status >= 200 && item.status < 300;
  // Whether there are copies enough is judged here, with those of other nodes.
  Shown shown{stored ? IsNew(item, accepted_at) ? 201 : 200 : item.status, std::move(item.body)};
  if (!head.acks.empty() && shown.status >= 200 && shown.status < 300) {
    copies = std::max(copies, 1);
    shown.body = WithCopies(shown.body, copies);
    if (copies < head.copies) shown.status = 202;
  }
  return shown;
}

// 503 with what was said of an item and by whole nodes.
http::Response NobodyTook(const WriteResult& result, const ItemOutcome& item) {
  std::vector<std::string> said = result.failures;
  said.insert(said.end(), item.refusals.begin(), item.refusals.end());
  return Unanswered(result.busy ? "every node is busy" : "no node could take the message", said,
                    result.attempts);
}

void AddOrigin(const WriteRouteContext& context, const WriteResult& result, int node,
               const WriteHead& head, http::Response* response) {
  for (const auto& source : result.sources) {
    if (source.node == node) {
      response->headers.Set("ChatChain-Node", source.node_id);
      break;
    }
  }
  if (const std::string token = context.proxy.JoinSession(result.sources, head.session);
      !token.empty()) {
    response->headers.Set("ChatChain-Session", token);
  }
  response->headers.Set("ChatChain-Attempts", std::to_string(result.attempts));
}

// One item of a client's batch: an item for the nodes, or what is wrong with it.
Try<MadeItem> ItemFromJson(const WriteRouteContext& context, const JsonValue& json) {
  auto message = MessageFromJson(json, {"key", "stamp"});
  if (!message) return Err(std::move(message.error()));
  std::string key;
  std::optional<std::string_view> stamp_text;
  if (const auto member = json.Find("key")) {
    if (!member->is_string()) return Err(Invalid("key", "must be a string"));
    key = member->String();
    if (key.empty()) return Err(Invalid("key", KeyRule(key)));
  }
  if (const auto member = json.Find("stamp")) {
    if (!member->is_string()) return Err(Invalid("stamp", "must be a string"));
    stamp_text = member->String();
  }
  const auto stamp = TakeStamp(context, "stamp", stamp_text);
  if (!stamp) return Err(stamp.error());
  return MakeItem(context, std::move(*message), std::move(key), *stamp);
}

void AppendResult(std::string* out, int status, std::string_view body) {
  if (out->back() != '[') out->push_back(',');
  out->append("{\"status\":").append(std::to_string(status));
  out->append(status < 300 ? ",\"message\":" : ",\"problem\":").append(body).append("}");
}

// The answer to a batch, of which the nodes were given what is not `refused`.
http::Response BatchResponse(const WriteRouteContext& context, const WriteHead& head,
                             const std::vector<std::optional<Problem>>& refused,
                             const std::vector<std::string>& accepted_at, WriteResult result) {
  const bool none = std::all_of(result.items.begin(), result.items.end(),
                                [](const ItemOutcome& item) { return item.status == 0; });
  if (none && !result.items.empty()) return NobodyTook(result, result.items.front());
  std::string body = "{\"results\":[";
  size_t next = 0;
  int node = -1;
  for (const std::optional<Problem>& problem : refused) {
    if (problem) {
      AppendResult(&body, problem->status, ProblemJson(*problem));
      continue;
    }
    ItemOutcome& item = result.items[next];
    if (item.status == 0) {
      AppendResult(&body, 503, NobodyTook(result, item).body);
    } else {
      if (node < 0) node = item.node;
      const Shown shown = Show(std::move(item), result.copies[next], head, accepted_at[next]);
      AppendResult(&body, shown.status, shown.body);
    }
    ++next;
  }
  body.append("]}");
  http::Response response = http::JsonResponse(200, std::move(body));
  AddOrigin(context, result, node, head, &response);
  return response;
}

constexpr size_t kSmall = 8 * 1024;

// A write on its way to the nodes; it waits without a thread.
class SentWrite : public http::LaterAnswer, public std::enable_shared_from_this<SentWrite> {
 public:
  SentWrite(const WriteRouteContext& context, WriteHead head, WriteRequest request,
            std::string name)
      : context_(context),
        head_(std::move(head)),
        request_(std::move(request)),
        name_(std::move(name)) {}

  void Begin(std::function<void()> resume) final {
    context_.proxy.StartWrite(
        std::move(request_), name_,
        [self = shared_from_this(), resume = std::move(resume)](WriteResult result, bool repeated) {
          self->result_ = std::move(result);
          self->repeated_ = repeated;
          resume();
        });
  }

 protected:
  const WriteRouteContext context_;
  const WriteHead head_;
  WriteResult result_;
  bool repeated_ = false;

 private:
  WriteRequest request_;
  const std::string name_;
};

class SentMessage final : public SentWrite {
 public:
  // `shared`: with those who send the same at the same time.
  SentMessage(const WriteRouteContext& context, const WriteHead& head, MadeItem item, bool shared,
              SteadyTime deadline)
      : SentWrite(context, head,
                  {.items = {std::move(item.json)},
                   .copies = head.copies,
                   .acks = head.acks,
                   .deadline = deadline},
                  shared ? std::move(item.id) : ""),
        accepted_at_(std::move(item.accepted_at)) {}

  // A large one may be compressed, which is work for a worker.
  bool finishes_at_once() const override { return result_.items.front().body.size() < kSmall; }
  http::Response Finish() override {
    ItemOutcome& outcome = result_.items.front();
    if (repeated_) {
      outcome.status = 200;
      accepted_at_.clear();
    }
    if (outcome.status == 0) return NobodyTook(result_, outcome);
    const int node = outcome.node;
    const bool stored = outcome.status < 300;
    const bool replayed = stored && !IsNew(outcome, accepted_at_);
    Shown shown = Show(std::move(outcome), result_.copies.front(), head_, accepted_at_);

    http::Response response = http::JsonResponse(shown.status, std::move(shown.body));
    if (shown.status >= 300) response.content_type = kProblemContentType;
    if (stored) {
      const auto id = JsonMember(response.body, "id");
      if (const auto text = id ? PlainJsonString(*id) : std::nullopt) {
        response.headers.Set("Location", "/messages/" + std::string(*text));
      }
    }
    if (replayed) response.headers.Set("Idempotent-Replayed", "true");
    if (shown.status == 429) response.headers.Set("Retry-After", "1");
    AddOrigin(context_, result_, node, head_, &response);
    return response;
  }

 private:
  std::string accepted_at_;
};

class SentBatch final : public SentWrite {
 public:
  SentBatch(const WriteRouteContext& context, const WriteHead& head, WriteRequest request,
            std::vector<std::optional<Problem>> refused, std::vector<std::string> accepted_at)
      : SentWrite(context, head, std::move(request), ""),
        refused_(std::move(refused)),
        accepted_at_(std::move(accepted_at)) {}

  http::Response Finish() override {
    return BatchResponse(context_, head_, refused_, accepted_at_, std::move(result_));
  }

 private:
  const std::vector<std::optional<Problem>> refused_;
  const std::vector<std::string> accepted_at_;  // of each that is not refused
};

}  // namespace

http::Response SendMessage(const WriteRouteContext& context, http::Request& request) {
  const auto head = ParseHead(context, request);
  if (!head) return http::ProblemResponse(head.error());
  const auto stamp_text = http::SingleHeader(request, "ChatChain-Stamp");
  if (!stamp_text) return http::ProblemResponse(stamp_text.error());
  const auto stamp = TakeStamp(context, "ChatChain-Stamp", *stamp_text);
  if (!stamp) return http::ProblemResponse(stamp.error());
  const auto key = http::SingleHeader(request, "Idempotency-Key");
  if (!key) return http::ProblemResponse(key.error());
  if (*key) {
    if (const std::string_view rule = KeyRule(**key); !rule.empty()) {
      return http::ProblemResponse(Invalid("Idempotency-Key", rule));
    }
  }
  const auto json = ReadJsonObject(request.body);
  if (!json) return http::ProblemResponse(json.error());
  auto message = MessageFromJson(json->root(), {});
  if (!message) return http::ProblemResponse(message.error());
  auto item = MakeItem(context, std::move(*message), std::string(key->value_or("")), *stamp);
  if (!item) return http::ProblemResponse(item.error());

  http::Response response;
  // Only a key that the client chose can come twice.
  response.later = std::make_shared<SentMessage>(context, *head, std::move(*item),
                                                 /*shared=*/key->has_value(), request.deadline);
  return response;
}

http::Response SendBatch(const WriteRouteContext& context, http::Request& request) {
  const auto head = ParseHead(context, request);
  if (!head) return http::ProblemResponse(head.error());
  if (request.headers.Get("Idempotency-Key")) {
    return http::ProblemResponse(
        BadRequest("Idempotency-Key: a batch takes a \"key\" in each item instead"));
  }
  const auto json = ReadJsonObject(request.body);
  if (!json) return http::ProblemResponse(json.error());
  const auto messages = BatchMessages(*json);
  if (!messages) return http::ProblemResponse(messages.error());

  std::vector<std::optional<Problem>> refused(messages->size());
  std::vector<std::string> items;
  std::vector<std::string> accepted_at;  // of each
  std::set<std::string> names;
  size_t index = 0;
  for (const JsonValue message : messages->Elements()) {
    auto item = ItemFromJson(context, message);
    if (item) {
      items.push_back(std::move(item->json));
      // What repeats an item of this batch may have its very time, and is not new.
      accepted_at.push_back(names.insert(std::move(item->name)).second ? item->accepted_at : "");
    } else {
      refused[index] = std::move(item.error());
    }
    ++index;
  }

  if (items.empty()) return BatchResponse(context, *head, refused, accepted_at, {});
  http::Response response;
  WriteRequest write{.items = std::move(items),
                     .copies = head->copies,
                     .acks = head->acks,
                     .deadline = request.deadline};
  response.later = std::make_shared<SentBatch>(context, *head, std::move(write), std::move(refused),
                                               std::move(accepted_at));
  return response;
}

}  // namespace chatchain
