#include "overlay/vswitch/bridge.h"

#include "overlay/ovsdb/thread.h"
#include "overlay/vswitch/shim.h"

#include <fmt/format.h>

#include <sys/types.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

namespace homeport::overlay::vswitch {

namespace errc = boost::system::errc;

namespace {

struct Free {
  void operator()(char* text) const { std::free(text); }
};
using CString = std::unique_ptr<char, Free>;

struct CloseSwitch {
  void operator()(hp_switch* connection) const { hp_switch_close(connection); }
};
using Connection = std::unique_ptr<hp_switch, CloseSwitch>;

/// What the shim says is wrong, if anything is.
Result<void> outcome(char* text) {
  CString why(text);
  if (!why) return {};
  return policy::make_error(errc::io_error, fmt::format("Open vSwitch: {}", why.get()));
}

Result<Connection> connect(const BridgeOptions& options, long long deadline) {
  hp_switch* connection = nullptr;
  auto opened = outcome(hp_switch_open(options.management.c_str(), deadline, &connection));
  if (!opened) return opened.error();
  return Connection(connection);
}

hp_flow c_flow(const FlowKey& key, const FlowBody& body) {
  return {key.table, key.priority, body.cookie, key.match.c_str(), body.actions.c_str(), 0, 0};
}

Flow cc_flow(const hp_flow& flow) {
  return {{flow.table, flow.priority, flow.match},
          {flow.cookie, flow.actions},
          {flow.packets, flow.bytes}};
}

policy::IpAddress address(const std::uint8_t* mapped) {
  boost::asio::ip::address_v6::bytes_type bytes;
  std::copy_n(mapped, bytes.size(), bytes.begin());
  const boost::asio::ip::address_v6 v6(bytes);
  if (!v6.is_v4_mapped()) return v6;
  return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6);
}

boost::asio::ip::address_v6::bytes_type mapped(const policy::IpAddress& address) {
  namespace ip = boost::asio::ip;
  return (address.is_v6() ? address.to_v6() : ip::make_address_v6(ip::v4_mapped, address.to_v4()))
      .to_bytes();
}

/// To the vector `ports`.
void add_port(void* ports, const hp_bridge_port* port) {
  static_cast<std::vector<BridgePort>*>(ports)->push_back(
      {port->name, port->type, port->owner, port->options, port->error, port->number});
}

}  // namespace

/// The control socket of the ovs-vswitchd that serves the bridge.
Result<std::string> control_socket(const BridgeOptions& options) {
  const std::string management = options.management.substr(options.management.find(':') + 1);
  const std::filesystem::path directory = std::filesystem::path(management).parent_path();
  const auto pid_file = directory / "ovs-vswitchd.pid";
  pid_t pid = 0;
  if (!(std::ifstream(pid_file) >> pid)) {
    return policy::make_error(
        errc::no_such_file_or_directory,
        fmt::format("Open vSwitch: {} does not tell a process: is ovs-vswitchd running?",
                    pid_file.string()));
  }
  return (directory / fmt::format("ovs-vswitchd.{}.ctl", pid)).string();
}

/// The part on the OVS thread.
class Bridge::Replica : public ovsdb::LoopClient {
 public:
  explicit Replica(const BridgeOptions& options)
      : bridge_(hp_bridge_create(options.database.c_str(), options.name.c_str())) {}

  hp_bridge* get() const { return bridge_; }
  void listen(const BridgeOptions& bridge, std::uint16_t controller, PuntedAnswer answer) {
    answer_ = std::move(answer);
    const hp_listener_options options{controller, bridge.silence.count(), &Replica::answer, this};
    listener_ = hp_listener_create(bridge.management.c_str(), &options);
  }
  void take(UniqueFd socket, ArrivalReader reader) {
    reader_ = std::move(reader);
    socket_ = std::move(socket);
    hp_listener_take(listener_, socket_.get(), &Replica::read, this);
  }
  void send(const Departure& way, const std::string& frame) {
    if (!listener_) return;
    const auto source = mapped(way.source), destination = mapped(way.destination);
    const hp_departure departure{way.table,
                                 way.key,
                                 source.data(),
                                 destination.data(),
                                 reinterpret_cast<const std::uint8_t*>(frame.data()),
                                 frame.size()};
    hp_listener_send(listener_, &departure);
  }
  /// Whether ovs-vswitchd has been silent for a while.
  bool hangs() { return listener_ && !hp_listener_answers(listener_); }
  void note_slow() {
    if (listener_) hp_listener_note_slow(listener_);
  }
  bool run() override {
    hp_bridge_run(bridge_);
    return listener_ && hp_listener_run(listener_);
  }
  void wait() override {
    hp_bridge_wait(bridge_);
    if (listener_) hp_listener_wait(listener_);
  }
  void close() override {
    if (listener_) hp_listener_destroy(std::exchange(listener_, nullptr));
    hp_bridge_destroy(std::exchange(bridge_, nullptr));
  }

