// SPDX-License-Identifier: MIT
#include "client/http/web_files.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "common/http/answer.h"
#include "common/http/framing.h"
#include "common/util/log.h"
#include "common/util/sha256.h"

namespace chatchain {

namespace {

// The page needs nothing but its own files and its own origin, and nobody may frame it. No script
// may turn text into markup, not even by mistake: the policy has no trusted types.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

std::string_view TypeOf(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".png")) return "image/png";
  return "text/javascript; charset=utf-8";
}

Result<std::string, std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Err("cannot read " + path.string());
  std::string bytes(WebFiles::kMaxFileBytes + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  if (file.bad() || bytes.empty()) return Err("cannot read " + path.string());
  if (bytes.size() > WebFiles::kMaxFileBytes) {
    return Err(path.string() + " is longer than " + std::to_string(WebFiles::kMaxFileBytes) +
               " bytes");
  }
  return bytes;
}

std::string TagOf(std::string_view bytes) {
  return "\"" + Sha256(bytes).Hex() + "\"";
}

// RFC 9110 section 13.1.2, by weak comparison. Our tags have neither commas nor spaces.
bool Names(std::string_view if_none_match, std::string_view tag) {
  while (!if_none_match.empty()) {
    const size_t comma = if_none_match.find(',');
    std::string_view one = if_none_match.substr(0, comma);
    if_none_match.remove_prefix(comma == std::string_view::npos ? if_none_match.size() : comma + 1);
    while (!one.empty() && (one.front() == ' ' || one.front() == '\t')) one.remove_prefix(1);
    while (!one.empty() && (one.back() == ' ' || one.back() == '\t')) one.remove_suffix(1);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == tag) return true;
  }
  return false;
}

}  // namespace

Result<std::shared_ptr<const WebFiles>, std::string> WebFiles::Load(const std::string& directory) {
  auto files = std::make_shared<WebFiles>();
  for (const std::string_view name : kNames) {
    auto bytes = ReadFile(std::filesystem::path(directory) / name);
    if (!bytes) return Err(std::move(bytes.error()));
    File file;
    file.content_type = TypeOf(name);
    file.gzip.bytes = http::Gzip(*bytes);
    if (file.gzip.bytes.size() >= bytes->size()) file.gzip.bytes.clear();
    file.gzip.tag = TagOf(file.gzip.bytes);
    file.plain.tag = TagOf(*bytes);
    file.plain.bytes = std::move(*bytes);
    files->files_.emplace(name, std::move(file));
  }
  return files;
}

http::Response WebFiles::Answer(const http::Request& request, const std::string& name) const {
  const auto found = files_.find(name);
  if (found == files_.end()) {
    return http::ProblemResponse(MakeProblem(404, "", "the chat page has no file of this name"));
  }
  const File& file = found->second;
  const auto encodings = request.headers.Get("Accept-Encoding");
  const bool packed = !file.gzip.bytes.empty() && encodings && http::AcceptsGzip(*encodings);
  const Form& form = packed ? file.gzip : file.plain;

  http::Response response;
  response.headers.Set("ETag", form.tag);
  response.headers.Set("Cache-Control", "no-cache");
  response.headers.Set("Vary", "Accept-Encoding");
  response.headers.Set("Content-Security-Policy", std::string(kPolicy));
  response.headers.Set("X-Content-Type-Options", "nosniff");
  response.headers.Set("Referrer-Policy", "no-referrer");
  for (const auto& [field, value] : request.headers.all()) {
    if (http::EqualNoCase(field, "If-None-Match") && Names(value, form.tag)) {
      response.status = 304;
      return response;
    }
  }
  if (packed) response.headers.Set("Content-Encoding", "gzip");
  response.content_type = file.content_type;
  response.body = form.bytes;
  return response;
}

Result<std::shared_ptr<const WebFiles>, std::string> FindWebFiles(const std::string& configured) {
  if (!configured.empty()) return WebFiles::Load(configured);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto installed = self.parent_path().parent_path() / "share/chatchain/web";
  if (!error && std::filesystem::exists(installed / "index.html", error)) {
    return WebFiles::Load(installed.string());
  }
  auto files = WebFiles::Load(CHATCHAIN_WEB_SOURCE_DIR);
  if (!files) return Err(installed.string() + " does not exist");
  return files;
}

}  // namespace chatchain
