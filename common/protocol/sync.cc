// SPDX-License-Identifier: MIT
#include "common/protocol/sync.h"

#include <algorithm>

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

// `[origin, epoch]`, whatever follows.
std::optional<EpochKey> EpochKeyFrom(const JsonValue& list) {
  const auto origin = list.At(0);
  const auto epoch = list.At(1);
  if (!origin || !origin->is_string() || !epoch || !epoch->is_string()) return std::nullopt;
  const auto number = ParseHexU64(epoch->String());
  if (!number || !IsNodeId(origin->String())) return std::nullopt;
  return EpochKey{std::string(origin->String()), *number};
}

// `[origin, epoch, seq]`, whatever follows.
std::optional<LogPosition> LogPositionFrom(const JsonValue& entry) {
  const auto key = EpochKeyFrom(entry);
  const auto seq = entry.At(2);
  if (!key || !seq) return std::nullopt;
  const auto number = seq->Unsigned();
  if (!number || *number == 0 || *number > INT64_MAX) return std::nullopt;
  return LogPosition{*key, *number};
}

// The fourth and last member of such a list.
bool ChainFrom(const JsonValue& entry, Hash* chain) {
  const auto text = entry.At(3);
  return entry.size() == 4 && text && text->is_string() && Hash::FromHex(text->String(), chain);
}

std::optional<HeadVector> HeadsFrom(const JsonValue& list) {
  if (!list.is_array() || list.size() > limits::kVectorMaxEntries) return std::nullopt;
  HeadVector heads;
  for (const JsonValue entry : list.Elements()) {
    const auto at = LogPositionFrom(entry);
    Position position;
    if (!at || !ChainFrom(entry, &position.chain)) return std::nullopt;
    position.seq = at->seq;
    if (!heads.emplace(at->epoch, position).second) return std::nullopt;
  }
  return heads;
}

std::optional<std::vector<EpochKey>> ForksFrom(const JsonValue& object) {
  std::vector<EpochKey> forks;
  const auto list = object.Find("forks");
  if (!list) return forks;
  if (!list->is_array() || list->size() > limits::kVectorMaxEntries) return std::nullopt;
  for (const JsonValue entry : list->Elements()) {
    auto key = EpochKeyFrom(entry);
    if (!key) return std::nullopt;
    forks.push_back(std::move(*key));
  }
  return forks;
}

// The chains that are asked for; false where that is no list of positions.
bool TakePositions(const JsonValue& list, std::vector<LogPosition>* positions) {
  if (!list.is_array() || list.size() > limits::kSyncChainsMax) return false;
  for (const JsonValue entry : list.Elements()) {
    const auto position = LogPositionFrom(entry);
    if (!position || entry.size() != 3) return false;
    positions->push_back(*position);
  }
  return true;
}

