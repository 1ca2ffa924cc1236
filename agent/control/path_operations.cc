// The operations of ControlDatabase by which a controller says which paths it wants.
#include "agent/control/database_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace homeport::agent {

namespace asio = boost::asio;
namespace json = boost::json;
using Planned = policy::Result<std::optional<Transaction>>;

namespace {

bool asks_for_nothing(PathPolicyRow row) {
  const PathPolicyRow empty{.uuid = row.uuid, .traffic_class = row.traffic_class};
  row.problem.clear();
  return row == empty;
}

/// Somebody else may be writing to the same row.
void expect_unchanged(const PathPolicyRow& known, const json::object& written,
                      Transaction& transaction) {
  if (!known.problem.empty()) return;  // What was left out is not known here.
  const json::object before = columns(known);
  for (const auto& [column, value] : written) {
    transaction.expectations.push_back(
        {PathPolicyRow::kTable, known.uuid, column, before.at(column)});
  }
}

void plan_change(const PathPolicyRow* known, const PathPolicyRow& wanted, Transaction& all) {
  if (asks_for_nothing(wanted)) {
    if (!known) return;
    expect_unchanged(*known, columns(*known), all);
    all.deletes.push_back({PathPolicyRow::kTable, known->uuid});
    return;
  }
  auto one = upsert(known, wanted, {});
  if (!one) return;
  for (const auto& update : one->updates) expect_unchanged(*known, update.columns, all);
  std::ranges::move(one->inserts, std::back_inserter(all.inserts));
  std::ranges::move(one->updates, std::back_inserter(all.updates));
}

/// None where that says the same: a row of which a controller says nothing goes with its address.
template <class T>
json::value unless(const T& value, const T& otherwise) {
  json::array atoms;
  if (value != otherwise) atoms.push_back(json::value(value));
  return json::array{"set", std::move(atoms)};
}

}  // namespace

asio::awaitable<policy::Result<void>> ControlDatabase::change_path_policies(
    std::vector<policy::TrafficClass> classes, std::function<void(PathPolicyRow&)> change) {
  return impl_->until_done([classes = std::move(classes),
                            change = std::move(change)](const Contents& contents) -> Planned {
    Transaction all;
    all.comment = "path policy";
    for (const policy::TrafficClass each : classes) {
      const PathPolicyRow* known = find_row(contents.path_policies, each);
      PathPolicyRow wanted = known ? *known : PathPolicyRow{.traffic_class = each};
      change(wanted);
      plan_change(known, wanted, all);
    }
    if (all.inserts.empty() && all.updates.empty() && all.deletes.empty()) {
      return std::optional<Transaction>();
    }
    return std::optional(std::move(all));
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::say_of_interface(std::string host,
                                                                        std::string name,
                                                                        InterfaceSay say) {
  return impl_->until_done([host = std::move(host), name = std::move(name),
                            say = std::move(say)](const Contents& contents) -> Planned {
    Transaction all;
    all.comment = fmt::format("interface {} of {}", name, host);
    bool found = false;
    for (const auto& [uuid, row] : contents.interfaces) {
      if (row.host != host || row.name != name) continue;
      found = true;
      json::object values;
      if (say.cost && *say.cost != row.cost) {
        values["cost"] = unless<std::int64_t>(*say.cost, 0);
      }
      if (say.label && (*say.label != row.label || !row.problem.empty())) {
        values["label"] = unless<std::string>(*say.label, "");
      }
      if (say.allowed && *say.allowed != row.allowed) {
        json::array atoms;
        if (*say.allowed) atoms.emplace_back(**say.allowed);
        values["allowed"] = json::array{"set", std::move(atoms)};
      }
      if (say.bulk_limit_mbps && *say.bulk_limit_mbps != row.bulk_limit_mbps) {
        values["bulk_limit_mbps"] = unless<std::int64_t>(*say.bulk_limit_mbps, 0);
      }
      if (!values.empty()) all.updates.push_back({Interface::kTable, uuid, std::move(values)});
    }
    if (!found) {
      return policy::make_error(
          boost::system::errc::no_such_file_or_directory,
          fmt::format("there is no interface {} of host {} in the control database", name, host));
    }
    if (all.updates.empty()) return std::optional<Transaction>();
    return std::optional(std::move(all));
  });
}

}  // namespace homeport::agent
