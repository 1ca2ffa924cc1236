// What QEMU says on a monitor, parsed without I/O.
//
// The other end is a process that may have been taken over by its guest: lines are bounded, and
// whatever is not a QMP message is an error after which the connection is closed.
#pragma once

#include "policy/error.h"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace homeport::migration {

inline constexpr std::size_t kQmpMaxLine = 1u << 20;  ///< bytes, without the line's end

/// What a monitor begins with.
struct QmpGreeting {};

struct QmpEvent {
  std::string name;
  boost::json::object data;
};

struct QmpReturn {
  std::optional<std::uint64_t> id;
  boost::json::value value;
};

struct QmpFailure {
  std::optional<std::uint64_t> id;
  std::string description;  ///< QEMU's sentence
};

using QmpMessage = std::variant<QmpGreeting, QmpEvent, QmpReturn, QmpFailure>;

/// One line, without its end. errc::bad_message for what is not a QMP message.
policy::Result<QmpMessage> parse_qmp_message(std::string_view line);

/// One command as a line, with its end.
std::string format_qmp_command(std::string_view command, const boost::json::object& arguments,
                               std::uint64_t id);

/// Splits what arrives into lines.
class QmpLines {
 public:
  void add(std::string_view received) { buffer_ += received; }
  /// The next whole, non-empty line without CR LF; nullopt until more has arrived;
  /// errc::message_size once a line is longer than kQmpMaxLine.
  policy::Result<std::optional<std::string>> next();

 private:
  std::string buffer_;
  std::size_t searched_ = 0;  ///< bytes at the front known to hold no line's end
};

}  // namespace homeport::migration
