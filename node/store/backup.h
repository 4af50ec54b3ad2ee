// SPDX-License-Identifier: MIT
// A consistent copy of a node's database, made while the node runs, and the way back. Whatever
// fails leaves nothing behind that has the name of a backup, or of a database.
#pragma once

#include <string>

#include "common/util/result.h"
#include "node/store/audit.h"

namespace chatchain {

// Copies the database of `directory` to `file`, which must not exist, checks the copy, and only
// then gives it its name. The copy is one moment of the database; it needs no other file beside it.
// While it is made, the log of a running node is not begun anew: it grows by what is written
// meanwhile.
//
// The error is one line for the operator. `options` are for the check; its `progress` is told of
// the copying too.
Result<AuditReport, std::string> BackUp(const std::string& directory, const std::string& file,
                                        const AuditOptions& options);

// Checks `file` and makes it the database of `directory`, which is created if absent and must not
// have one. The next start of a node there begins a new epoch, as each start does.
Result<AuditReport, std::string> Restore(const std::string& file, const std::string& directory,
                                         const AuditOptions& options);

}  // namespace chatchain
