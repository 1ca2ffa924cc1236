// Rows of the control database. Input: a JSON array of changes as a session reports them,
//   {"table": "Host", "uuid": "...", "columns": {...}}      without columns: the row is gone
// and what the agent makes of the contents.
#include "agent/control/path_policy.h"
#include "agent/control/tables.h"
#include "agent/control/validate.h"
#include "agent/network/desired_state.h"
#include "policy/text.h"
#include "tests/fuzz/fuzz.h"

#include <boost/json/parse.hpp>

namespace homeport::agent {
namespace {

namespace json = boost::json;
using fuzz::require;

json::object all_columns(const Interface& record) {
  json::object written = columns(record);
  written["cost"] = record.cost;  // the controller's, which an agent does not write
  written["label"] = record.label;
  if (record.allowed) written["allowed"] = *record.allowed;
  if (record.bulk_limit_mbps != 0) written["bulk_limit_mbps"] = record.bulk_limit_mbps;
  return written;
}

template <class Record>
json::object all_columns(const Record& record) {
  return columns(record);
}

template <class Rows>
void check_rows(const Rows& table) {
  for (const auto& [key, row] : table) {
    auto record = row;
    if constexpr (requires { record.problem; }) record.problem.clear();  // that is left out
    auto again = parse<typename Rows::mapped_type>(Row{record.uuid, all_columns(record)});
    require(again.has_value() && *again == record, "a row that is written back says the same");
  }
}

/// As the status snapshot reckons with them: in nanoseconds.
void check(WallTime time) {
  using std::chrono::nanoseconds;
  require(std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()) >= nanoseconds{},
          "a time is a time");
}

void use(const Contents& contents) {
  check_rows(contents.hosts);
  check_rows(contents.host_status);
  check_rows(contents.interfaces);
  check_rows(contents.networks);
  check_rows(contents.bindings);
  check_rows(contents.applications);
  check_rows(contents.policies);
  check_rows(contents.path_policies);
  check_rows(contents.tasks);
  check_rows(contents.task_status);
  for (const auto& [key, problem] : contents.problems) {
    require(problem.message.find(key.first) != std::string::npos, "a problem names the table");
    require(problem.message == policy::printable(problem.message), "a problem can be logged");
  }
  for (const auto& [name, status] : contents.host_status) {
    check(status.started);
    check(status.last_seen);
    is_silent(contents, name, WallTime(std::chrono::hours(500'000)));
  }
  for (const auto& [uuid, status] : contents.task_status) {
    check(status.started);
    if (status.finished) check(*status.finished);
  }
  for (const auto& [name, policy] : contents.policies) {
    if (policy.copy_timeout) check(WallTime(*policy.copy_timeout));
    if (policy.downtime_limit) check(WallTime(*policy.downtime_limit));
  }
  std::size_t found = 0;
  for (const auto& [name, application] : contents.applications) {
    ownership(contents, name);
    found += contents.bindings_of(name).size();
  }
  require(found <= contents.bindings.size(), "a binding is of one application");
  for (const auto& [uuid, task] : contents.tasks) {
    if (!check_task(contents, task)) continue;
    read_move(contents, task.application, "h1", "h2", 1);
  }
  for (const auto& [name, network] : contents.networks) {
    require(network.vni >= 1 && network.vni <= policy::kVniMax, "a VNI is one");
    const std::uint32_t mtu = mtu_of(network, 1430);
    require(mtu >= 576 && mtu <= 1430, "an MTU is one");
  }
  abandoned_status(contents, "h1");
  const policy::PathPolicy paths = path_policy(contents, "h1", "h2");
  require(paths == path_policy(contents, "h2", "h1"), "both hosts are asked for the same");
  for (const policy::TrafficClass each : policy::kTrafficClasses) {
    for (const auto& [label, weight] : paths[each].preferences) {
      require(weight >= 1 && weight <= 1000, "a weight is one");
    }
    require(paths[each].minimum.least_mtu.value_or(576) >= 576, "an MTU is one");
  }

  const auto rules = port_rules(contents);
  for (const policy::PortRule& each : rules) {
    require(each.ports.first >= 1 && each.ports.first <= each.ports.last, "ports are a range");
  }
  require(policy::segments_of(rules).size() >= rules.size(), "every rule decides somewhere");

  LocalView view{"h1", {"eth7"}, 1430, {}};
  for (const auto& [name, binding] : contents.bindings) {
    check_binding(contents, binding);
    require(device_of(contents, binding).empty() || !tap_name(name).empty(), "a tap has a name");
    view.devices.insert(tap_name(name));
  }
  const Desired desired = desired_state(contents, view);
  require(desired_state(contents, view).state == desired.state, "the same gives the same");
  require(desired.state.ports.size() <= contents.bindings.size(), "a port has a binding");
}

}  // namespace
}  // namespace homeport::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace homeport;
  using namespace homeport::agent;
  boost::system::error_code error;
  auto changes = json::parse(fuzz::as_text(data, size), error);
  if (error || !changes.is_array()) return 0;
  Tables tables;
  for (const json::value& item : changes.get_array()) {
    const json::object* change = item.if_object();
    const json::value* table = change ? change->if_contains("table") : nullptr;
    const json::value* uuid = change ? change->if_contains("uuid") : nullptr;
    const json::value* columns = change ? change->if_contains("columns") : nullptr;
    if (!table || !table->is_string() || !uuid || !uuid->is_string()) continue;
    overlay::ovsdb::RowChange row;
    row.table = table->get_string();
    row.uuid = parse_uuid(uuid->get_string()).value_or(Uuid{});
    if (columns && columns->is_object()) row.row = Row{row.uuid, columns->get_object()};
    tables.apply(row);
  }
  use(tables.contents());
  return 0;
}
