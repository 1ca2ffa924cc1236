#include "agent/control/tables.h"

#include <fmt/format.h>
#include <boost/functional/hash.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <boost/uuid/uuid_hash.hpp>

#include <optional>
#include <utility>

namespace homeport::agent {

using overlay::ovsdb::RowChange;

namespace {

/// Records by the UUID of their row, without another copy of it.
struct UuidHash {
  using is_transparent = void;
  std::size_t operator()(const Uuid& uuid) const { return boost::hash<Uuid>{}(uuid); }
  template <class Record>
  std::size_t operator()(const Record* record) const {
    return boost::hash<Uuid>{}(record->uuid);
  }
};
struct UuidEqual {
  using is_transparent = void;
  template <class Record>
  bool operator()(const Record* a, const Record* b) const {
    return a->uuid == b->uuid;
  }
  template <class Record>
  bool operator()(const Uuid& a, const Record* b) const {
    return a == b->uuid;
  }
};

/// What of the row was left out.
template <class Record>
policy::Result<void> problem_in(const Record& record) {
  if constexpr (requires { record.problem; }) {
    if (!record.problem.empty()) {
      return policy::make_error(boost::system::errc::invalid_argument, record.problem);
    }
  }
  return {};
}

}  // namespace

template <class Rows, class Record, class Key>
void Tables::keep(Rows& rows, Key Record::*key) {
  using ByUuid = boost::unordered_flat_set<const Record*, UuidHash, UuidEqual>;
  tables_[Record::kTable] = [this, &rows, key, by_uuid = ByUuid()](
                                const RowChange& change) mutable -> policy::Result<void> {
    auto known = by_uuid.find(change.uuid);
    const Record* before = known == by_uuid.end() ? nullptr : *known;
    std::optional<policy::Result<Record>> record;
    if (change.row) {
      record = parse<Record>(*change.row);
      if (*record) {
        if (auto newer = compare_with_seen(**record, before); !newer) return newer;
      }
    }
    if (before) {
      note(*before, before);
      forget(*before);
      by_uuid.erase(known);
      rows.erase(rows.find(before->*key));
    }
    if (!change.row) seen_.erase(change.uuid);
    if (!record) return {};
    if (!*record) return record->error();
    seen_.erase(change.uuid);
    auto other = rows.find((**record).*key);
    note(**record, other == rows.end() ? nullptr : &other->second);
    if (other != rows.end()) {
      forget(other->second);
      by_uuid.erase(&other->second);
    }
    Key name = (**record).*key;
    auto noted = problem_in(**record);
    rows.insert_or_assign(name, **std::move(record));
    by_uuid.insert(&rows.find(name)->second);
    return noted;
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
  keep(contents_.path_policies, &PathPolicyRow::traffic_class);
  keep(contents_.tasks, &Task::uuid);
  keep(contents_.task_status, &TaskStatus::task);
}

/// A server that lags (a relay, an older copy that was restored) may know less than has been seen
/// here. Bindings do not go back.
policy::Result<void> Tables::compare_with_seen(const Binding& binding, const Binding* known) const {
  auto seen = seen_.find(binding.uuid);
  const policy::Generation highest = known                 ? known->generation
                                     : seen == seen_.end() ? 0
                                                           : seen->second;
  if (binding.generation < highest) {
    return policy::make_error(
        boost::system::errc::protocol_error,
        fmt::format("this server of the control database has generation {} of binding {}, and "
                    "generation {} was seen before, which is kept: it lags, or an older copy was "
                    "restored, and then restart the agent",
                    binding.generation, binding.name, highest));
  }
  return {};
}

namespace {

/// Of bindings, and of applications: beyond that all is looked at.
constexpr std::size_t kMostNamed = 1000;

}  // namespace

void Tables::note(const Application& application, const Application*) {
  if (changes_.all) return;
  if (changes_.applications.size() >= kMostNamed) {
    changes_ = {};
    return;
  }
  changes_.applications.insert(application.name);
}

/// What a binding was before the first of several changes counts.
void Tables::note(const Binding& binding, const Binding* before) {
  if (changes_.all) return;
  if (changes_.bindings.size() >= kMostNamed) {
    changes_ = {};
    return;
  }
  changes_.bindings.try_emplace(binding.name,
                                before ? std::optional<Binding>(*before) : std::nullopt);
}

void Tables::forget_changes() {
  changes_ = {};
  changes_.all = false;
}

const policy::Error* Tables::apply(const RowChange& change) {
  auto table = tables_.find(change.table);
  if (table == tables_.end()) return nullptr;
  if (!changes_.all) changes_.tables.insert(change.table);
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
