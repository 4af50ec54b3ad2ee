// SPDX-License-Identifier: MIT
// What --help and messages about wrong usage are made of. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chatchain {

// "" has no parts; "a,,b" has three.
std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);

// Words of `text` in lines of at most 100 columns, each behind `indent`, the last one ended too.
std::string Wrapped(std::string_view text, std::string_view indent);

// `; did you mean "..."?` where a candidate is near enough to be a typo, otherwise nothing.
// Candidates may be dotted names: the right name in the wrong table, or in none, is near.
std::string DidYouMean(std::string_view wrong, const std::vector<std::string>& candidates);

}  // namespace chatchain
