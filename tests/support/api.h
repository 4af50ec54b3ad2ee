// SPDX-License-Identifier: MIT
// A small HTTP client of ChatChain's API for tests. Independent of the code under test on purpose:
// it knows cpp-httplib and nlohmann_json only. An Api belongs to one thread.
#pragma once

#include <httplib.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace chatchain::testing {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What a client sends.
struct Outgoing {
  std::string sender;
  std::string recipient;
  std::string room;
  std::string text;
  std::optional<int64_t> timestamp;
  std::string key;  // Idempotency-Key; empty: none

  Json ToJson() const;
};

// What a node shows.
struct Shown {
  std::string id;
  std::string sender;
  std::string recipient;
  std::string room;
  std::string text;
  std::optional<int64_t> timestamp;
  std::string accepted_at;

  friend bool operator==(const Shown&, const Shown&) = default;
};
std::string ToText(const Shown& shown);

struct Answer {
  int status = 0;  // 0: no answer, see `error`
  std::string error;
  std::string body;
  httplib::Headers headers;

  bool ok() const { return status >= 200 && status < 300; }
  Json json() const { return Json::parse(body, nullptr, /*allow_exceptions=*/false); }
  std::string header(const std::string& name) const;
  std::string id() const { return json().value("id", ""); }
  std::string detail() const { return json().value("detail", ""); }
  std::string text() const { return std::to_string(status) + " " + error + body.substr(0, 600); }
};

class Api {
 public:
  // `timeout`: of a connection's silence, not of the whole exchange.
  explicit Api(std::string address, milliseconds timeout = seconds(8));

  Answer Get(const std::string& target, const httplib::Headers& headers = {});
  Answer Post(const std::string& target, const std::string& body,
              const httplib::Headers& headers = {});
  // Exactly this; a body's Content-Type is to be among the headers.
  Answer Do(const std::string& method, const std::string& target,
            const httplib::Headers& headers = {}, const std::string& body = "");
  Answer Send(const Outgoing& message, httplib::Headers headers = {});
  Answer SendBatch(const std::vector<Outgoing>& messages, const httplib::Headers& headers = {});
  Answer Sync(const Json& request) { return Post("/sync", request.dump()); }

  // Every message by following `next`; nothing when a page is not answered with 200, with the
  // reason in
  // `*why`. A message that comes twice fails the test.
  std::optional<std::vector<Shown>> ListAll(const std::string& filter = "",
                                            std::string* why = nullptr, int limit = 1000);
  // GET /nodes; an empty object when it does not answer.
  Json Nodes();
  // Its `self.digest`; empty when it does not answer.
  std::string Digest();
  bool Ready();
  // The sum of all samples of a metric, or of those whose labels contain `label`.
  double Metric(const std::string& name, const std::string& label = "");

  const std::string& address() const { return address_; }

 private:
  std::string address_;
  std::unique_ptr<httplib::Client> client_;
};

}  // namespace chatchain::testing
