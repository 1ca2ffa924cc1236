#include "agent/start_up.h"

#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include <malloc.h>
#include <unistd.h>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using namespace std::chrono_literals;
using policy::Result;

namespace {

/// How often it is looked whether the datapath is as it should be: what was deleted by hand is
/// there again within 5 s.
constexpr auto kRepairInterval = 3s;
constexpr unsigned kRepairsPerReconcile = 20;
/// How much longer another agent of this host's name is listened for than it is between two signs
/// of life.
constexpr auto kListenLonger = 2s;

/// Throws when another agent lives by this host's name elsewhere, as on a machine made from an
/// image of this one: each would take the other's guests for its own. An agent that was killed, and
/// has been given other addresses since, is one that gives no more signs of life. No clocks are
/// compared: those of two machines may differ.
asio::awaitable<void> make_sure_to_be_alone(const ControlDatabase& database, const Host& host) {
  const auto endpoints = control_endpoints(database.contents(), host.name);
  if (endpoints.empty() || std::ranges::is_permutation(endpoints, host.control_endpoints)) {
    co_return;
  }
  auto sign_of_life = [&]() -> std::optional<WallTime> {
    auto status = database.host_status().find(host.name);
    if (status == database.host_status().end() || status->second.state == HostState::stopping) {
      return {};
    }
    return status->second.last_seen;
  };
  const std::optional<WallTime> before = sign_of_life();
  if (!before) co_return;
  log::info("{} was at {} before: making sure that nobody is there any more", host.name,
            to_string(endpoints.front()));
  const auto interval = beat_interval(database.contents().hosts.size());
  const auto deadline = std::chrono::steady_clock::now() + interval + kListenLonger;
  while (std::chrono::steady_clock::now() < deadline) {
    co_await overlay::pause(100ms);
    const std::optional<WallTime> now = sign_of_life();
    if (!now) co_return;
    // A server that starts anew has forgotten it.
    if (now == before || *now == WallTime{}) continue;
    auto other = database.host_status().find(host.name);
    throw boost::system::system_error(
        errc::make_error_code(errc::device_or_resource_busy),
        fmt::format("another agent is {} already, at {} (process {} there): give this host a name "
                    "of its own in its configuration, with a certificate by `homeport pki issue`",
                    host.name, to_string(endpoints.front()), other->second.agent_pid));
  }
}

/// Waits until what is read here is not older than this agent. A server that lags (a follower, a
/// relay) has caught up when it has taken a write; before that, its rows say where guests used to
/// be.
asio::awaitable<void> catch_up(AgentParts& parts) {
  while (true) {
    auto told = co_await parts.database.publish_status(parts.identity.status());
    if (told) co_return;
    log::warn("the control database takes no writes yet: {}", told.error().message);
    co_await overlay::pause(1s);
  }
}

/// Until it is read back: an older sign of life may be on its way, and the row may be of an earlier
/// agent. The first sign of life makes the row.
asio::awaitable<void> tell_ready(ControlDatabase& database, const HostIdentity& identity) {
  while (identity.state == HostState::ready) {
    auto row = database.contents().host_status.find(identity.host.name);
    const bool there = row != database.contents().host_status.end();
    if (there && row->second.state == HostState::ready && row->second.agent_pid == ::getpid()) {
      co_return;
    }
    co_await overlay::pause(20ms);
    if (!there) continue;
    if (auto told = co_await database.publish_status(identity.status()); !told) {
      log::warn("this host's status could not be written: {}", told.error().message);
    }
  }
}

asio::awaitable<void> keep_in_order(AgentParts parts) {
  unsigned rounds = 0;
  while (true) {
    co_await overlay::pause(kRepairInterval);
    parts.teller.settle();
    parts.database.review_interest();
    // All of it now and then, for what only a look at everything finds.
    if (++rounds % kRepairsPerReconcile == 0) {
      parts.network.reconcile();
    } else {
      parts.network.repair();
    }
    log::program_log().tell_left_out();
    // What moves have left in the heap. Not while one is under way: to get it again from the kernel
    // is time for which a guest would be stopped.
    if (!parts.tasks.busy() && !parts.destination.busy()) ::malloc_trim(0);
  }
}

asio::awaitable<void> begin(AgentParts parts) {
  migration::Journal::Contents interrupted = parts.journal.read();
  for (const policy::Error& problem : interrupted.unreadable) {
    log::error("{}", problem.message);
  }
  std::vector<migration::JournalEntry> outgoing;
  std::set<std::string> incoming;
  for (migration::JournalEntry& entry : interrupted.entries) {
    if (entry.role == migration::JournalEntry::Role::destination) {
      incoming.insert(entry.application);
      parts.destination.enter(std::move(entry));
    } else {
      outgoing.push_back(std::move(entry));
    }
  }
  for (const migration::JournalEntry& entry : outgoing) {
    if (entry.phase == migration::JournalPhase::under_way && entry.cargo == migration::Cargo::vm) {
      co_await parts.guests.resume_interrupted(entry.application);
    }
  }

  while (!co_await parts.database.wait_synced(10s)) {
    log::warn("waiting for the control database; what is programmed goes on forwarding");
  }
  co_await make_sure_to_be_alone(parts.database, parts.identity.host);
  co_await catch_up(parts);
  overlay::spawn(parts.executor, parts.rows.keep());
  auto status = [&identity = parts.identity] { return identity.status(); };
  overlay::spawn(parts.executor, parts.database.keep_alive(status));

  // Each for itself: a guest that hangs holds up nobody else's.
  for (const std::string& application : incoming) {
    overlay::spawn(parts.executor, parts.destination.take_up(application));
  }
  co_await parts.guests.adopt(incoming);
  report_owners(parts.database.contents(), parts.destination);
  parts.tasks.resume(std::move(outgoing));
  if (parts.identity.state == HostState::starting) {  // not asked to end meanwhile
    parts.identity.state = HostState::ready;
    log::info("{} is ready", parts.identity.host.name);
    overlay::spawn(parts.executor, tell_ready(parts.database, parts.identity));
  }
  co_await keep_in_order(parts);
}

}  // namespace

