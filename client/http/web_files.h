// SPDX-License-Identifier: MIT
// The chat page: a fixed list of files, read once at the start and served from memory, each in two
// forms (as it is, and by gzip) that have strong entity tags of their own. Immutable, hence
// thread-safe.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "common/http/message.h"
#include "common/util/result.h"

namespace chatchain {

class WebFiles {
 public:
  static constexpr size_t kMaxFileBytes = 256 * 1024;

  // All that there is.
  static constexpr std::array kNames = std::to_array<std::string_view>(
      {"index.html", "style.css", "icon.png", "main.js", "api.js", "chat.js", "conversations.js",
       "dom.js", "feed.js", "format.js", "identity.js", "network.js", "outbox.js", "sha256.js",
       "storage.js", "timeline.js", "view_conversation.js", "view_dialogs.js", "view_list.js"});

  // Reads them from `directory`. The error is one line for the operator: which file, and why.
  static Result<std::shared_ptr<const WebFiles>, std::string> Load(const std::string& directory);

  // 200, or 304 where If-None-Match names what would be sent; 404 for a name that is not in the
  // list: no path is ever made of it.
  http::Response Answer(const http::Request& request, const std::string& name) const;

 private:
  struct Form {
    std::string bytes;
    std::string tag;  // with its quotes
  };
  struct File {
    std::string content_type;
    Form plain;
    Form gzip;  // no bytes: it does not pay
  };

  std::map<std::string, File, std::less<>> files_;
};

// `configured`, where it is not empty; else share/chatchain/web beside the folder of the running
// program, as an installation has it; else the folder of the sources, for a build that is run where
// it was made. The error is as of Load().
Result<std::shared_ptr<const WebFiles>, std::string> FindWebFiles(const std::string& configured);

}  // namespace chatchain
