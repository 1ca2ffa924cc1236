#include "agent/tasks/admission.h"

#include "agent/network/desired_state.h"
#include "agent/network/ports.h"
#include "agent/tasks/needs.h"
#include "overlay/pause.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using migration::PortSpec;
using policy::Result;

namespace {

/// How long a destination's copy of the database may lag behind the source's, and reading the rest
/// of a network may take.
constexpr auto kAdmissionPatience = 5s;

policy::Error refuse(std::string message) {
  return policy::make_error(errc::permission_denied, std::move(message));
}

policy::Error not_yet(std::string message) {
  return policy::make_error(errc::resource_unavailable_try_again, std::move(message));
}

/// A machine must be made here as it is there; what only moves its ports is here already.
Result<void> check_description(const Application& application, const migration::Prepare& request,
                               const std::string& source) {
  auto needs = needs_of(application);
  if (!needs) return needs.error();
  const bool same =
      application.driver == Driver::netdev
          ? request.ports_only()
          : !request.ports_only() && application.launch_profile == request.launch_profile() &&
                needs->memory_mib == request.memory_mib() && needs->vcpus == request.vcpus();
  if (same) return {};
  return refuse(
      fmt::format("{} describes {} otherwise than the control database: driver, launch "
                  "profile, memory or processors differ",
                  source, application.name));
}

/// Whether the two hosts' tunnels lead to each other.
Result<void> check_underlay(const Contents& contents, const std::string& host,
                            const std::string& source) {
  auto here = contents.hosts.find(host);
  auto there = contents.hosts.find(source);
  if (here == contents.hosts.end() || there == contents.hosts.end()) return {};  // not for here
  const auto& vteps = here->second.vteps;
  if (vteps.empty() || vtep_towards(there->second, vteps.front())) return {};
  return refuse(fmt::format(
      "the VTEPs of {} and {} are of different families, so that they do not reach each "
      "other: configure VTEPs of one family",
      host, source));
}

/// The application of this host whose port would be taken; empty if there is none.
std::string who_has(const Contents& contents, const std::string& host, const std::string& name,
                    const std::vector<PortSpec>& ports) {
  for (const auto& [binding_name, binding] : contents.bindings) {
    if (binding.application == name || binding.location != host) continue;
    const std::string device = device_of(contents, binding);
    if (std::ranges::any_of(ports, [&](const PortSpec& port) { return port.device == device; })) {
      return binding.application;
    }
  }
  return {};
}

}  // namespace

Result<void> check_task_of(const Contents& contents, const std::string& host,
                           const migration::Prepare& request) {
  const std::string& name = request.application();
  const auto id = parse_uuid(request.move_id());
  auto task = id ? contents.tasks.find(*id) : contents.tasks.end();
  if (task == contents.tasks.end() || task->second.kind != TaskKind::move ||
      task->second.application != name) {
    return not_yet(fmt::format("no task in the control database asks for move {} of {}",
                               request.move_id(), name));
  }
  auto destination = task->second.arguments.find("destination");
  if (destination == task->second.arguments.end() || destination->second != host) {
    return refuse(fmt::format("task {} does not move {} to {}", request.move_id(), name, host));
  }
  return {};
}

KnownRows rows_of(const migration::Prepare& request) {
  KnownRows rows;
  rows.application = parse_uuid(request.application_row());
  for (const std::string& text : request.binding_rows()) {
    // As many as it has ports: those are checked one by one.
    if (rows.bindings.size() >= static_cast<std::size_t>(request.ports_size())) break;
    if (auto row = parse_uuid(text)) rows.bindings.push_back(*row);
  }
  return rows;
}

