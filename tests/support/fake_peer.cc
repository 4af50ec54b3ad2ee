// SPDX-License-Identifier: MIT
#include "tests/support/fake_peer.h"

#include <catch2/catch.hpp>
#include <chrono>

namespace chatchain::testing {

FakePeer::FakePeer(Answerer answerer) {
  // The default shares ports with other processes.
  server_.set_socket_options([](socket_t) {});
  server_.Post("/sync", [this, answerer = std::move(answerer)](const httplib::Request& request,
                                                               httplib::Response& response) {
    ++requests_;
    answerer(request, response);
  });
  port_ = server_.bind_to_any_port("127.0.0.1");
  REQUIRE(port_ > 0);
  thread_ = std::thread([this] { server_.listen_after_bind(); });
}

FakePeer::~FakePeer() {
  stopping_ = true;
  server_.stop();
  thread_.join();
}

FakeLog::FakeLog(std::string cluster, std::string origin, Epoch epoch)
    : key_{std::move(origin), epoch}, chain_(ChainSeed(cluster, key_)) {}

void FakeLog::Append(Message message) {
  WireRecord wire;
  wire.record.digest = Sha256(CanonicalBytes(message));
  wire.message = std::move(message);
  Seal(std::move(wire));
}

void FakeLog::AppendPayload(const std::string& kind, const std::string& payload) {
  WireRecord wire;
  wire.record.kind = kind;
  wire.record.digest = Sha256(payload);
  wire.payload = payload;
  Seal(std::move(wire));
}

void FakeLog::Seal(WireRecord wire) {
  wire.record.epoch = key_;
  wire.record.seq = records_.size() + 1;
  wire.record.stamp = StampFromMs(1'700'000'000'000 + static_cast<int64_t>(wire.record.seq));
  wire.record.chain = NextChain(chain_, wire.record);
  chain_ = wire.record.chain;
  records_.push_back(std::move(wire));
}

std::string SyncAnswerOf(std::vector<FakeLog>& logs, bool more) {
  SyncAnswer answer;
  answer.node = "fake";
  answer.now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count();
  answer.more = more;
  std::string records;
  for (FakeLog& log : logs) {
    answer.heads[log.key()] = log.head();
    for (const WireRecord& wire : log.records()) {
      if (!records.empty()) records += ',';
      AppendWireRecord(&records, wire);
    }
  }
  return EncodeSyncAnswer(answer, records);
}

}  // namespace chatchain::testing
