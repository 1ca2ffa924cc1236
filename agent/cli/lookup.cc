#include "agent/cli/lookup.h"

#include "agent/cli/output.h"

#include <fmt/format.h>

namespace homeport::agent {
namespace {

using boost::system::errc::errc_t;
using policy::Result;

}  // namespace

policy::Error unknown_name_error(std::string_view what, std::string_view name,
                                 const std::vector<std::string>& known) {
  return policy::make_error(errc_t::no_such_file_or_directory, unknown_name(what, name, known));
}

Result<Uuid> find_task(const Contents& contents, std::string_view text) {
  std::vector<Uuid> matches;
  std::vector<std::string> known;
  for (const auto& [uuid, task] : contents.tasks) {
    known.push_back(to_string(uuid).substr(0, 8));
    if (!text.empty() && to_string(uuid).starts_with(text)) matches.push_back(uuid);
  }
  if (matches.size() == 1) return matches.front();
  if (matches.empty()) return unknown_name_error("task", text, known);
  return policy::make_error(
      errc_t::invalid_argument,
      fmt::format("{} tasks begin with \"{}\"; give more digits.", matches.size(), text));
}

const TaskStatus* status_of(const Contents& contents, const Uuid& task) {
  auto found = contents.task_status.find(task);
  return found == contents.task_status.end() ? nullptr : &found->second;
}

bool is_open(const Contents& contents, const Task& task) {
  const TaskStatus* status = status_of(contents, task.uuid);
  if (!status) return !task.cancel;
  return status->state == TaskState::running || status->state == TaskState::in_doubt;
}

const TaskStatus* last_success(const Contents& contents, std::string_view application) {
  const TaskStatus* last = nullptr;
  for (const auto& [uuid, status] : contents.task_status) {
    if (status.application != application || status.state != TaskState::succeeded) continue;
    if (!last || status.finished > last->finished) last = &status;
  }
  return last;
}

bool last_seen_running(const Contents& contents, std::string_view application) {
  const TaskStatus* last = last_success(contents, application);
  return last && last->kind != TaskKind::stop;
}

const Task* open_task_of(const Contents& contents, std::string_view application) {
  for (const auto& [uuid, task] : contents.tasks) {
    if (task.application == application && is_open(contents, task)) return &task;
  }
  return nullptr;
}

bool is_doubtful(const Contents& contents, const Task& task, const SignsOfLife& signs) {
  const TaskStatus* status = status_of(contents, task.uuid);
  if (!status || task.kind != TaskKind::move) return false;
  return status->state == TaskState::in_doubt ||
         (status->state == TaskState::running && is_silent(contents, status->host, signs));
}

Result<void> check_host_usable(const Contents& contents, const std::string& host,
                               const SignsOfLife& signs) {
  auto known = find_named(contents.hosts, "host", host);
  if (!known) return known.error();
  auto status = contents.host_status.find(host);
  auto refused = [&](std::string_view why) {
    return policy::make_error(errc_t::host_unreachable, fmt::format("Host {} {}", host, why));
  };
  if (status == contents.host_status.end()) {
    return refused("has never reported its state; start homeportd there.");
  }
  if (is_silent(contents, host, signs)) {
    auto age = std::chrono::round<std::chrono::milliseconds>(signs.now - status->second.last_seen);
    return refused(
        fmt::format("has not been heard of for {}; check homeportd there.", format_duration(age)));
  }
  if (status->second.state != HostState::ready) {
    return refused(fmt::format("is {}, not ready; try again when `homeport status` there says so.",
                               to_string(status->second.state)));
  }
  return {};
}

}  // namespace homeport::agent