  const std::shared_ptr<ovsdb::OvsThread> thread = ovsdb::OvsThread::get();

 private:
  static void answer(void* self, const hp_punted* packet, hp_replies* replies) {
    auto text = [](const std::uint8_t* bytes, std::size_t length) {
      return std::string_view(reinterpret_cast<const char*>(bytes), length);
    };
    Replica& replica = *static_cast<Replica*>(self);
    replica.reply_ = replica.answer_(
        {packet->cookie, text(packet->tag, packet->tag_length),
         text(packet->frame, packet->frame_length), packet->whole_length, packet->room,
         address(packet->tunnel_source), address(packet->tunnel_destination)});
    replica.frames_.clear();
    for (const std::string& frame : replica.reply_.frames) {
      replica.frames_.push_back(
          {reinterpret_cast<const std::uint8_t*>(frame.data()), frame.size()});
    }
    *replies = {replica.frames_.data(), replica.frames_.size(),
                replica.reply_.table ? *replica.reply_.table : -1};
  }

  static bool read(void* self, const std::uint8_t* datagram, std::size_t length,
                   hp_arrival* arrival) {
    const auto found = static_cast<Replica*>(self)->reader_(
        std::string_view(reinterpret_cast<const char*>(datagram), length));
    if (!found) return false;
    *arrival = {found->port, found->key, reinterpret_cast<const std::uint8_t*>(found->frame.data()),
                found->frame.size()};
    return true;
  }

  hp_bridge* bridge_;
  hp_listener* listener_ = nullptr;
  PuntedAnswer answer_;
  PuntedReply reply_;             ///< The last one,
  std::vector<hp_frame> frames_;  ///< and its frames.
  ArrivalReader reader_;
  UniqueFd socket_;
};

Bridge::Bridge(BridgeOptions options) : options_(std::move(options)) {
  auto thread = ovsdb::OvsThread::get();
  thread->call([this] { replica_ = std::make_shared<Replica>(options_); });
  thread->add(replica_);
}

Bridge::~Bridge() {
  // The thread may end with its last user, and must not do so on itself.
  auto thread = replica_->thread;
  thread->remove(replica_);
  replica_.reset();
}

Result<void> Bridge::on_thread(
    const std::function<Result<void>(Replica&, long long deadline)>& action) {
  Result<void> result;
  replica_->thread->call([&] { result = action(*replica_, hp_now() + options_.patience.count()); });
  return result;
}

Result<void> Bridge::with_daemon(
    const std::function<Result<void>(Replica&, long long deadline)>& action) {
  return on_thread([&](Replica& replica, long long deadline) -> Result<void> {
    if (replica.hangs()) {
      return policy::make_error(
          errc::timed_out,
          "Open vSwitch: ovs-vswitchd has not answered for a while: does it run? It is asked again "
          "without waiting for it.");
    }
    auto done = action(replica, deadline);
    if (!done && hp_now() >= deadline) replica.note_slow();
    return done;
  });
}

Result<void> Bridge::ensure() {
  return with_daemon([this](Replica& replica, long long deadline) -> Result<void> {
    if (auto synced = outcome(hp_bridge_sync(replica.get(), deadline)); !synced) return synced;
    return outcome(hp_bridge_ensure(replica.get(), options_.datapath_type.c_str(), deadline));
  });
}

Result<std::vector<BridgePort>> Bridge::ports() {
  std::vector<BridgePort> ports;
  auto done = on_thread([&](Replica& replica, long long deadline) -> Result<void> {
    if (auto synced = outcome(hp_bridge_sync(replica.get(), deadline)); !synced) return synced;
    hp_bridge_ports(replica.get(), add_port, &ports);
    return {};
  });
  if (!done) return done.error();
  return ports;
}

std::optional<std::vector<BridgePort>> Bridge::ports_at_hand() {
  std::optional<std::vector<BridgePort>> ports;
  replica_->thread->call([&] {
    if (!hp_bridge_is_there(replica_->get(), options_.datapath_type.c_str())) return;
    hp_bridge_ports(replica_->get(), add_port, &ports.emplace());
  });
  return ports;
}

bool Bridge::has_device_at_hand(const std::string& device) {
  bool has = false;
  replica_->thread->call([&] { has = hp_bridge_has_device(replica_->get(), device.c_str()); });
  return has;
}

