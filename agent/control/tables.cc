#include "agent/control/tables.h"

#include <fmt/format.h>

#include <utility>

namespace homeport::agent {

using overlay::ovsdb::RowChange;

template <class Rows, class Record, class Key>
void Tables::keep(Rows& rows, Key Record::*key) {
  tables_[Record::kTable] = [&rows, key, keys = std::map<Uuid, Key>()](
                                const RowChange& change) mutable -> policy::Result<void> {
    if (auto known = keys.find(change.uuid); known != keys.end()) {
      auto row = rows.find(known->second);
      if (row != rows.end() && row->second.uuid == change.uuid) rows.erase(row);
      keys.erase(known);
    }
    if (!change.row) return {};
    auto record = parse<Record>(*change.row);
    if (!record) return record.error();
    Key name = (*record).*key;
    keys.emplace(change.uuid, name);
    rows.insert_or_assign(std::move(name), *std::move(record));
    return {};
  };
}

Tables::Tables() {
  keep(contents_.hosts, &Host::name);
  keep(contents_.host_status, &HostStatus::host);
  keep(contents_.interfaces, &Interface::uuid);
  keep(contents_.networks, &Network::name);
  keep(contents_.bindings, &Binding::name);
  keep(contents_.applications, &Application::name);
  keep(contents_.policies, &Policy::name);
  keep(contents_.tasks, &Task::uuid);
  keep(contents_.task_status, &TaskStatus::task);
  keep_highest_generation();
}

/// A server that lags (a relay, an older copy that was restored) may know less than has been seen
/// here. Bindings do not go back.
void Tables::keep_highest_generation() {
  tables_[Binding::kTable] = [apply = std::move(tables_[Binding::kTable]),
                              seen = std::map<Uuid, policy::Generation>()](
                                 const RowChange& change) mutable -> policy::Result<void> {
    if (!change.row) {
      seen.erase(change.uuid);
      return apply(change);
    }
    auto binding = parse<Binding>(*change.row);
    if (!binding) return apply(change);
    auto& highest = seen[change.uuid];
    if (binding->generation < highest) {
      return policy::make_error(
          boost::system::errc::protocol_error,
          fmt::format("this server of the control database has generation {} of binding {}, and "
                      "generation {} was seen before, which is kept: it lags, or an older copy was "
                      "restored, and then restart the agent",
                      binding->generation, binding->name, highest));
    }
    highest = binding->generation;
    return apply(change);
  };
}

const policy::Error* Tables::apply(const RowChange& change) {
  auto table = tables_.find(change.table);
  if (table == tables_.end()) return nullptr;
  auto applied = table->second(change);
  std::pair key(change.table, change.uuid);
  if (applied) {
    contents_.problems.erase(key);
    return nullptr;
  }
  auto [problem, is_new] = contents_.problems.try_emplace(key, applied.error());
  bool same = !is_new && problem->second.message == applied.error().message;
  problem->second = applied.error();
  return same ? nullptr : &problem->second;
}

std::vector<std::string> Tables::names() const {
  std::vector<std::string> names;
  for (const auto& [name, apply] : tables_) names.push_back(name);
  return names;
}

}  // namespace homeport::agent
