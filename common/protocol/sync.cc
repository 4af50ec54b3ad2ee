// SPDX-License-Identifier: MIT
#include "common/protocol/sync.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/protocol/json.h"
#include "common/protocol/limits.h"
#include "common/util/encoding.h"
#include "common/util/sha256.h"

namespace chatchain {

namespace {

constexpr std::string_view kChecksumMember = ",\"checksum\":\"";
constexpr std::string_view kChecksumEnd = "\"}";
constexpr size_t kChecksumDigits = 16;

std::string ChecksumOf(std::string_view bytes) {
  return HexU64(Sha256(bytes).Prefix64());
}

// The end of an object of which all but its closing brace is written.
void CloseWithChecksum(std::string* out) {
  const std::string checksum = ChecksumOf(*out);
  out->append(kChecksumMember).append(checksum).append(kChecksumEnd);
}

// False where there is one, at the end, and the bytes before it are others. A flipped bit that
// hides the checksum has left everything else as it was.
bool ChecksumFits(std::string_view text) {
  constexpr size_t kBytes = kChecksumMember.size() + kChecksumDigits + kChecksumEnd.size();
  if (text.size() < kBytes || !text.ends_with(kChecksumEnd)) return true;
  const std::string_view end = text.substr(text.size() - kBytes);
  if (!end.starts_with(kChecksumMember)) return true;
  text.remove_suffix(kBytes);
  return end.substr(kChecksumMember.size(), kChecksumDigits) == ChecksumOf(text);
}

void AppendEpochKeys(std::string* out, const std::vector<EpochKey>& keys) {
  out->push_back('[');
  for (const EpochKey& key : keys) {
    if (out->back() != '[') out->push_back(',');
    out->append("[\"" + key.origin + "\",\"" + HexU64(key.epoch) + "\"]");
  }
  out->push_back(']');
}

void AppendLiveEpoch(std::string* out, const std::string& instance,
                     const std::optional<Epoch>& epoch) {
  if (!instance.empty()) {
    out->append(",\"instance\":");
    AppendJsonString(out, instance);
  }
  if (epoch) out->append(",\"epoch\":\"" + HexU64(*epoch) + "\"");
}

// The accessors below give nothing where a member is absent or of another type.
const Json* Member(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() ? nullptr : &*it;
}

std::optional<std::string> StringMember(const Json& object, const char* name) {
  const Json* value = Member(object, name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::optional<int64_t> IntMember(const Json& object, const char* name) {
  const Json* value = Member(object, name);
  if (value == nullptr || !value->is_number_integer()) return std::nullopt;
  if (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX) return std::nullopt;
  return value->get<int64_t>();
}

std::optional<EpochKey> EpochKeyFrom(const Json& list) {
  if (!list.is_array() || list.size() < 2 || !list[0].is_string() || !list[1].is_string()) {
    return std::nullopt;
  }
  const auto epoch = ParseHexU64(list[1].get_ref<const std::string&>());
  if (!epoch || !IsNodeId(list[0].get_ref<const std::string&>())) return std::nullopt;
  return EpochKey{list[0].get<std::string>(), *epoch};
}

// `[origin, epoch, seq]`, whatever follows.
std::optional<LogPosition> LogPositionFrom(const Json& entry) {
  const auto key = EpochKeyFrom(entry);
  if (!key || entry.size() < 3 || !entry[2].is_number_unsigned()) return std::nullopt;
  const auto seq = entry[2].get<uint64_t>();
  if (seq == 0 || seq > INT64_MAX) return std::nullopt;
  return LogPosition{*key, seq};
}

// The fourth and last member of such a list.
bool ChainFrom(const Json& entry, Hash* chain) {
  return entry.size() == 4 && entry[3].is_string() &&
         Hash::FromHex(entry[3].get_ref<const std::string&>(), chain);
}

std::optional<HeadVector> HeadsFrom(const Json& list) {
  if (!list.is_array() || list.size() > limits::kVectorMaxEntries) return std::nullopt;
  HeadVector heads;
  for (const Json& entry : list) {
    const auto at = LogPositionFrom(entry);
    Position position;
    if (!at || !ChainFrom(entry, &position.chain)) return std::nullopt;
    position.seq = at->seq;
    if (!heads.emplace(at->epoch, position).second) return std::nullopt;
  }
  return heads;
}

std::optional<std::vector<EpochKey>> ForksFrom(const Json& object) {
  std::vector<EpochKey> forks;
  const Json* list = Member(object, "forks");
  if (list == nullptr) return forks;
  if (!list->is_array() || list->size() > limits::kVectorMaxEntries) return std::nullopt;
  for (const Json& entry : *list) {
    auto key = EpochKeyFrom(entry);
    if (!key) return std::nullopt;
    forks.push_back(std::move(*key));
  }
  return forks;
}

// The chains that are asked for; false where that is no list of positions.
bool TakePositions(const Json& list, std::vector<LogPosition>* positions) {
  if (!list.is_array() || list.size() > limits::kSyncChainsMax) return false;
  for (const Json& entry : list) {
    const auto position = LogPositionFrom(entry);
    if (!position || entry.size() != 3) return false;
    positions->push_back(*position);
  }
  return true;
}

bool TakeChains(const Json& list, std::vector<std::pair<LogPosition, Hash>>* chains) {
  if (!list.is_array() || list.size() > limits::kSyncChainsMax) return false;
  for (const Json& entry : list) {
    const auto position = LogPositionFrom(entry);
    Hash chain;
    if (!position || !ChainFrom(entry, &chain)) return false;
    chains->emplace_back(*position, chain);
  }
  return true;
}

void AppendPosition(std::string* out, const LogPosition& position) {
  if (out->back() != '[') out->push_back(',');
  out->append("[\"" + position.epoch.origin + "\",\"" + HexU64(position.epoch.epoch) + "\",");
  out->append(std::to_string(position.seq));
}

void TakeLiveEpoch(const Json& object, std::string* instance, std::optional<Epoch>* epoch) {
  *instance = StringMember(object, "instance").value_or("");
  if (instance->size() > limits::kInstanceMaxBytes) instance->clear();
  *epoch = ParseHexU64(StringMember(object, "epoch").value_or(""));
}

std::optional<WireRecord> WireRecordFrom(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  WireRecord wire;
  Record& record = wire.record;
  const auto epoch = ParseHexU64(StringMember(json, "epoch").value_or(""));
  const auto seq = IntMember(json, "seq");
  const auto stamp = ParseHexU64(StringMember(json, "stamp").value_or(""));
  record.epoch.origin = StringMember(json, "origin").value_or("");
  record.kind = StringMember(json, "kind").value_or("");
  if (!IsNodeId(record.epoch.origin) || !IsKind(record.kind) || !epoch || !stamp || !seq ||
      *seq < 1 || !Hash::FromHex(StringMember(json, "digest").value_or(""), &record.digest) ||
      !Hash::FromHex(StringMember(json, "chain").value_or(""), &record.chain)) {
    return std::nullopt;
  }
  record.epoch.epoch = *epoch;
  record.seq = static_cast<Seq>(*seq);
  record.stamp = *stamp;
  if (const Json* message = Member(json, "message")) {
    static const std::vector<std::string_view> kKeyMember = {"key"};
    auto parsed = MessageFromJson(*message, kKeyMember, UnknownMembers::kIgnore);
    if (!parsed) return std::nullopt;
    parsed->key = StringMember(*message, "key").value_or("");
    wire.message = std::move(*parsed);
  }
  if (const auto id = StringMember(json, "id")) wire.id = MessageId::Parse(*id);
  if (Member(json, "payload") != nullptr) {
    wire.payload = Base64Decode(StringMember(json, "payload").value_or("="));
    if (!wire.payload || wire.payload->size() > limits::kPayloadMaxBytes) return std::nullopt;
  }
  return wire;
}

// As much of its position as can be read.
std::string Malformed(const Json& record, size_t index) {
  std::string text = "record " + std::to_string(index) + " of the answer";
  if (record.is_object()) {
    text += ", " + StringMember(record, "origin").value_or("?") + "/" +
            StringMember(record, "epoch").value_or("?") + " at " +
            std::to_string(IntMember(record, "seq").value_or(0)) + ",";
  }
  return text + " is malformed";
}

}  // namespace

void AppendHeads(std::string* out, const HeadVector& heads) {
  out->push_back('[');
  for (const auto& [key, position] : heads) {
    if (out->back() != '[') out->push_back(',');
    out->append("[\"" + key.origin + "\",\"" + HexU64(key.epoch) + "\",");
    out->append(std::to_string(position.seq) + ",\"" + position.chain.Hex() + "\"]");
  }
  out->push_back(']');
}

std::optional<HeadVector> HeadsFromJson(std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  return HeadsFrom(parsed);
}

std::string EncodeSyncRequest(const SyncRequest& request) {
  std::string out = "{\"v\":1,\"cluster\":";
  AppendJsonString(&out, request.cluster);
  out += ",\"node\":";
  AppendJsonString(&out, request.node);
  out += ",\"have\":";
  AppendHeads(&out, request.have);
  out += ",\"limit\":" + std::to_string(request.limit);
  out += ",\"max_bytes\":" + std::to_string(request.max_bytes);
  out += ",\"wait_ms\":" + std::to_string(request.wait_ms);
  out += request.relay ? ",\"relay\":true" : ",\"relay\":false";
  AppendLiveEpoch(&out, request.instance, request.epoch);
  if (!request.forks.empty()) {
    out += ",\"forks\":";
    AppendEpochKeys(&out, request.forks);
  }
  if (request.chains) {
    out += ",\"chains\":[";
    for (const LogPosition& position : *request.chains) {
      AppendPosition(&out, position);
      out += ']';
    }
    out += ']';
  }
  if (!request.ahead.empty()) {
    out += ",\"ahead\":";
    AppendHeads(&out, request.ahead);
  }
  CloseWithChecksum(&out);
  return out;
}

Try<SyncRequest> DecodeSyncRequest(std::string_view text) {
  if (!ChecksumFits(text)) {
    return Err(BadRequest("checksum: the request is not what was sent; send it again"));
  }
  auto json = ParseJsonObject(text);
  if (!json) return Err(json.error());
  SyncRequest request;
  const auto version = IntMember(*json, "v");
  if (!version) return Err(Invalid("v", "must be the protocol version, 1"));
  if (*version != 1) return Err(Invalid("v", "this node speaks version 1 only"));
  const auto cluster = StringMember(*json, "cluster");
  const auto node = StringMember(*json, "node");
  if (!cluster) return Err(Invalid("cluster", "must be the cluster's name"));
  if (!node || !IsNodeId(*node)) return Err(Invalid("node", "must be a node id"));
  request.cluster = *cluster;
  request.node = *node;
  const Json* have = Member(*json, "have");
  auto heads = have == nullptr ? std::nullopt : HeadsFrom(*have);
  if (!heads) return Err(Invalid("have", "must be a list of [origin, epoch, seq, chain]"));
  request.have = std::move(*heads);
  const auto bounded = [&](const char* name, int64_t least, int64_t most,
                           int64_t* value) -> std::optional<Problem> {
    if (Member(*json, name) == nullptr) return std::nullopt;
    const auto given = IntMember(*json, name);
    if (!given || *given < least) {
      return Invalid(name, "must be a whole number of at least " + std::to_string(least));
    }
    *value = std::min(*given, most);
    return std::nullopt;
  };
  auto limit = static_cast<int64_t>(request.limit);
  auto max_bytes = static_cast<int64_t>(request.max_bytes);
  if (auto bad = bounded("limit", 1, limits::kSyncPageMaxRecords, &limit)) return Err(*bad);
  if (auto bad = bounded("max_bytes", 1, limits::kSyncPageMaxBytes, &max_bytes)) return Err(*bad);
  if (auto bad = bounded("wait_ms", 0, limits::kSyncWaitMax_ms, &request.wait_ms)) return Err(*bad);
  request.limit = static_cast<size_t>(limit);
  request.max_bytes = static_cast<size_t>(max_bytes);
  if (const Json* relay = Member(*json, "relay")) {
    if (!relay->is_boolean()) return Err(Invalid("relay", "must be true or false"));
    request.relay = relay->get<bool>();
  }
  TakeLiveEpoch(*json, &request.instance, &request.epoch);
  auto forks = ForksFrom(*json);
  if (!forks) return Err(Invalid("forks", "must be a list of [origin, epoch]"));
  request.forks = std::move(*forks);
  if (const Json* chains = Member(*json, "chains")) {
    request.chains.emplace();
    if (!TakePositions(*chains, &*request.chains)) {
      return Err(Invalid("chains", "must be a list of at most " +
                                       std::to_string(limits::kSyncChainsMax) +
                                       " [origin, epoch, seq]"));
    }
  }
  if (const Json* ahead = Member(*json, "ahead")) {
    auto positions = HeadsFrom(*ahead);
    if (!positions) return Err(Invalid("ahead", "must be a list of [origin, epoch, seq, chain]"));
    request.ahead = std::move(*positions);
  }
  return request;
}

void AppendWireRecord(std::string* out, const WireRecord& wire) {
  const Record& record = wire.record;
  out->append("{\"origin\":\"" + record.epoch.origin + "\",\"epoch\":\"");
  out->append(HexU64(record.epoch.epoch));
  out->append("\",\"seq\":" + std::to_string(record.seq));
  out->append(",\"kind\":\"" + record.kind + "\",\"stamp\":\"" + HexU64(record.stamp));
  out->append("\",\"digest\":\"" + record.digest.Hex() + "\",\"chain\":\"" + record.chain.Hex());
  out->push_back('"');
  if (wire.message) {
    out->append(",\"message\":{");
    AppendMessageMembers(out, *wire.message);
    out->append(",\"key\":");
    AppendJsonString(out, wire.message->key);
    out->push_back('}');
  }
  if (wire.id) out->append(",\"id\":\"" + wire.id->Text() + "\"");
  if (wire.payload) out->append(",\"payload\":\"" + Base64Encode(*wire.payload) + "\"");
  out->push_back('}');
}

std::string EncodeSyncAnswer(const SyncAnswer& answer, std::string_view records_json) {
  std::string out;
  out.reserve(records_json.size() + 1024);
  out += "{\"v\":1,\"node\":";
  AppendJsonString(&out, answer.node);
  out += ",\"now\":" + std::to_string(answer.now_ms);
  AppendLiveEpoch(&out, answer.instance, answer.epoch);
  out += ",\"heads\":";
  AppendHeads(&out, answer.heads);
  out += ",\"forks\":";
  AppendEpochKeys(&out, answer.forks);
  out += answer.more ? ",\"more\":true" : ",\"more\":false";
  if (answer.chains) {
    out += ",\"chains\":[";
    for (const auto& [position, chain] : *answer.chains) {
      AppendPosition(&out, position);
      out += ",\"" + chain.Hex() + "\"]";
    }
    out += ']';
  }
  out += ",\"records\":[";
  out += records_json;
  out += ']';
  CloseWithChecksum(&out);
  return out;
}

Result<SyncAnswer, std::string> DecodeSyncAnswer(std::string_view text) {
  const auto bad = [](std::string_view what) {
    return Err("the answer to /sync has no valid " + std::string(what));
  };
  if (!ChecksumFits(text)) return bad("checksum: it is not what was sent");
  const auto parsed = ParseJsonObject(text);
  if (!parsed) return bad("JSON object: " + parsed.error().detail);
  const Json& json = *parsed;
  SyncAnswer answer;
  if (IntMember(json, "v") != 1) return bad("\"v\"");
  answer.node = StringMember(json, "node").value_or("");
  if (!IsNodeId(answer.node)) return bad("\"node\"");
  const auto now = IntMember(json, "now");
  if (!now) return bad("\"now\"");
  answer.now_ms = *now;
  const Json* heads = Member(json, "heads");
  auto vector = heads == nullptr ? std::nullopt : HeadsFrom(*heads);
  if (!vector) return bad("\"heads\"");
  answer.heads = std::move(*vector);
  auto forks = ForksFrom(json);
  if (!forks) return bad("\"forks\"");
  answer.forks = std::move(*forks);
  const Json* more = Member(json, "more");
  answer.more = more != nullptr && more->is_boolean() && more->get<bool>();
  TakeLiveEpoch(json, &answer.instance, &answer.epoch);
  if (const Json* chains = Member(json, "chains")) {
    answer.chains.emplace();
    if (!TakeChains(*chains, &*answer.chains)) return bad("\"chains\"");
  }
  const Json* records = Member(json, "records");
  if (records == nullptr || !records->is_array() || records->size() > limits::kSyncPageMaxRecords) {
    return bad("\"records\"");
  }
  answer.records.reserve(records->size());
  for (const Json& entry : *records) {
    auto wire = WireRecordFrom(entry);
    if (wire) {
      answer.records.push_back(std::move(*wire));
    } else {
      answer.malformed.push_back(Malformed(entry, static_cast<size_t>(&entry - &records->front())));
    }
  }
  return answer;
}

}  // namespace chatchain