Result<void> Bridge::change_ports(const std::vector<BridgePort>& added,
                                  const std::vector<std::string>& removed) {
  std::vector<hp_bridge_port> to_add;
  for (const BridgePort& port : added) {
    to_add.push_back(
        {port.name.c_str(), port.type.c_str(), port.owner.c_str(), port.options.c_str(), "", -1});
  }
  std::vector<const char*> to_remove;
  for (const std::string& name : removed) to_remove.push_back(name.c_str());
  return with_daemon([&](Replica& replica, long long deadline) -> Result<void> {
    if (auto synced = outcome(hp_bridge_sync(replica.get(), deadline)); !synced) return synced;
    return outcome(hp_bridge_change(replica.get(), to_add.data(), to_add.size(), to_remove.data(),
                                    to_remove.size(), deadline));
  });
}

Result<std::vector<std::int64_t>> Bridge::flooding(const std::map<std::int64_t, bool>& ports,
                                                   bool set) {
  std::vector<hp_flooding> wanted;
  for (const auto& [number, flooded] : ports) wanted.push_back({number, flooded, false});
  auto done = with_daemon([&](Replica&, long long deadline) {
    return outcome(hp_switch_flooding(options_.management.c_str(), set, wanted.data(),
                                      wanted.size(), deadline));
  });
  if (!done) return done.error();
  std::vector<std::int64_t> others;
  for (const hp_flooding& port : wanted) {
    if (port.differs) others.push_back(port.number);
  }
  return others;
}

Result<std::vector<std::int64_t>> Bridge::set_flooding(const std::map<std::int64_t, bool>& ports) {
  return flooding(ports, true);
}

Result<std::vector<std::int64_t>> Bridge::other_flooding(
    const std::map<std::int64_t, bool>& ports) {
  return flooding(ports, false);
}

/// Of `flows` and `digest`, one may be null.
Result<void> Bridge::dump(const FlowFilter& filter, std::vector<Flow>* flows, FlowDigest* digest) {
  hp_flow_seen* seen = [](void* aux, const hp_flow* flow) {
    static_cast<std::vector<Flow>*>(aux)->push_back(cc_flow(*flow));
  };
  hp_digest told{};
  auto done = with_daemon([&](Replica&, long long deadline) -> Result<void> {
    auto connection = connect(options_, deadline);
    if (!connection) return connection.error();
    return outcome(hp_switch_dump(connection->get(), filter.table, filter.cookie, filter.mask,
                                  flows ? seen : nullptr, flows, digest ? &told : nullptr,
                                  deadline));
  });
  if (digest) *digest = {told.flows, told.low, told.high};
  return done;
}

Result<std::vector<Flow>> Bridge::flows(std::uint64_t cookie, std::uint64_t mask,
                                        std::uint8_t table) {
  std::vector<Flow> flows;
  if (auto done = dump({cookie, mask, table}, &flows, nullptr); !done) return done.error();
  return flows;
}

Result<std::pair<std::vector<Flow>, FlowDigest>> Bridge::digested_flows(std::uint64_t cookie,
                                                                        std::uint64_t mask) {
  std::pair<std::vector<Flow>, FlowDigest> told;
  if (auto done = dump({cookie, mask}, &told.first, &told.second); !done) return done.error();
  return told;
}

Result<FlowDigest> Bridge::digest(std::uint64_t cookie, std::uint64_t mask) {
  FlowDigest digest;
  if (auto done = dump({cookie, mask}, nullptr, &digest); !done) return done.error();
  return digest;
}

Result<std::vector<Flow>> Bridge::flows_at(const std::vector<FlowKey>& places) {
  std::vector<Flow> flows;
  if (places.empty()) return flows;
  struct Search {
    const FlowKey& place;
    std::vector<Flow>& flows;
  };
  auto seen = [](void* aux, const hp_flow* flow) {
    Search& search = *static_cast<Search*>(aux);
    Flow found = cc_flow(*flow);
    if (found.key == search.place) search.flows.push_back(std::move(found));
  };
  auto done = with_daemon([&](Replica&, long long deadline) -> Result<void> {
    auto connection = connect(options_, deadline);
    if (!connection) return connection.error();
    for (const FlowKey& place : places) {
      const FlowBody any;
      const hp_flow asked = c_flow(place, any);
      Search search{place, flows};
      auto one = outcome(hp_switch_dump_within(connection->get(), &asked, seen, &search, deadline));
      if (!one) return one;
    }
    return {};
  });
  if (!done) return done.error();
  return flows;
}

