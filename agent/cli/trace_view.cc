#include "agent/cli/trace_view.h"

#include "agent/cli/output.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <exception>
#include <vector>

namespace homeport::agent {
namespace {

namespace json = boost::json;

std::string text(const json::value& value) {
  return value.is_null() ? std::string() : for_terminal(value.as_string());
}

std::uint64_t count_of(const json::value& counts, const std::string& name) {
  const json::value* count = name.empty() ? nullptr : counts.as_object().if_contains(name);
  return count ? count->to_number<std::uint64_t>() : 0;
}

std::string last_counter(const json::value& part) {
  const json::array& counters = part.at("counters").as_array();
  return counters.empty() ? std::string() : text(counters.back());
}

/// What a packet that ends like this is counted as.
std::string counted_as(const json::value& part) {
  const std::string end = text(part.at("end"));
  if (end == "stack") return "delivered";
  if (end == "dropped" || end == "answered") return last_counter(part);
  return end;
}

std::string copies(const json::value& part) {
  std::vector<std::string> names;
  for (const json::value& copy : part.at("copies").as_array()) {
    names.push_back(text(copy.at("device")) + text(copy.at("host")));
  }
  return names.empty() ? "nobody" : join(names, ", ");
}

/// "delivers it to tap1".
std::string what_it_does(const json::value& part) {
  const std::string end = text(part.at("end"));
  const std::string counter = last_counter(part);
  if (end == "delivered") return "delivers it to " + copies(part);
  if (end == "sent") {
    const bool marked = part.at("copies").at(0).at("marked").as_bool();
    return fmt::format("sends it {}to {}", marked ? "on, marked, " : "", copies(part));
  }
  if (end == "copied") return "copies it to " + copies(part);
  if (end == "stack") return "takes it itself";
  if (end == "normal") return "lets it go its normal way, outside of the virtual network";
  if (end == "answered") {
    return counter.empty() ? "does not send it: the process that would is told so"
                           : fmt::format("answers it itself ({})", counter);
  }
  return counter.empty() ? "does not carry it" : fmt::format("drops it ({})", counter);
}

/// What was counted besides what the trace says.
std::string others(const json::value& host) {
  const json::value& counts = host.at("counts");
  const std::string expected = counted_as(host);
  std::vector<std::string> told;
  for (const auto& [key, count] : counts.as_object()) {
    const std::string name(key);
    bool known = name == "packets" || name == expected;
    for (const json::value& counter : host.at("counters").as_array()) {
      known = known || counter.as_string() == name;
    }
    if (known) continue;
    told.push_back(fmt::format("{} {}", for_terminal(name), count.to_number<std::uint64_t>()));
  }
  return join(told, ", ");
}

void add_steps(const json::value& host, bool counted, Table& table) {
  bool first = true;
  for (const json::value& step : host.at("steps").as_array()) {
    std::vector<std::string> row{text(host.at("host")), text(step.at("step")),
                                 text(step.at("entry")), text(step.at("found"))};
    if (counted) {
      const json::value& counts = host.at("counts");
      // The first entry sees them all; those behind it, the ones that went this way. Neighbors are
      // asked for by other packets.
      const bool unseen = counts.is_null() || step.at("step").as_string() == "neighbor";
      row.push_back(unseen
                        ? std::string()
                        : std::to_string(count_of(counts, first ? "packets" : counted_as(host))));
    }
    table.add(std::move(row));
    first = false;
  }
}

std::string conclusion(const json::value& host) {
  const std::string name = text(host.at("host"));
  if (!host.at("problem").is_null()) return text(host.at("problem")) + "\n";
  std::string page = fmt::format("{} {}.\n", name, what_it_does(host));
  if (const json::value& left = host.at("left"); !left.is_null()) {
    page += fmt::format(
        "  Somebody has changed the tables of {}: as its agent has left them, it {}. The agent "
        "mends "
        "them within 5 s.\n",
        name, what_it_does(left));
  }
  if (!host.at("counts").is_null()) {
    const std::string more = others(host);
    if (!more.empty()) page += fmt::format("  Also counted there: {}.\n", more);
  }
  if (host.at("counts_anew").as_bool()) {
    page += fmt::format(
        "  The counts of {} have begun anew meanwhile: its agent was restarted or out of reach, or "
        "packets went another way.\n",
        name);
  }
  if (!host.at("counting_problem").is_null()) {
    page += fmt::format("  {}\n", text(host.at("counting_problem")));
  }
  if (const auto left_out = host.at("left_out").to_number<std::uint64_t>(); left_out > 0) {
    page += fmt::format("  {} more of the group left out.\n", left_out);
  }
  return page;
}

/// " from port 40000 to port 22"
std::string ports_of(const json::value& trace) {
  std::string ports;
  for (const auto& [name, words] : {std::pair("source_port", "from"), std::pair("port", "to")}) {
    const json::value* port = trace.as_object().if_contains(name);
    if (!port || port->is_null()) continue;
    ports += fmt::format(" {} port {}", words, port->to_number<std::uint16_t>());
  }
  return ports;
}

std::string page_of(const std::string& from, const json::value& trace) {
  std::string page = fmt::format("{} -> {}, {}{}, {} bytes\n\n", for_terminal(from),
                                 text(trace.at("to")), text(trace.at("protocol")), ports_of(trace),
                                 trace.at("length_bytes").to_number<std::uint64_t>());
  bool counted = false;
  for (const json::value& host : trace.at("hosts").as_array()) {
    counted = counted || !host.at("counts").is_null();
  }
  std::vector<Table::Column> columns{{"HOST"}, {"STEP"}, {"ENTRY"}, {"FOUND"}};
  if (counted) columns.push_back({"PACKETS", true});
  Table table(std::move(columns));
  std::string conclusions;
  for (const json::value& host : trace.at("hosts").as_array()) {
    add_steps(host, counted, table);
    conclusions += conclusion(host);
  }
  return page + table.to_string() + "\n" + conclusions;
}

}  // namespace

policy::Result<std::string> trace_page(const std::string& from, const json::value& trace) {
  try {
    return page_of(from, trace);
  } catch (const std::exception& error) {
    return policy::make_error(
        boost::system::errc::protocol_error,
        fmt::format("The agent's trace is not what this version expects ({}); use `homeport` and "
                    "`homeportd` of one version, or --json.",
                    error.what()));
  }
}

bool is_whole(const json::value& trace) {
  const json::value* hosts = trace.is_object() ? trace.as_object().if_contains("hosts") : nullptr;
  if (!hosts || !hosts->is_array()) return false;
  for (const json::value& host : hosts->as_array()) {
    const json::value* problem =
        host.is_object() ? host.as_object().if_contains("problem") : nullptr;
    if (!problem || !problem->is_null()) return false;
  }
  return true;
}

}  // namespace homeport::agent
