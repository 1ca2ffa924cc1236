// Which build this is.
#pragma once

#include <string_view>

namespace homeport::policy {

/// Defined in a file of its own: tests of upgrades link another one.
extern const std::string_view kVersion;

}  // namespace homeport::policy