bool TakeChains(const JsonValue& list, std::vector<std::pair<LogPosition, Hash>>* chains) {
  if (!list.is_array() || list.size() > limits::kSyncChainsMax) return false;
  for (const JsonValue entry : list.Elements()) {
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

// Nothing where it is absent or of another type.
std::optional<int64_t> FindInt(const JsonValue& object, std::string_view name) {
  const auto value = object.Find(name);
  return value ? value->Int() : std::nullopt;
}

void TakeLiveEpoch(const JsonValue& object, std::string* instance, std::optional<Epoch>* epoch) {
  *instance = object.FindString("instance").value_or("");
  if (instance->size() > limits::kInstanceMaxBytes) instance->clear();
  *epoch = ParseHexU64(object.FindString("epoch").value_or(""));
}

std::optional<WireRecord> WireRecordFrom(const JsonValue& json) {
  if (!json.is_object()) return std::nullopt;
  WireRecord wire;
  Record& record = wire.record;
  const auto epoch = ParseHexU64(json.FindString("epoch").value_or(""));
  const auto seq = FindInt(json, "seq");
  const auto stamp = ParseHexU64(json.FindString("stamp").value_or(""));
  record.epoch.origin = json.FindString("origin").value_or("");
  record.kind = json.FindString("kind").value_or("");
  if (!IsNodeId(record.epoch.origin) || !IsKind(record.kind) || !epoch || !stamp || !seq ||
      *seq < 1 || !Hash::FromHex(json.FindString("digest").value_or(""), &record.digest) ||
      !Hash::FromHex(json.FindString("chain").value_or(""), &record.chain)) {
    return std::nullopt;
  }
  record.epoch.epoch = *epoch;
  record.seq = static_cast<Seq>(*seq);
  record.stamp = *stamp;
  if (const auto message = json.Find("message")) {
    static const std::vector<std::string_view> kKeyMember = {"key"};
    auto parsed = MessageFromJson(*message, kKeyMember, UnknownMembers::kIgnore);
    if (!parsed) return std::nullopt;
    parsed->key = message->FindString("key").value_or("");
    wire.message = std::move(*parsed);
  }
  if (const auto id = json.FindString("id")) wire.id = MessageId::Parse(*id);
  if (json.Find("payload")) {
    wire.payload = Base64Decode(json.FindString("payload").value_or("="));
    if (!wire.payload || wire.payload->size() > limits::kPayloadMaxBytes) return std::nullopt;
  }
  return wire;
}

// As much of its position as can be read.
std::string Malformed(const JsonValue& record, size_t index) {
  std::string text = "record " + std::to_string(index) + " of the answer";
  if (record.is_object()) {
    text.append(", ").append(record.FindString("origin").value_or("?")).append("/");
    text.append(record.FindString("epoch").value_or("?")).append(" at ");
    text.append(std::to_string(FindInt(record, "seq").value_or(0))).append(",");
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
  const auto parsed = ReadJson(json);
  return parsed ? HeadsFrom(parsed->root()) : std::nullopt;
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
  const auto tree = ReadJsonObject(text);
  if (!tree) return Err(tree.error());
  const JsonValue json = tree->root();
  SyncRequest request;
  const auto version = FindInt(json, "v");
  if (!version) return Err(Invalid("v", "must be the protocol version, 1"));
  if (*version != 1) return Err(Invalid("v", "this node speaks version 1 only"));
  const auto cluster = json.FindString("cluster");
  const auto node = json.FindString("node");
  if (!cluster) return Err(Invalid("cluster", "must be the cluster's name"));
  if (!node || !IsNodeId(*node)) return Err(Invalid("node", "must be a node id"));
  request.cluster = *cluster;
  request.node = *node;
  const auto have = json.Find("have");
  auto heads = have ? HeadsFrom(*have) : std::nullopt;
  if (!heads) return Err(Invalid("have", "must be a list of [origin, epoch, seq, chain]"));
  request.have = std::move(*heads);
  const auto bounded = [&](const char* name, int64_t least, int64_t most,
                           int64_t* value) -> std::optional<Problem> {
    if (!json.Find(name)) return std::nullopt;
    const auto given = FindInt(json, name);
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
  if (const auto relay = json.Find("relay")) {
    if (!relay->is_bool()) return Err(Invalid("relay", "must be true or false"));
    request.relay = relay->Bool();
  }
  TakeLiveEpoch(json, &request.instance, &request.epoch);
  auto forks = ForksFrom(json);
  if (!forks) return Err(Invalid("forks", "must be a list of [origin, epoch]"));
  request.forks = std::move(*forks);
  if (const auto chains = json.Find("chains")) {
    request.chains.emplace();
    if (!TakePositions(*chains, &*request.chains)) {
      return Err(Invalid("chains", "must be a list of at most " +
                                       std::to_string(limits::kSyncChainsMax) +
                                       " [origin, epoch, seq]"));
    }
  }
  if (const auto ahead = json.Find("ahead")) {
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
  const auto tree = ReadJsonObject(text);
  if (!tree) return bad("JSON object: " + tree.error().detail);
  const JsonValue json = tree->root();
  SyncAnswer answer;
  if (FindInt(json, "v") != 1) return bad("\"v\"");
  answer.node = json.FindString("node").value_or("");
  if (!IsNodeId(answer.node)) return bad("\"node\"");
  const auto now = FindInt(json, "now");
  if (!now) return bad("\"now\"");
  answer.now_ms = *now;
  const auto heads = json.Find("heads");
  auto vector = heads ? HeadsFrom(*heads) : std::nullopt;
  if (!vector) return bad("\"heads\"");
  answer.heads = std::move(*vector);
  auto forks = ForksFrom(json);
  if (!forks) return bad("\"forks\"");
  answer.forks = std::move(*forks);
  const auto more = json.Find("more");
  answer.more = more && more->is_bool() && more->Bool();
  TakeLiveEpoch(json, &answer.instance, &answer.epoch);
  if (const auto chains = json.Find("chains")) {
    answer.chains.emplace();
    if (!TakeChains(*chains, &*answer.chains)) return bad("\"chains\"");
  }
  const auto records = json.Find("records");
  if (!records || !records->is_array() || records->size() > limits::kSyncPageMaxRecords) {
    return bad("\"records\"");
  }
  answer.records.reserve(records->size());
  size_t index = 0;
  for (const JsonValue entry : records->Elements()) {
    auto wire = WireRecordFrom(entry);
    if (wire) {
      answer.records.push_back(std::move(*wire));
    } else {
      answer.malformed.push_back(Malformed(entry, index));
    }
    ++index;
  }
  return answer;
}

}  // namespace chatchain
