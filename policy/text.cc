#include "policy/text.h"

#include <boost/locale/utf.hpp>

namespace homeport::policy {

namespace utf = boost::locale::utf;

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  for (const char *here = text.data(), *end = here + text.size(); here != end;) {
    const char* from = here;
    const utf::code_point point = utf::utf_traits<char>::decode(here, end);
    if (here == from) ++here;
    // C0, DEL and C1: a terminal would obey them.
    const bool good =
        utf::is_valid_codepoint(point) && point >= 0x20 && (point < 0x7f || point > 0x9f);
    const std::string_view piece = good ? std::string_view(from, here) : "?";
    if (result.size() + piece.size() > limit) break;
    result += piece;
  }
  return result;
}

}  // namespace homeport::policy
