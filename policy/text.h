// Text from elsewhere, made fit to be logged, stored and shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace homeport::policy {

/// `text` with '?' for what is not UTF-8 and for control characters, cut to at most `limit` bytes
/// between two characters.
std::string printable(std::string_view text, std::size_t limit = 1024);

}  // namespace homeport::policy
