// What somebody may have meant who typed a name that does not exist.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace homeport::policy {

/// Those of `known` that are near `name`, nearest first, at most three: few edits away, or begun
/// with it.
std::vector<std::string> near_matches(std::string_view name, const std::vector<std::string>& known);

}  // namespace homeport::policy
