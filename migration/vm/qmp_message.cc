#include "migration/vm/qmp_message.h"

#include "migration/vm/json_access.h"
#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace homeport::migration {

namespace errc = boost::system::errc;
namespace json = boost::json;
using policy::make_error;
using policy::Result;

namespace {

policy::Error not_qmp(std::string_view line, std::string_view why) {
  return make_error(errc::bad_message, fmt::format("the monitor sent what is not QMP ({}): \"{}\"",
                                                   why, policy::printable(line, 200)));
}

int version_part(const json::object& version, std::string_view key) {
  auto number = number_at(version, key);
  return number && *number <= 9'999 ? static_cast<int>(*number) : 0;
}

QmpGreeting parse_greeting(const json::object& greeting) {
  QmpGreeting parsed;
  if (const json::object* version = object_at(greeting, "version")) {
    if (const json::object* qemu = object_at(*version, "qemu")) {
      parsed.major = version_part(*qemu, "major");
      parsed.minor = version_part(*qemu, "minor");
      parsed.micro = version_part(*qemu, "micro");
    }
  }
  if (const json::array* capabilities = array_at(greeting, "capabilities")) {
    for (const json::value& capability : *capabilities) {
      if (capability == "oob") parsed.oob = true;
    }
  }
  return parsed;
}

QmpEvent parse_event(const json::object& message) {
  QmpEvent event;
  event.name = text_at(message, "event");
  if (const json::object* data = object_at(message, "data")) event.data = *data;
  if (const json::object* stamp = object_at(message, "timestamp")) {
    // QEMU writes -1 when its clock failed; absurd values must not overflow.
    constexpr std::uint64_t kMaxSeconds = std::numeric_limits<std::int64_t>::max() / 2'000'000;
    auto seconds = number_at(*stamp, "seconds");
    auto microseconds = number_at(*stamp, "microseconds");
    if (seconds && microseconds && *seconds < kMaxSeconds && *microseconds < 1'000'000) {
      event.timestamp = std::chrono::seconds(*seconds) + std::chrono::microseconds(*microseconds);
    }
  }
  return event;
}

}  // namespace

Result<QmpMessage> parse_qmp_message(std::string_view line) {
  json::error_code problem;
  json::value value = json::parse(json::string_view(line.data(), line.size()), problem);
  if (problem) return not_qmp(line, problem.message());
  json::object* message = value.if_object();
  if (!message) return not_qmp(line, "not an object");

  if (const json::object* greeting = object_at(*message, "QMP")) {
    return QmpMessage(parse_greeting(*greeting));
  }
  if (message->contains("event")) {
    QmpEvent event = parse_event(*message);
    if (event.name.empty()) return not_qmp(line, "an event without a name");
    return QmpMessage(std::move(event));
  }
  if (json::value* returned = message->if_contains("return")) {
    return QmpMessage(QmpReturn{number_at(*message, "id"), std::move(*returned)});
  }
  if (const json::object* error = object_at(*message, "error")) {
    QmpFailure failure{number_at(*message, "id"), text_at(*error, "class"),
                       text_at(*error, "desc")};
    if (failure.description.empty()) return not_qmp(line, "an error without a description");
    return QmpMessage(std::move(failure));
  }
  return not_qmp(line, "neither a reply nor an event");
}

std::string format_qmp_command(std::string_view command, const json::object& arguments,
                               std::uint64_t id) {
  json::object message;
  message["execute"] = json::string_view(command.data(), command.size());
  if (!arguments.empty()) message["arguments"] = arguments;
  message["id"] = id;
  return json::serialize(message) + "\n";
}

Result<std::optional<std::string>> QmpLines::next() {
  while (true) {
    std::size_t end = buffer_.find('\n', searched_);
    if (std::min(end, buffer_.size()) > kQmpMaxLine) {
      return make_error(errc::message_size, "the monitor sent a line of more than 1 MiB");
    }
    if (end == std::string::npos) {
      searched_ = buffer_.size();
      return std::nullopt;
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    searched_ = 0;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) return line;
  }
}

}  // namespace homeport::migration
