// The composition root: every module of the agent, built with exactly what it uses, and every
// channel between them. It holds no logic and no state of its own.
//
//   control database <--> ControlDatabase --+--> VirtualNetwork --> Datapath (eBPF or OVS), links
//                                           |      ^     +--> MobilityTeller --> other agents
//                                           |      +-- hear_of_moves() <------- other agents
//                                           +--> Peers --> who may connect
//                                           +--> PathControllers <------------> other agents
//                                           |      |  |--> VirtualNetwork: ways to other hosts
//                                           |      |  '--> SourceMove: paths for lanes, and back
//                                           |      |       what these measure
//                                           |      '<-- probes of Datapath, LaneTraffic <-- lanes
//                                           +--> BulkLimits --> queues of the interfaces
//                                           +--> HostRows (this host's own, and back)
//                                           +--> TaskRunner --> SourceMove ==lanes==> other agents
//                                           |        |              |
//                                           |        +--> Guests <--+--> VMs (QMP)
//                                           |               ^
//                                           +--> Destination+ <== LaneReceiver <==lanes== others
//                                           |        +--> MobilityTeller (what others signed)
//                                           +--> Tracer <--> those of other agents; Datapath
//   status (REST) <-- snapshot of all of these; Tracer
//        events   <-- ControlDatabase: tasks; PathControllers: paths
//
// Threads: control (this one: all decisions), lanes (guest memory coming in), one for each move
// from here (guest memory going out), that of the OVSDB session inside ControlDatabase, and the one
// that starts and ends the counting of traces inside Tracer.
#include "agent/wiring.h"

#include "agent/mobility/handover.h"
#include "agent/mobility/teller.h"
#include "agent/network/underlay.h"
#include "agent/network/virtual_network.h"
#include "agent/options.h"
#include "agent/paths/bulk_limits.h"
#include "agent/paths/path_channels.h"
#include "agent/paths/path_controllers.h"
#include "agent/peers.h"
#include "agent/shut_down.h"
#include "agent/snapshot.h"
#include "agent/start_up.h"
#include "agent/status/server.h"
#include "agent/tasks/admission.h"
#include "agent/tasks/database_ownership.h"
#include "agent/trace/tracer.h"
#include "agent/worker.h"
#include "migration/memory/dirty_tracker.h"
#include "migration/move/destination.h"
#include "overlay/link/route_monitor.h"

