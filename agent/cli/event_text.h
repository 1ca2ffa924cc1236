// Reads the text of server-sent events as it comes, in pieces of any size
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pure.
#pragma once

#include "policy/error.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

struct ServerEvent {
  std::string name;  ///< "message" where the text has none.
  std::string data;  ///< Its lines, without the last one's end.
};

/// Lines end with a line feed, which a carriage return may precede. Fields that are not known,
/// ids and comments are passed over.
class EventText {
 public:
  static constexpr std::size_t kLongest = std::size_t{1} << 20;  ///< bytes of an event, or a line

  /// The events that `piece` completes. An error where one is longer than kLongest: nothing that
  /// comes after it can be read.
  policy::Result<std::vector<ServerEvent>> take(std::string_view piece);

 private:
  void field(std::string_view line);

  std::string rest_;  ///< A line that has not ended yet.
  ServerEvent event_;
  bool has_data_ = false;
};

}  // namespace homeport::agent
