// Finding what a command names in the contents of the control database. Pure.
#pragma once

#include "agent/control/database.h"
#include "policy/error.h"

#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

/// The row of `map` under `name`, or an error that lists near and known names. `what` is the
/// thing's name for a person: "application".
template <class Map>
policy::Result<const typename Map::mapped_type*> find_named(const Map& map, std::string_view what,
                                                            const std::string& name);
policy::Error unknown_name_error(std::string_view what, std::string_view name,
                                 const std::vector<std::string>& known);

/// The task whose UUID begins with `text`; an error when none or several do.
policy::Result<Uuid> find_task(const Contents& contents, std::string_view text);

/// The status of a task, or nullptr while no host has taken it up.
const TaskStatus* status_of(const Contents& contents, const Uuid& task);

/// Whether a task still has work to do or a decision to wait for.
bool is_open(const Contents& contents, const Task& task);

/// The last task of an application that succeeded, or nullptr: it tells whether the application
/// runs.
const TaskStatus* last_success(const Contents& contents, std::string_view application);

/// Whether that task leaves it running. One that has none was never started.
bool last_seen_running(const Contents& contents, std::string_view application);

/// The open task of an application, or nullptr.
const Task* open_task_of(const Contents& contents, std::string_view application);

/// Whether a person may decide about a task: it is in doubt, or who executes it is silent.
bool is_doubtful(const Contents& contents, const Task& task, const SignsOfLife& signs);

/// Why `host` cannot take part in a task now: unknown, not heard of lately, starting, draining.
policy::Result<void> check_host_usable(const Contents& contents, const std::string& host,
                                       const SignsOfLife& signs);

template <class Map>
policy::Result<const typename Map::mapped_type*> find_named(const Map& map, std::string_view what,
                                                            const std::string& name) {
  if (auto found = map.find(name); found != map.end()) return &found->second;
  std::vector<std::string> known;
  for (const auto& [key, row] : map) known.push_back(key);
  return unknown_name_error(what, name, known);
}

}  // namespace homeport::agent