namespace homeport::agent {

namespace asio = boost::asio;

struct Agent::Parts {
  Parts(asio::io_context& control, const Config& config, migration::HoldPoint hold)
      : executor(control.get_executor()),
        tls(overlay::TlsContext::load(config.tls).value()),
        mtu_limit(tunnel_mtu_of(config.underlay.vtep).value()),
        identity(identity_of(config, tls)),
        journal(migration::Journal::open(config.directories.state / "moves").value()),
        datapath(make_datapath(config).value()),
        driver(driver_options(config)),
        database(executor, database_options(config, *datapath)),
        host_rows(executor, database, identity),
        network(database, *datapath, self_of(config, mtu_limit)),
        teller({.executor = executor,
                .host = config.host,
                .database = database,
                .network = network,
                .tls = tls,
                .peer_check = peers.check(),
                .timeouts = {.dead_peer = config.limits.dead_peer}}),
        paths(
            {.executor = executor,
             .host = config.host,
             .database = database,
             .network = network,
             .datapath = *datapath,
             .underlay = {config.underlay.vtep, config.underlay.interfaces, config.underlay.relay},
             .tls = tls,
             .peer_check = peers.check(),
             .timeouts = {.dead_peer = config.limits.dead_peer},
             .lane_traffic = lane_traffic,
             .changed = [this] { status_server->things_changed(); }}),
        bulk_limits(executor, config.host, database),
        guests(executor, database, network, driver, config.host, mtu_limit),
        ownership(database, [this] { return identity.status(); }),
        source(std::make_shared<migration::SourceContext>(migration::SourceContext{
            .executor = executor,
            .host = config.host,
            .traffic = network,
            .ownership = ownership,
            .journal = journal,
            .tls = tls,
            .peer_check = peers.check(),
            .timeouts = {.dead_peer = config.limits.dead_peer},
            .endpoints_of =
                [this](const auto& host) { return control_endpoints(database.contents(), host); },
            .lane_paths = &paths.lane_paths(),
            .lane_traffic = lane_traffic,
            .departed = [this](const auto& application) { guests.departed(application); },
            .reconnect = [this](auto application) { return guests.reconnect(application); },
            .vouch =
                [this](const auto& application, const auto& to, auto generation) {
                  return sign_handovers(tls, database.contents(), application, to, generation);
                },
            .hold = std::move(hold)})),
        tasks(executor, database, guests, source, config.host, config.limits.moves,
              [this](const auto& application) { return destination.expects(application); }),
        destination(migration::DestinationContext{
            .executor = executor,
            .host = config.host,
            .driver = driver,
            .traffic = network,
            .ownership = ownership,
            .journal = journal,
            .lanes = lanes,
            .lane_executor = lane_worker.executor(),
            .lane_endpoints = config.listen.lanes,
            .max_moves = config.limits.moves,
            .admit =
                [this, host = config.host](std::string from, const migration::Prepare& request) {
                  return admit_when_known(database, host, mtu_limit, std::move(from), request);
                },
            .runs = [this](const auto& application) { return guests.present(application); },
            .arrived = [this](auto application,
                              auto vm) { guests.add(application, std::move(vm)); },
            .vouched =
                [this](const auto& source, const auto& told) {
                  teller.arrived(source, told.application(), told.generation(),
                                 {told.handovers().begin(), told.handovers().end()});
                }}),
        tracer({executor, config.host, database, *datapath, tls, peers.check()}) {
    // kernel -> PathControllers, VirtualNetwork, HostRows, BulkLimits
    link_monitor.emplace(overlay::LinkMonitor::start(executor, [this](const auto& event) {
                           paths.on_link_event(event);
                           network.on_link_event(event);
                           host_rows.on_link_event(event);
                           bulk_limits.on_link_event(event);
                         }).value());
    // kernel -> PathControllers
    route_monitor.emplace(
        overlay::RouteMonitor::start(executor, [this] { paths.on_routes_changed(); }).value());
    // what is here whatever it says -> ControlDatabase
    database.follow_too(
        [this] { return applications_here(database, guests, network, destination); });
    // ControlDatabase -> the log
    database.on_state([this](bool synced) { report_state(database, synced); });
    // ControlDatabase -> everything that follows it
    database.on_change([this] {
      peers.follow(database);
      host_rows.follow();
      network.follow(database.changes());
      paths.follow();
      bulk_limits.follow();
      teller.follow();
      report_owners(database.contents(), destination);
      guests.obey();
      tasks.on_database_change();
      status_server->things_changed();
    });
    // all of them -> status; PathControllers tells it of news
    status_server =
        StatusServer::start(
            executor, {.listen = config.listen.status},
            [this, remotes = config.database.remotes,
             kind = config.datapath.kind](const StatusWanted& wanted) {
              return snapshot({identity.host.name, remotes, kind, identity.started, database,
                               network, *datapath, guests, tasks, peers, paths, bulk_limits},
                              wanted);
            },
            [this](auto query) { return tracer.answer_query(std::move(query)); })
            .value();
    const overlay::Timeouts timeouts{.dead_peer = config.limits.dead_peer};
    // other agents -> Destination
    control_server =
        serve_channels(executor, tls, overlay::Purpose::control, config.listen.control, timeouts,
                       peers.check(), [this](overlay::Channel channel) {
                         if (channel.session() == kMobilitySession) {
                           // -> VirtualNetwork
                           return hear_of_moves(std::move(channel), network, peers.check());
                         }
                         if (channel.session() == kPathsSession) {
                           return paths.serve(std::move(channel));  // -> PathControllers
                         }
                         if (channel.session() == kTraceSession) {
                           return tracer.serve(std::move(channel));  // -> Tracer
                         }
                         return destination.serve(std::move(channel));
                       });
    // other agents -> LaneReceiver. Last: from here on another thread uses what is above, and
    // nothing may fail.
    lane_server = serve_channels(
        lane_worker.executor(), tls, overlay::Purpose::lane, config.listen.lanes, timeouts,
        peers.check(), [this](overlay::Channel lane) { return lanes.serve(std::move(lane)); },
        lane_traffic);
    database.start();
    start_up(all());
  }

  AgentParts all() {
    return {executor, identity, database, host_rows,   network,
            teller,   guests,   tasks,    destination, journal};
  }

  // Built from the top down, ended from the bottom up: what is below may use what is above.
  asio::any_io_executor executor;
  overlay::TlsContext tls;
  std::uint32_t mtu_limit;
  HostIdentity identity;
  Peers peers;
  migration::Journal journal;
  std::unique_ptr<overlay::Datapath> datapath;
  migration::QemuDriver driver;
  ControlDatabase database;
  HostRows host_rows;
  VirtualNetwork network;
  MobilityTeller teller;
  std::shared_ptr<overlay::LaneTraffic> lane_traffic = std::make_shared<overlay::LaneTraffic>();
  PathControllers paths;
  BulkLimits bulk_limits;
  Guests guests;
  DatabaseOwnership ownership;
  migration::LaneReceiver lanes;  // lives on lane_worker
  Worker lane_worker;
  std::shared_ptr<const migration::SourceContext> source;
  TaskRunner tasks;
  migration::Destination destination;
  Tracer tracer;
  std::unique_ptr<overlay::ChannelServer> control_server;
  std::unique_ptr<overlay::ChannelServer> lane_server;
  std::optional<overlay::LinkMonitor> link_monitor;
  std::optional<overlay::RouteMonitor> route_monitor;
  std::unique_ptr<StatusServer> status_server;
};

Agent::Agent(asio::io_context& control, const Config& config, migration::HoldPoint hold) {
  migration::check_capture_support().value();
  parts_ = std::make_unique<Parts>(control, config, std::move(hold));
}

void Agent::shut_down(std::function<void(bool)> done) {
  agent::shut_down(parts_->all(), std::move(done));
}

Agent::~Agent() {
  // The worker first: nothing may come from its thread while the rest goes.
  parts_->lane_worker.stop();
}

}  // namespace homeport::agent
