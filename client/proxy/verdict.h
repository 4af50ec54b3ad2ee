// SPDX-License-Identifier: MIT
// THE success rule of the proxy, as one function: what an outcome at one node means for the
// client's request and for the node's standing. Pure.
#pragma once

#include <string_view>

#include "common/http/client.h"

namespace chatchain {

enum class Finality {
  kFinal,     // the client's answer, whatever other nodes say
  kNotFinal,  // an answer, while another ready node may know better
  kFailed,    // no answer: others must be asked
};

struct AnswerVerdict {
  Finality finality = Finality::kFailed;
  bool node_fault = false;  // counts against the node's breaker
  int rank = 0;             // of two answers that are not final the client gets the larger

  friend bool operator==(const AnswerVerdict&, const AnswerVerdict&) = default;
};

// What the rule looks at in an answer.
struct AnswerFacts {
  int status = 0;
  bool genuine = true;      // names its node, and has the form that the route promises
  bool key_reused = false;  // a problem of type key-reused
  bool empty_page = false;
  bool stale = false;  // ChatChain-Stale
};

AnswerVerdict Judge(const AnswerFacts& facts);
AnswerVerdict Judge(http::TransportError::Kind error);

}  // namespace chatchain
