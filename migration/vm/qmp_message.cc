#include "migration/vm/qmp_message.h"

#include "migration/vm/json_access.h"
#include "policy/text.h"

#include <fmt/format.h>

#include <algorithm>

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

QmpEvent parse_event(const json::object& message) {
  QmpEvent event;
  event.name = text_at(message, "event");
  if (const json::object* data = object_at(message, "data")) event.data = *data;
  return event;
}

}  // namespace

Result<QmpMessage> parse_qmp_message(std::string_view line) {
  json::error_code problem;
  json::value value = json::parse(json::string_view(line.data(), line.size()), problem);
  if (problem) return not_qmp(line, problem.message());
  json::object* message = value.if_object();
  if (!message) return not_qmp(line, "not an object");

  if (object_at(*message, "QMP")) return QmpMessage(QmpGreeting{});
  if (message->contains("event")) {
    QmpEvent event = parse_event(*message);
    if (event.name.empty()) return not_qmp(line, "an event without a name");
    return QmpMessage(std::move(event));
  }
  if (json::value* returned = message->if_contains("return")) {
    return QmpMessage(QmpReturn{number_at(*message, "id"), std::move(*returned)});
  }
  if (const json::object* error = object_at(*message, "error")) {
    QmpFailure failure{number_at(*message, "id"), text_at(*error, "desc")};
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