Result<void> Bridge::change_flows(const std::vector<FlowChange>& changes) {
  if (changes.empty()) return {};
  std::vector<hp_flow_change> wanted;
  for (const FlowChange& change : changes) {
    wanted.push_back({c_flow(change.key, change.body), change.remove});
  }
  return with_daemon([&](Replica&, long long deadline) -> Result<void> {
    auto connection = connect(options_, deadline);
    if (!connection) return connection.error();
    // A thousand flows may take ovs-vswitchd a good part of a second to remove.
    deadline += static_cast<long long>(wanted.size());
    bool refused = false;
    return outcome(
        hp_switch_commit(connection->get(), wanted.data(), wanted.size(), deadline, &refused));
  });
}

Result<void> Bridge::wait_revalidated(const Flow& same) {
  auto socket = control_socket(options_);
  if (!socket) return socket.error();
  auto round = [&] {
    return with_daemon([&](Replica&, long long deadline) {
      return outcome(
          hp_vswitchd_ask(socket->c_str(), "revalidator/wait", nullptr, 0, deadline, nullptr));
    });
  };
  // The first round to end may have begun before the change. Another change starts one at once,
  // where it would wait for up to half a second.
  if (auto first = round(); !first) return first;
  if (auto again = change_flows({{same.key, same.body}}); !again) return again;
  return round();
}

Result<std::string> Bridge::ask(const std::string& command,
                                const std::vector<std::string>& arguments) {
  auto socket = control_socket(options_);
  if (!socket) return socket.error();
  std::vector<const char*> words;
  for (const std::string& argument : arguments) words.push_back(argument.c_str());
  char* printed = nullptr;
  auto done = with_daemon([&](Replica&, long long deadline) {
    return outcome(hp_vswitchd_ask(socket->c_str(), command.c_str(), words.data(), words.size(),
                                   deadline, &printed));
  });
  const CString owned(printed);
  if (!done) return done.error();
  return std::string(owned.get());
}

Result<std::string> Bridge::trace(const std::string& flow) {
  return ask("ofproto/trace", {options_.name, flow});
}

Result<std::vector<Meter>> Bridge::meters(bool counts) {
  std::vector<Meter> meters;
  auto seen = [](void* aux, const hp_meter* meter) {
    static_cast<std::vector<Meter>*>(aux)->push_back({meter->id, meter->rate, meter->dropped});
  };
  auto done = with_daemon([&](Replica&, long long deadline) -> Result<void> {
    auto connection = connect(options_, deadline);
    if (!connection) return connection.error();
    return outcome(hp_switch_meters(connection->get(), counts, seen, &meters, deadline));
  });
  if (!done) return done.error();
  return meters;
}

Result<void> Bridge::set_meter(int command, const Meter& meter) {
  return with_daemon([&](Replica&, long long deadline) -> Result<void> {
    auto connection = connect(options_, deadline);
    if (!connection) return connection.error();
    const hp_meter wanted{meter.id, meter.rate, 0};
    return outcome(hp_switch_set_meter(connection->get(), static_cast<hp_meter_command>(command),
                                       &wanted, deadline));
  });
}

Result<void> Bridge::add_meter(const Meter& meter) {
  return set_meter(HP_METER_ADD, meter);
}

Result<void> Bridge::modify_meter(const Meter& meter) {
  return set_meter(HP_METER_MODIFY, meter);
}

Result<void> Bridge::remove_meter(std::uint32_t id) {
  return set_meter(HP_METER_DELETE, {id});
}

void Bridge::answer_punted(std::uint16_t controller, PuntedAnswer answer) {
  replica_->thread->call([&] { replica_->listen(options_, controller, std::move(answer)); });
}

void Bridge::take_datagrams(UniqueFd socket, ArrivalReader reader) {
  replica_->thread->call([&] { replica_->take(std::move(socket), std::move(reader)); });
}

void Bridge::send(const Departure& way, FrameMaker frame) {
  // What is posted is done before ~Bridge() closes the replica, which the thread must not own.
  replica_->thread->post(
      [replica = replica_.get(), way, frame = std::move(frame)] { replica->send(way, frame()); });
}

Result<std::vector<Flow>> Bridge::canonical(const std::vector<Flow>& flows) {
  std::vector<Flow> result = flows;
  auto done = on_thread([&](Replica&, long long) -> Result<void> {
    for (Flow& flow : result) {
      const hp_flow given = c_flow(flow.key, flow.body);
      char *match = nullptr, *actions = nullptr;
      if (auto parsed = outcome(hp_flow_canonical(&given, &match, &actions)); !parsed) {
        return parsed;
      }
      flow.key.match = CString(match).get();
      flow.body.actions = CString(actions).get();
    }
    return {};
  });
  if (!done) return done.error();
  return result;
}

}  // namespace homeport::overlay::vswitch
