#include "agent/cli/task_view.h"

#include "agent/cli/lookup.h"
#include "agent/status/json.h"
#include "agent/task_snapshot.h"

#include <boost/json/value.hpp>

namespace homeport::agent {
TaskSnapshot view_task(const Contents& contents, const Task& task) {
  const TaskStatus* status = status_of(contents, task.uuid);
  TaskSnapshot view;
  if (status) {
    view = to_snapshot(*status);
  } else {
    view.state = task.cancel ? "cancelled" : "requested";
    view.source = ownership(contents, task.application).location;
  }
  view.id = to_string(task.uuid);
  view.kind = to_string(task.kind);
  view.application = task.application;
  auto to = task.arguments.find("destination");
  if (view.destination.empty() && to != task.arguments.end()) view.destination = to->second;
  return view;
}

boost::json::object task_to_json(const Contents& contents, const Task& task) {
  boost::json::object json = to_json(view_task(contents, task));
  json["priority"] = task.priority;
  json["requested_by"] = task.requested_by;
  json["requested_at"] = to_rfc3339(task.requested_at);
  json["cancel"] = task.cancel;
  json["resolution"] = nullptr;
  if (task.resolution) json["resolution"] = to_string(*task.resolution);
  boost::json::object figures;
  if (const TaskStatus* status = status_of(contents, task.uuid)) {
    for (const auto& [name, value] : status->figures) figures[name] = value;
  }
  json["figures"] = std::move(figures);
  return json;
}

ExitCode exit_code_of(const TaskSnapshot& task) {
  if (task.state == "succeeded") return kExitDone;
  return task.state == "in-doubt" ? kExitInDoubt : kExitFailed;
}

bool has_ended(const TaskSnapshot& task) {
  return task.state != "requested" && task.state != "running";
}

}  // namespace homeport::agent