std::unique_ptr<overlay::ChannelServer> serve_channels(
    asio::any_io_executor executor, const overlay::TlsContext& tls, overlay::Purpose purpose,
    std::vector<asio::ip::tcp::endpoint> endpoints, const overlay::Timeouts& timeouts,
    overlay::PeerCheck check, overlay::ChannelServer::Handler handler,
    std::shared_ptr<overlay::LaneTraffic> traffic) {
  overlay::ServerOptions options;
  options.traffic = std::move(traffic);
  options.purpose = purpose;
  options.listen = std::move(endpoints);
  options.timeouts = timeouts;
  options.on_refused = [](const policy::Error& error) {
    // Of an agent that was killed while it connected, or of somebody who looked whether the port is
    // open: nothing that anybody has to do something about.
    const bool broke_off = error.code == boost::system::errc::connection_reset;
    broke_off ? log::info("{}", error.message) : log::warn("{}", error.message);
  };
  return overlay::ChannelServer::listen(std::move(executor), tls, std::move(options),
                                        std::move(check), std::move(handler))
      .value();
}

std::set<std::string> applications_here(const ControlDatabase& database, const Guests& guests,
                                        const VirtualNetwork& network,
                                        const migration::Destination& destination) {
  std::set<std::string> applications = guests.known();
  for (const auto& [application, move] : network.moves()) applications.insert(application);
  for (const auto& incoming : destination.incoming()) applications.insert(incoming.application);
  for (const std::string& name : network.been_here()) {
    auto binding = database.contents().bindings.find(name);
    if (binding != database.contents().bindings.end()) {
      applications.insert(binding->second.application);
    }
  }
  return applications;
}

void report_state(const ControlDatabase& database, bool synced) {
  if (synced) {
    log::info("in sync with the control database");
    return;
  }
  const std::string why = database.problem();
  log::warn("the control database is out of reach{}{}: traffic goes on, new tasks wait",
            why.empty() ? "" : ": ", why);
}

void report_owners(const Contents& contents, migration::Destination& destination) {
  for (const auto& incoming : destination.incoming()) {
    const Ownership owner = ownership(contents, incoming.application);
    if (owner.kind != Ownership::Kind::owned) continue;
    destination.on_owner(incoming.application, {owner.location, owner.generation});
  }
}

void start_up(AgentParts parts) {
  overlay::spawn(parts.executor, begin(parts));
}

}  // namespace homeport::agent
