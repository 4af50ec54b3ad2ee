// SPDX-License-Identifier: MIT
#include "tests/support/api.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>
#include <sstream>

namespace chatchain::testing {

namespace {

constexpr milliseconds kConnectTimeout{1000};

Answer FromResult(const httplib::Result& result) {
  Answer answer;
  if (!result) {
    answer.error = httplib::to_string(result.error());
    return answer;
  }
  answer.status = result->status;
  answer.body = result->body;
  answer.headers = result->headers;
  return answer;
}

Shown ShownFromJson(const Json& json) {
  Shown shown;
  shown.id = json.at("id").get<std::string>();
  shown.sender = json.at("sender").get<std::string>();
  shown.recipient = json.value("recipient", "");
  shown.room = json.value("room", "");
  shown.text = json.at("text").get<std::string>();
  if (json.contains("timestamp")) shown.timestamp = json.at("timestamp").get<int64_t>();
  shown.accepted_at = json.at("accepted_at").get<std::string>();
  return shown;
}

}  // namespace

Json Outgoing::ToJson() const {
  Json json = {{"sender", sender}, {"text", text}};
  if (!recipient.empty()) json["recipient"] = recipient;
  if (!room.empty()) json["room"] = room;
  if (timestamp) json["timestamp"] = *timestamp;
  return json;
}

std::string ToText(const Shown& shown) {
  std::ostringstream out;
  out << shown.id << " " << shown.accepted_at << " " << shown.sender << " -> " << shown.recipient
      << shown.room << " (" << shown.text.size() << " bytes) " << shown.text.substr(0, 60);
  return out.str();
}

std::string Answer::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

Api::Api(std::string address, milliseconds timeout)
    : address_(std::move(address)),
      client_(std::make_unique<httplib::Client>("http://" + address_)) {
  client_->set_connection_timeout(kConnectTimeout);
  client_->set_read_timeout(timeout);
  client_->set_write_timeout(timeout);
  client_->set_tcp_nodelay(true);
  client_->set_keep_alive(true);
}

Answer Api::Get(const std::string& target, const httplib::Headers& headers) {
  return FromResult(client_->Get(target, headers));
}

Answer Api::Post(const std::string& target, const std::string& body,
                 const httplib::Headers& headers) {
  return FromResult(client_->Post(target, headers, body, "application/json"));
}

Answer Api::Do(const std::string& method, const std::string& target,
               const httplib::Headers& headers, const std::string& body) {
  httplib::Request request;
  request.method = method;
  request.path = target;
  request.headers = headers;
  request.body = body;
  return FromResult(client_->send(request));
}

Answer Api::Send(const Outgoing& message, httplib::Headers headers) {
  if (!message.key.empty()) headers.emplace("Idempotency-Key", message.key);
  return Post("/messages", message.ToJson().dump(), headers);
}

Answer Api::SendBatch(const std::vector<Outgoing>& messages, const httplib::Headers& headers) {
  Json list = Json::array();
  for (const Outgoing& message : messages) {
    Json item = message.ToJson();
    if (!message.key.empty()) item["key"] = message.key;
    list.push_back(std::move(item));
  }
  return Post("/messages/batch", Json{{"messages", std::move(list)}}.dump(), headers);
}

std::optional<std::vector<Shown>> Api::ListAll(const std::string& filter, std::string* why,
                                               int limit) {
  std::vector<Shown> all;
  std::set<std::string> seen;
  std::string cursor;
  while (true) {
    std::string target = "/messages?limit=" + std::to_string(limit);
    if (!filter.empty()) target += "&" + filter;
    if (!cursor.empty()) target += "&cursor=" + cursor;
    const Answer answer = Get(target);
    if (answer.status != 200) {
      if (why != nullptr) *why = address_ + ": " + answer.text();
      return std::nullopt;
    }
    const Json page = answer.json();
    for (const Json& message : page.at("messages")) {
      all.push_back(ShownFromJson(message));
      if (!seen.insert(all.back().id).second) {
        FAIL(address_ << " gives a message twice in one walk: " << ToText(all.back()));
      }
    }
    if (page.at("next").is_null()) return all;
    cursor = page.at("next").get<std::string>();
  }
}

Json Api::Nodes() {
  const Answer answer = Get("/nodes");
  return answer.status == 200 ? answer.json() : Json::object();
}

std::string Api::Digest() {
  const Json nodes = Nodes();
  return nodes.contains("self") ? nodes["self"].value("digest", "") : std::string();
}

bool Api::Ready() {
  return Get("/readyz").status == 200;
}

double Api::Metric(const std::string& name, const std::string& label) {
  std::istringstream lines(Get("/metrics").body);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name, 0) != 0) continue;
    const char after = line.size() > name.size() ? line[name.size()] : '\0';
    if (after != ' ' && after != '{') continue;
    if (line.find(label) == std::string::npos) continue;
    sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

}  // namespace chatchain::testing
