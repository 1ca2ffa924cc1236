#include "agent/control/database.h"

#include <functional>

namespace homeport::agent {

Ownership ownership(const Contents& contents, std::string_view application) {
  auto bindings = contents.bindings_of(application);
  if (!contents.applications.contains(std::string(application)) || bindings.empty()) return {};
  Ownership result{Ownership::Kind::owned, bindings.front()->location,
                   bindings.front()->generation};
  for (const auto* binding : bindings) {
    if (binding->location != result.location || binding->generation != result.generation) {
      result.kind = Ownership::Kind::inconsistent;
      return result;
    }
  }
  if (result.location.empty()) result.kind = Ownership::Kind::nowhere;
  return result;
}

bool is_silent(const Contents& contents, const std::string& host, const SignsOfLife& signs) {
  if (signs.heard.contains(host)) return false;
  auto status = contents.host_status.find(host);
  return status == contents.host_status.end() ||
         signs.now - status->second.last_seen > alive_within(contents.hosts.size());
}

std::chrono::milliseconds beat_interval(std::size_t hosts) {
  using namespace std::chrono_literals;
  return std::max<std::chrono::milliseconds>(10s, hosts * 40ms);
}

std::chrono::milliseconds alive_within(std::size_t hosts) {
  return 4 * beat_interval(hosts);
}

std::chrono::milliseconds until_next_beat(WallTime now, std::string_view host,
                                          std::chrono::milliseconds interval) {
  const auto beat = static_cast<int>(std::hash<std::string_view>{}(host) % kBeats);
  const auto since = (now.time_since_epoch() - beat * interval / kBeats) % interval;
  const auto left = interval - since;
  // One that was woken a little early has just given it.
  return left < interval / kBeats ? left + interval : left;
}

std::vector<Endpoint> control_endpoints(const Contents& contents, const std::string& host) {
  auto row = contents.hosts.find(host);
  return row == contents.hosts.end() ? std::vector<Endpoint>{} : row->second.control_endpoints;
}

bool told_ready(const Contents& contents, const std::string& host) {
  auto status = contents.host_status.find(host);
  return status != contents.host_status.end() && status->second.state == HostState::ready;
}

std::vector<const TaskStatus*> abandoned_status(const Contents& contents, std::string_view host) {
  std::vector<const TaskStatus*> abandoned;
  for (const auto& [task, status] : contents.task_status) {
    if (status.host == host && status.finished && !contents.tasks.contains(task)) {
      abandoned.push_back(&status);
    }
  }
  return abandoned;
}

MoveTruth read_move(const Contents& contents, std::string_view application, std::string_view from,
                    std::string_view to, policy::Generation generation) {
  auto now = ownership(contents, application);
  if (now.kind == Ownership::Kind::owned) {
    if (now.generation == generation && now.location == from) return MoveTruth::untouched;
    if (now.generation == generation + 1 && now.location == to) return MoveTruth::moved;
    if (now.generation == generation + 1 && now.location == from) return MoveTruth::rolled_back;
  }
  return MoveTruth::superseded;
}

}  // namespace homeport::agent