namespace {

/// admit(), of what a task asks for.
Result<std::vector<PortSpec>> admit_asked(const Contents& contents, const std::string& host,
                                          std::uint32_t mtu_limit, const std::string& source,
                                          const migration::Prepare& request) {
  const std::string& name = request.application();
  auto application = contents.applications.find(name);
  if (application == contents.applications.end()) {
    return not_yet(
        fmt::format("{} knows no application \"{}\" in the control database", host, name));
  }
  const Ownership owner = ownership(contents, name);
  if (owner.kind != Ownership::Kind::owned || owner.location != source ||
      owner.generation != request.generation()) {
    return not_yet(
        fmt::format("{} is at \"{}\" by generation {} in the control database, not at {} "
                    "by generation {}",
                    name, owner.location, owner.generation, source, request.generation()));
  }
  if (auto reached = check_underlay(contents, host, source); !reached) return reached.error();
  if (auto same = check_description(application->second, request, source); !same) {
    return same.error();
  }

  auto ports = ports_of(contents, name, mtu_limit);
  if (!ports) return not_yet(ports.error().message);
  const bool same =
      static_cast<std::size_t>(request.ports_size()) == ports->size() &&
      std::all_of(ports->begin(), ports->end(), [&](const PortSpec& port) {
        return std::any_of(request.ports().begin(), request.ports().end(), [&](const auto& asked) {
          return asked.binding() == port.binding && asked.vni() == port.vni &&
                 asked.mac().size() == port.mac.bytes.size() &&
                 std::equal(port.mac.bytes.begin(), port.mac.bytes.end(), asked.mac().begin(),
                            [](std::uint8_t mine, char theirs) {
                              return mine == static_cast<std::uint8_t>(theirs);
                            });
        });
      });
  if (!same) {
    return refuse(fmt::format("{} describes the ports of {} otherwise than the control database",
                              source, name));
  }
  if (const std::string other = who_has(contents, host, name, *ports); !other.empty()) {
    return refuse(fmt::format("{}, the network device of {}, is that of {} on {}: name another one",
                              ports->front().device, name, other, host));
  }
  // The guest keeps the MTU it was started with.
  for (PortSpec& port : *ports) {
    for (const auto& asked : request.ports()) {
      if (asked.binding() == port.binding) port.mtu = std::clamp(asked.mtu(), 576u, 65521u);
    }
  }
  return ports;
}

/// One look of admit_when_known().
Result<std::vector<PortSpec>> admit_now(ControlDatabase& database, const std::string& host,
                                        std::uint32_t mtu_limit, const std::string& source,
                                        const migration::Prepare& request) {
  // Not what any host names: what is to be looked for costs the server.
  if (auto asked = check_task_of(database.contents(), host, request); !asked) return asked.error();
  database.expect(request.application(), rows_of(request));
  auto ports = admit_asked(database.contents(), host, mtu_limit, source, request);
  // From the redirect on, frames come from all of its networks: who may send them has to be known.
  if (ports && !database.settled()) {
    return not_yet(
        fmt::format("{} has not read the networks of {} yet", host, request.application()));
  }
  return ports;
}

}  // namespace

Result<std::vector<PortSpec>> admit(const Contents& contents, const std::string& host,
                                    std::uint32_t mtu_limit, const std::string& source,
                                    const migration::Prepare& request) {
  if (auto asked = check_task_of(contents, host, request); !asked) return asked.error();
  return admit_asked(contents, host, mtu_limit, source, request);
}

asio::awaitable<Result<std::vector<PortSpec>>> admit_when_known(ControlDatabase& database,
                                                                std::string host,
                                                                std::uint32_t mtu_limit,
                                                                std::string source,
                                                                const migration::Prepare& request) {
  const auto deadline = std::chrono::steady_clock::now() + kAdmissionPatience;
  while (true) {
    auto ports = admit_now(database, host, mtu_limit, source, request);
    if (ports || ports.error().code != errc::resource_unavailable_try_again ||
        std::chrono::steady_clock::now() > deadline) {
      co_return ports;
    }
    co_await overlay::pause(20ms);
  }
}

}  // namespace homeport::agent
