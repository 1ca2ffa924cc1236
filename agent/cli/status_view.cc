#include "agent/cli/status_view.h"

#include "agent/cli/output.h"

#include <fmt/format.h>
#include <boost/json.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace homeport::agent {
namespace {

namespace json = boost::json;

/// Text fit for a terminal, number or truth; nothing for null.
std::string text(const json::value& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return for_terminal(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "yes" : "no";
  return json::serialize(value);
}

std::string list(const json::value& value) {
  std::vector<std::string> texts;
  for (const json::value& item : value.as_array()) texts.push_back(text(item));
  return join(texts, ", ");
}

std::chrono::milliseconds seconds(const json::value& value) {
  return std::chrono::seconds(value.to_number<std::int64_t>());
}

std::string applications(const json::value& status) {
  Table table({{"APPLICATION"}, {"LOCATION"}, {"GENERATION", true}, {"STATE"}, {"ADDRESSES"}});
  for (const json::value& app : status.at("applications").as_array()) {
    std::vector<std::string> addresses;
    for (const json::value& port : app.at("ports").as_array()) {
      addresses.push_back(list(port.at("prior_addresses")));
    }
    table.add({text(app.at("name")), text(app.at("location")), text(app.at("generation")),
               text(app.at("state")), join(addresses, ", ")});
  }
  return table.to_string();
}

constexpr std::size_t kEndedShown = 5;

/// Those that have not ended, and the last to begin of the others; `homeport task list` has all.
std::vector<const json::value*> tasks_of_interest(const json::value& status) {
  std::vector<const json::value*> open, ended;
  for (const json::value& task : status.at("tasks").as_array()) {
    (task.at("finished").is_null() ? open : ended).push_back(&task);
  }
  // Times are in RFC 3339 and UTC, so that text is in the order of time.
  std::sort(ended.begin(), ended.end(), [](const json::value* a, const json::value* b) {
    return text(a->at("started")) > text(b->at("started"));
  });
  ended.resize(std::min(ended.size(), kEndedShown));
  open.insert(open.end(), ended.begin(), ended.end());
  return open;
}

std::string tasks(const json::value& status) {
  Table table({{"TASK"}, {"KIND"}, {"APPLICATION"}, {"STATE"}, {"PHASE"}, {"SENT", true}});
  for (const json::value* task : tasks_of_interest(status)) {
    table.add({text(task->at("id")), text(task->at("kind")), text(task->at("application")),
               text(task->at("state")), text(task->at("phase")),
               format_bytes(task->at("bytes_sent").to_number<std::uint64_t>())});
  }
  return table.to_string();
}

std::string peers(const json::value& status) {
  Table table({{"PEER"}, {"ALIVE"}, {"TUNNEL ADDRESSES"}});
  for (const json::value& peer : status.at("peers").as_array()) {
    table.add({text(peer.at("host")), text(peer.at("alive")), list(peer.at("vteps"))});
  }
  return table.to_string();
}

std::string page(const json::value& status) {
  std::string result = fmt::format(
      "Host {}, homeportd {}, up {}, {}\nControl database {}: {}\n", text(status.at("host")),
      text(status.at("version")), format_duration(seconds(status.at("uptime_seconds"))),
      status.at("ready").as_bool() ? "ready" : "not ready",
      text(status.at("database").at("remote")), text(status.at("database").at("state")));
  for (const json::value& reason : status.at("not_ready").as_array()) {
    result += "  not ready: " + text(reason) + "\n";
  }
  for (const json::value& problem : status.at("datapath").at("problems").as_array()) {
    result += "  problem: " + text(problem) + "\n";
  }
  if (!status.at("peers").as_array().empty()) result += "\n" + peers(status);
  if (!status.at("applications").as_array().empty()) result += "\n" + applications(status);
  if (!status.at("tasks").as_array().empty()) result += "\n" + tasks(status);
  return result;
}

}  // namespace

policy::Result<std::string> status_page(const json::value& status) {
  // Boost.JSON's checked accessors report a missing or different member by an exception.
  try {
    return page(status);
  } catch (const std::exception& error) {
    return policy::make_error(
        boost::system::errc::protocol_error,
        fmt::format("The agent's status is not what this version expects ({}); use `homeport` and "
                    "`homeportd` of one version, or --json.",
                    error.what()));
  }
}

}  // namespace homeport::agent
