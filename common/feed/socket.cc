// SPDX-License-Identifier: MIT
#include "common/feed/socket.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/http/later.h"
#include "common/protocol/json.h"
#include "common/protocol/limits.h"

namespace chatchain::feed {

namespace {

constexpr size_t kSendsAtOnce = 16;  // further ones wait in the peer's hands
constexpr size_t kAnswersHeld = 64;
constexpr size_t kRefMaxBytes = 256;

// `,"ref":...`, or nothing.
Try<std::string> RefOf(const nlohmann::json& op) {
  const auto ref = op.find("ref");
  if (ref == op.end()) return std::string();
  if (!ref->is_string() && !ref->is_number())
    return Err(Invalid("ref", "must be a string or a number"));
  std::string text = ",\"ref\":" + ref->dump();
  if (text.size() > kRefMaxBytes) return Err(Invalid("ref", "must be at most 240 bytes long"));
  return text;
}

std::optional<Problem> OnlyMembers(const nlohmann::json& op,
                                   const std::vector<std::string_view>& known) {
  for (const auto& [name, value] : op.items()) {
    bool found = false;
    for (const std::string_view one : known) found = found || name == one;
    if (!found) return BadRequest("unknown member " + Quoted(name));
  }
  return std::nullopt;
}

}  // namespace

size_t FeedSocket::max_message_bytes() const {
  return limits::kMessageBodyMaxBytes;
}

void FeedSocket::OnMessage(std::string data, bool binary) {
  if (binary) return port_->Close(1003, "texts of JSON only");
  const auto op = ParseJsonObject(data);
  if (!op) return Refuse("", op.error());
  auto ref = RefOf(*op);
  if (!ref) return Refuse("", ref.error());
  const auto name = op->find("op");
  if (name == op->end() || !name->is_string()) {
    return Refuse(*ref, Invalid("op", "must be subscribe, send or ping"));
  }
  const auto& kind = name->get_ref<const std::string&>();
  if (kind == "ping") {
    if (auto problem = OnlyMembers(*op, {"op", "ref"})) return Refuse(*ref, *problem);
    return Say("{\"op\":\"pong\"" + *ref + "}");
  }
  if (kind == "send") return Send(*op, std::move(*ref));
  if (kind == "subscribe") return Subscribe(*op);
  Refuse(*ref, Invalid("op", "must be subscribe, send or ping"));
}

void FeedSocket::Subscribe(const nlohmann::json& op) {
  if (subscribing_) return Refuse("", MakeProblem(409, "", "the last subscribe is not done yet"));
  auto request = ParseSubscribe(op);
  if (!request) return Refuse("", request.error());
  subscribing_ = true;
  // From here on only the new one counts.
  Attach(nullptr);
  using Result = Try<std::shared_ptr<Subscription>>;
  auto result = std::make_shared<std::optional<Result>>();
  port_->Run([this, self = shared_from_this(), request = std::move(*request),
              result] { result->emplace(backend_.subscribe(request)); },
             [this, self = shared_from_this(), result] {
               subscribing_ = false;
               if (!*result) {
                 Refuse("", MakeProblem(500, "", "the subscription could not be made"));
               } else if (!**result) {
                 Refuse("", (*result)->error());
               } else {
                 Attach(std::move(***result));
               }
             });
}

void FeedSocket::Attach(std::shared_ptr<Subscription> subscription) {
  if (subscription_ != nullptr) subscription_->Detach();
  subscription_ = std::move(subscription);
  if (subscription_ == nullptr) return;
  subscription_->Attach([this] { port_->Poke(); });
  port_->Poke();
}

void FeedSocket::Send(const nlohmann::json& op, std::string ref) {
  if (auto problem = OnlyMembers(op, {"op", "ref", "message", "key"})) return Refuse(ref, *problem);
  auto request = std::make_shared<http::Request>();
  const auto message = op.find("message");
  if (message == op.end() || !message->is_object()) {
    return Refuse(ref, Invalid("message", "must be a message object"));
  }
  request->method = "POST";
  request->target = request->path = "/messages";
  request->remote_address = remote_address_;
  request->headers.Set("Content-Type", "application/json");
  request->body = message->dump();
  if (const auto key = op.find("key"); key != op.end()) {
    if (!key->is_string() || key->get_ref<const std::string&>().empty()) {
      return Refuse(ref, Invalid("key", "must be 1 to 256 printable ASCII characters"));
    }
    request->headers.Set("Idempotency-Key", key->get<std::string>());
  }
  ++sending_;
  Throttle();
  auto response = std::make_shared<http::Response>();
  response->status = 500;
  port_->Run(
      [this, self = shared_from_this(), request, response] {
        request->deadline = std::chrono::steady_clock::now() +
                            std::chrono::milliseconds(backend_.request_timeout_ms);
        *response = http::AwaitLater(backend_.send(*request));
      },
      [this, self = shared_from_this(), response, ref = std::move(ref)] {
        --sending_;
        if (response->status < 300) {
          Say("{\"op\":\"sent\"" + ref + ",\"status\":" + std::to_string(response->status) +
              ",\"message\":" + response->body + "}");
        } else if (response->body.empty()) {
          Refuse(ref, MakeProblem(response->status, "", "the message could not be sent"));
        } else {
          Say("{\"op\":\"error\"" + ref + ",\"problem\":" + response->body + "}");
        }
      });
}

void FeedSocket::Refuse(const std::string& ref, const Problem& problem) {
  Say("{\"op\":\"error\"" + ref + ",\"problem\":" + ProblemJson(problem) + "}");
}

void FeedSocket::Say(std::string text) {
  answers_.push_back(std::move(text));
  port_->Poke();
  Throttle();
}

void FeedSocket::Throttle() {
  const bool pause = sending_ >= kSendsAtOnce || answers_.size() >= kAnswersHeld;
  if (pause == paused_) return;
  paused_ = pause;
  port_->SetReading(!pause);
}

std::optional<http::WebSocketMessage> FeedSocket::Next() {
  if (!answers_.empty()) {
    auto text = std::make_shared<const std::string>(std::move(answers_.front()));
    answers_.pop_front();
    Throttle();
    return http::WebSocketMessage{std::move(text), false};
  }
  if (subscription_ == nullptr) return std::nullopt;
  if (subscription_->failed()) {
    port_->Close(http::kCloseTryAgainLater, "the feed cannot be read here now");
    return std::nullopt;
  }
  const auto item = subscription_->Next();
  if (!item) return std::nullopt;
  const auto text = [](std::string data) {
    return http::WebSocketMessage{std::make_shared<const std::string>(std::move(data)), false};
  };
  switch (item->kind) {
    case Subscription::Item::Kind::kEvent: {
      const Event& event = *item->event;
      if (event.frame == nullptr) {
        event.frame =
            std::make_shared<const std::string>("{\"op\":\"message\",\"token\":\"" + event.token +
                                                "\",\"message\":" + event.json + "}");
      }
      return http::WebSocketMessage{event.frame, false};
    }
    case Subscription::Item::Kind::kToken:
      return text("{\"op\":\"subscribed\",\"token\":\"" + item->token + "\"}");
    case Subscription::Item::Kind::kGap: return text("{\"op\":\"gap\"}");
    case Subscription::Item::Kind::kStatus: break;
  }
  return text(std::string("{\"op\":\"status\",\"behind\":") + (item->behind ? "true" : "false") +
              "}");
}

void FeedSocket::End() {
  if (subscription_ != nullptr) std::exchange(subscription_, nullptr)->Detach();
  port_ = nullptr;
}

}  // namespace chatchain::feed
