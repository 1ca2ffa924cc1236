#include "agent/control/interest.h"

#include <string_view>
#include <utility>

namespace homeport::agent {

using overlay::ovsdb::Clause;
using overlay::ovsdb::Conditions;

namespace {

const TaskStatus* status_of(const Contents& contents, const Uuid& task) {
  auto found = contents.task_status.find(task);
  return found == contents.task_status.end() ? nullptr : &found->second;
}

bool is_destination(const Task& task, const std::string& host) {
  auto destination = task.arguments.find("destination");
  return destination != task.arguments.end() && destination->second == host;
}

Clause equal(const char* column, const std::string& value) {
  return {column, "==", boost::json::value(value)};
}

std::vector<Clause> any_of(const char* column, const std::set<std::string>& values) {
  std::vector<Clause> clauses;
  for (const std::string& value : values) clauses.push_back(equal(column, value));
  return clauses;
}

/// Keeps what is there now, and what was until not long ago.
void linger(std::map<std::string, Interest::Clock::time_point>& until, std::set<std::string>& names,
            Interest::Clock::time_point now, std::chrono::seconds duration) {
  for (const std::string& name : names) until[name] = now + duration;
  std::erase_if(until, [&](const auto& item) { return item.second < now; });
  for (const auto& [name, end] : until) names.insert(name);
}

}  // namespace

Concern concern_of(const Contents& contents, const std::string& host,
                   const std::set<std::string>& guests) {
  Concern concern;
  concern.applications = guests;
  for (const Binding* binding : contents.bindings.at_home()) {
    concern.applications.insert(binding->application);
  }
  for (const auto& [uuid, task] : contents.tasks) {
    const TaskStatus* status = status_of(contents, uuid);
    if (status && status->finished) continue;
    concern.open_tasks[task.application].insert(uuid);
    if (is_destination(task, host)) concern.incoming.insert(task.application);
  }
  for (const auto& [uuid, status] : contents.task_status) {
    const bool mine = status.host == host;
    if (mine) concern.tasks_of.insert(status.application);
    if (status.finished) continue;
    if (mine || status.source == host) concern.applications.insert(status.application);
    if (status.destination == host) concern.incoming.insert(status.application);
  }
  concern.applications.insert(concern.incoming.begin(), concern.incoming.end());
  std::erase_if(concern.open_tasks,
                [&](const auto& item) { return !concern.applications.contains(item.first); });
  for (const std::string& application : concern.applications) {
    for (const Binding* binding : contents.bindings_of(application)) {
      concern.networks.insert(binding->network);
    }
  }
  for (const auto& [name, network] : contents.networks) {
    if (!network.host_access) continue;
    concern.networks.insert(name);
    concern.hosts_reached = true;
  }
  return concern;
}

Conditions conditions_of(const Concern& concern, const std::string& host, std::size_t hosts) {
  // Host, Network, Policy and Path_Policy are left out: small, seldom changed, and needed before it
  // is known what for. A peer whose application is to come here has to be let in first.
  Conditions conditions;
  if (!concern.hosts_reached) conditions[Interface::kTable] = {equal("host", host)};
  conditions[Application::kTable] = any_of("name", concern.applications);

  // The server finds out by a look-up whether a row fits, as long as all clauses are `==`.
  auto& bindings = conditions[Binding::kTable];
  bindings = any_of("network", concern.networks);
  bindings.push_back(equal("location", host));
  if (hosts <= kSmallFleet) {
    for (const std::string& application : concern.applications) {
      bindings.push_back(equal("application", application));
    }
    return conditions;
  }
  conditions[HostStatus::kTable] = {equal("host", host)};
  auto& tasks = conditions[Task::kTable];
  std::set<std::string> tasks_of = concern.applications;
  tasks_of.insert(concern.tasks_of.begin(), concern.tasks_of.end());
  tasks = any_of("application", tasks_of);
  tasks.push_back(
      {"arguments", "includes",
       boost::json::array{"map", boost::json::array{boost::json::array{"destination", host}}}});
  // Also what other hosts wrote of these tasks: one that has ended there must not begin anew here.
  auto& status = conditions[TaskStatus::kTable];
  status = any_of("application", tasks_of);
  for (const char* column : {"host", "source", "destination"}) {
    status.push_back(equal(column, host));
  }
  return conditions;
}

Conditions step_of(const Conditions& in_force, Conditions wanted) {
  auto bindings = wanted.find(Binding::kTable);
  if (bindings == wanted.end()) return wanted;
  std::set<std::string_view> networks;
  auto is_network = [](const Clause& clause) { return clause.column == "network"; };
  if (auto now = in_force.find(Binding::kTable); now != in_force.end()) {
    for (const Clause& clause : now->second) {
      if (is_network(clause)) networks.insert(clause.value.as_string());
    }
  }
  std::size_t added = 0;
  std::erase_if(bindings->second, [&](const Clause& clause) {
    return is_network(clause) && !networks.contains(clause.value.as_string()) &&
           ++added > kNetworksAtOnce;
  });
  return wanted;
}

bool may_concern(const Changes& changes, const Contents& contents, const std::string& host,
                 const Concern& before) {
  if (changes.all) return true;
  for (const char* table :
       {Host::kTable, Network::kTable, Task::kTable, TaskStatus::kTable, Application::kTable}) {
    if (changes.tables.contains(table)) return true;
  }
  auto concerns = [&](const Binding& binding) {
    return binding.location == host || before.applications.contains(binding.application);
  };
  for (const auto& [name, was] : changes.bindings) {
    auto is = contents.bindings.find(name);
    if (was && concerns(*was)) return true;
    if (is != contents.bindings.end() && concerns(is->second)) return true;
  }
  return false;
}

Interest::Interest(std::string host, std::chrono::seconds linger, std::set<policy::Vni> carried)
    : host_(std::move(host)), linger_(linger), carried_(std::move(carried)) {}

void Interest::ask(std::size_t hosts) {
  const auto& now = concern_.applications;
  if (hosts > kSmallFleet && !asked_.empty()) {
    std::size_t come = 0, new_here = 0;
    for (const std::string& name : now) {
      if (asked_.contains(name)) continue;
      ++come;
      if (!readings_.contains(name)) ++new_here;
    }
    const std::size_t gone = asked_.size() - (now.size() - come);
    if (come + gone < kManyNames && new_here < kManyAtOnce) return;
  }
  asked_ = now;
}

Readings Interest::readings(const Contents& contents, const Expected& expected,
                            const Conditions& in_force) {
  std::set<std::string_view> monitored;
  if (auto now = in_force.find(Application::kTable); now != in_force.end()) {
    for (const Clause& clause : now->second) monitored.insert(clause.value.as_string());
  }
  std::set<std::string_view> home;
  for (const Binding* binding : contents.bindings.at_home()) home.insert(binding->application);
  std::erase_if(known_, [&](const auto& name) { return !concern_.applications.contains(name); });

  const bool large = contents.hosts.size() > kSmallFleet;
  Readings readings;
  for (const std::string& name : concern_.applications) {
    const bool is_home = home.contains(name);
    if (is_home) known_.insert(name);
    if (large && waiting_.contains(name)) continue;
    const auto found = readings_.find(name);
    const Reading before = found == readings_.end() ? Reading{} : found->second;
    Reading reading;
    // What is asked for already comes; what has been read stays until it has.
    reading.row = !monitored.contains(name) && (before.row || !asked_.contains(name));
    const bool comes =
        concern_.incoming.contains(name) && (expected.contains(name) || before.bindings);
    reading.bindings = !is_home && (large || before.bindings) && (comes || !known_.contains(name));
    if (!reading.row && !reading.bindings) continue;
    if (auto tasks = concern_.open_tasks.find(name); tasks != concern_.open_tasks.end()) {
      reading.tasks = tasks->second;
    }
    if (auto told = expected.find(name); told != expected.end()) reading.at = told->second.rows;
    readings.emplace(name, std::move(reading));
  }
  return readings;
}

Following Interest::follow(const Contents& contents, std::set<std::string> guests,
                           const Expected& expected, const Conditions& in_force,
                           Clock::time_point now) {
  for (const auto& [name, expectation] : expected) guests.insert(name);
  Concern concern = concern_of(contents, host_, guests);
  // Before it lingers: what has been of concern otherwise is at hand.
  for (const std::string& name : concern.incoming) {
    if (!applications_.contains(name)) waiting_.insert(name);
  }
  for (const std::string& name : guests) waiting_.erase(name);
  for (const Binding* binding : contents.bindings.at_home()) waiting_.erase(binding->application);
  for (const auto& [name, network] : contents.networks) {
    if (carried_.erase(network.vni) > 0) concern.networks.insert(name);
  }
  linger(applications_, concern.applications, now, linger_);
  linger(networks_, concern.networks, now, linger_);
  concern_ = std::move(concern);
  std::erase_if(waiting_, [&](const auto& name) { return !concern_.applications.contains(name); });

  Following following;
  following.conditions = conditions_of(concern_, host_, contents.hosts.size());
  ask(contents.hosts.size());
  following.conditions[Application::kTable] = any_of("name", asked_);
  following.readings = readings_ = readings(contents, expected, in_force);
  following.conditions = step_of(in_force, std::move(following.conditions));
  return following;
}

}  // namespace homeport::agent
