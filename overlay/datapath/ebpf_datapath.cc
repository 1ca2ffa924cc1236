#include "overlay/datapath/ebpf_datapath.h"

#include "overlay/datapath/ebpf_counter.h"
#include "overlay/datapath/ebpf_object.h"
#include "overlay/datapath/ebpf_probe_wire.h"
#include "overlay/datapath/host_port.h"
#include "overlay/datapath/kernel_tables.h"
#include "overlay/datapath/map_labels.h"
#include "overlay/datapath/map_patch.h"
#include "overlay/datapath/map_writer.h"
#include "overlay/datapath/send_path.h"
#include "overlay/datapath/tampering.h"
#include "overlay/datapath/tc_filter.h"
#include "overlay/datapath/underlay.h"
#include "overlay/link/link.h"
#include "overlay/link/route.h"

#include <fmt/format.h>
#include <boost/algorithm/string/join.hpp>

#include <net/if.h>

#include <algorithm>
#include <map>
#include <optional>

namespace homeport::overlay {

namespace {

constexpr const char* kFromPort = "hp_from_port";
constexpr const char* kFromTunnel = "hp_from_tunnel";

/// Whether one of the datapath's programs, of any agent and version, filters the device.
bool is_filtered(std::uint32_t ifindex) {
  auto id = tc_filter::program_id(ifindex);
  if (!id || *id == 0) return false;
  const std::string name = tc_filter::program_name(*id);
  return name == kFromPort || name == kFromTunnel;
}

/// The VXLAN device: made when missing, refused when it is not what the programs need.
Result<Link> ensure_vxlan(const EbpfOptions& options) {
  auto link = find_link(options.vxlan_device);
  if (!link && link.error().code == boost::system::errc::no_such_device) {
    return create_vxlan(options.vxlan_device, options.udp_port);
  }
  if (!link) return link.error();
  auto settings = vxlan_settings(options.vxlan_device);
  if (!settings) return settings.error();
  if (!settings->external || !settings->udp6_zero_checksum_rx ||
      settings->udp_port != options.udp_port) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        "The VXLAN device " + options.vxlan_device +
            " exists, but not as needed (external, udp6zerocsumrx, UDP port " +
            std::to_string(options.udp_port) + "): delete it or configure another name");
  }
  return link;
}

/// Of the programs as they are loaded.
struct ProgramIds {
  std::uint32_t from_port = 0, from_tunnel = 0, from_host = 0, from_underlay = 0;
};

PortDevice device_of(const Link& link) {
  return {static_cast<std::uint32_t>(link.index), link.kind == "veth" && link.peer_elsewhere};
}

class EbpfDatapath final : public Datapath {
 public:
  EbpfDatapath(EbpfOptions options, EbpfObject object, const ProgramIds& ids)
      : options_(std::move(options)),
        object_(std::move(object)),
        ids_(ids),
        host_port_(options_.host_device),
        underlay_(options_, object_, ids.from_underlay),
        send_path_(options_, object_) {}

  Result<void> apply(const DesiredState& desired) override;
  Result<bool> update(const StateChange& change) override;
  Result<bool> untouched() override;
  const std::vector<std::string>& mended() const override { return mended_; }
  Result<std::vector<std::string>> detached() override;
  Result<DesiredState> read_back() override;
  Result<void> set_address(const AddressEntry& entry) override;
  Result<void> set_path(const PathEntry& entry) override;
  Result<std::unique_ptr<ProbeWire>> probe_wire() override {
    return make_ebpf_probe_wire(object_, options_.udp_port);
  }
  Result<PortCounters> counters(const std::string& device) override;
  Result<TotalCounters> counters() override;
  Result<TraceAnswer> trace(const TraceOrigin& origin, const TracedPacket& packet) override;
  Result<std::unique_ptr<TraceCounter>> count(const TraceOrigin& origin,
                                              const TracedPacket& packet) override;

 private:
  using Problems = std::vector<std::string>;

  Result<MapImage> read_image() const;
  void attach(std::uint32_t ifindex, int program_fd, std::uint32_t id, Problems& problems,
              tc_filter::Hook hook = tc_filter::Hook::ingress);
  Result<void> keep_host_port(const DesiredState& desired, const MapImage& image,
                              Problems& problems);
  Route route_of(const MapImage& image, const hp_ip& to, const hp_route& route) const;
  void add_mended(const std::vector<std::string>& clauses) {
    mended_.insert(mended_.end(), clauses.begin(), clauses.end());
  }
  void keep_devices(const StateChange& change, const PortDevices& found,
                    const std::vector<__u32>& gone, Problems& problems);
  Result<bool> filters_untouched() const;
  Result<TraceDevices> devices_around(const TraceOrigin& origin, const TracedPacket& packet) const;
  void detach_strays(const std::vector<Link>& links, const MapImage& desired,
                     std::uint32_t vxlan_ifindex, Problems& problems) const;

  const EbpfOptions options_;
  EbpfObject object_;
  const ProgramIds ids_;
  HostPort host_port_;
  Underlay underlay_;
  SendPath send_path_;
  std::uint32_t host_ifindex_ = 0;  ///< of the host port's device; 0: it is not needed
  std::optional<policy::IpAddress> source_v4_, source_v6_;  ///< that its routes give to processes
  /// What this object left in the maps, and the devices it left filtered; none before it has
  /// written anything, or when it could not write everything.
  std::optional<MapImage> left_;
  std::map<std::uint32_t, std::string> filtered_;  ///< name by ifindex
  PortDevices port_devices_;                       ///< of the ports among them
  std::vector<std::string> mended_;
  EbpfCounters counters_;
  bool took_over_ = false;  ///< What an earlier agent left has been dealt with.
};

Result<MapImage> EbpfDatapath::read_image() const {
  MapImage image;
  auto read = [](const auto& map, auto& into) { return map.read(into); };
  for (auto done :
       {read(object_.addresses(), image.addresses), read(object_.held(), image.held),
        read(object_.ports(), image.ports), read(object_.neighbors(), image.neighbors),
        read(object_.networks(), image.networks),
        read(object_.network_hosts(), image.network_hosts),
        read(object_.network_ports(), image.network_ports), read(object_.vteps(), image.vteps),
        read(object_.paths(), image.paths), read(object_.port_rules(), image.port_rules),
        read(object_.labels(), image.labels), read(object_.relays(), image.relays),
        read(object_.routes(), image.routes), read(object_.hosts(), image.hosts)}) {
    if (!done) return done.error();
  }
  return image;
}

void EbpfDatapath::attach(std::uint32_t ifindex, int program_fd, std::uint32_t id,
                          Problems& problems, tc_filter::Hook hook) {
  auto present = tc_filter::program_id(ifindex, hook);
  if (!present) return problems.push_back(present.error().message + ".");
  if (*present == id) return;
  if (auto left = filtered_.find(ifindex); left != filtered_.end()) {
    mended_.push_back(fmt::format("the filter of {} was {}", left->second,
                                  *present == 0 ? "missing" : "replaced"));
  }
  note(tc_filter::attach(ifindex, program_fd, hook), problems);
}

Route EbpfDatapath::route_of(const MapImage& image, const hp_ip& to, const hp_route& route) const {
  const policy::IpAddress address = ip_address(to);
  return {address, address.is_v6() ? source_v6_ : source_v4_, image.networks.at(route.vni).mtu};
}

/// The device, the program and the routes of the host's own processes, where a network needs them.
Result<void> EbpfDatapath::keep_host_port(const DesiredState& desired, const MapImage& image,
                                          Problems& problems) {
  if (!needs_host_port(desired)) {
    if (host_ifindex_ == 0 && took_over_) return {};
    host_ifindex_ = 0;
    object_.set_host_ifindex(0);
    return host_port_.remove();
  }
  auto device = host_port_.ensure_device();
  if (!device) return device.error();
  const auto ifindex = static_cast<std::uint32_t>(device->index);
  if (host_ifindex_ != 0 && host_ifindex_ != ifindex) {
    mended_.push_back(fmt::format("the device {} was missing", host_port_.device()));
  }
  host_ifindex_ = ifindex;
  object_.set_host_ifindex(ifindex);
  attach(ifindex, object_.from_host_fd(), ids_.from_host, problems, tc_filter::Hook::egress);

  std::vector<Route> routes;
  source_v4_ = own_address(desired, options_.local_vtep_v4, false);
  source_v6_ = own_address(desired, options_.local_vtep_v6, true);
  routes.reserve(image.routes.size());
  for (const auto& [to, route] : image.routes) routes.push_back(route_of(image, to, route));
  add_mended(host_port_.set_routes(device->index, std::move(routes), problems));
  return {};
}

void EbpfDatapath::detach_strays(const std::vector<Link>& links, const MapImage& desired,
                                 std::uint32_t vxlan_ifindex, Problems& problems) const {
  for (const Link& link : links) {
    const auto ifindex = static_cast<std::uint32_t>(link.index);
    if (ifindex == vxlan_ifindex || desired.ports.contains(ifindex)) continue;
    if (is_filtered(ifindex)) note(tc_filter::detach(ifindex), problems);
  }
}

Result<void> EbpfDatapath::apply(const DesiredState& desired) {
  mended_.clear();
  auto vxlan = ensure_vxlan(options_);
  if (!vxlan) return vxlan.error();
  const auto vxlan_ifindex = static_cast<std::uint32_t>(vxlan->index);
  auto links = list_links();
  if (!links) return links.error();
  auto current = read_image();
  if (!current) return current.error();

  if (left_) mended_ = tampering(*left_, *current);
  if (!filtered_.empty() && !filtered_.contains(vxlan_ifindex)) {
    mended_.push_back(fmt::format("the device {} was missing", options_.vxlan_device));
  }
  if (!vxlan->up) {
    if (auto up = set_link_up(vxlan->name, true); !up) return up.error();
    if (!filtered_.empty()) mended_.push_back(fmt::format("the device {} was down", vxlan->name));
  }
  auto pinned = object_.keep_pins();
  if (!pinned) return pinned.error();
  add_mended(std::move(*pinned));

  PortDevices devices;
  std::map<std::uint32_t, std::string> present;
  for (const Link& link : *links) {
    const auto ifindex = static_cast<std::uint32_t>(link.index);
    devices[link.name] = device_of(link);
    present[ifindex] = link.name;
  }
  auto [image, problems] = compile(desired, devices, *current);
  const MapPatch patch = patch_between(*current, image);
  const std::size_t left_out = problems.size();

  object_.set_vxlan_ifindex(vxlan_ifindex);
  write_new(object_, *current, patch, problems);
  object_.set_has_paths(!image.paths.empty());
  object_.set_has_port_rules(!image.port_rules.empty());
  for (const auto& [ifindex, port] : image.ports) {
    attach(ifindex, object_.from_port_fd(), ids_.from_port, problems);
  }
  attach(vxlan_ifindex, object_.from_tunnel_fd(), ids_.from_tunnel, problems);
  add_mended(underlay_.keep(present, problems));
  add_mended(send_path_.keep(problems));
  note(keep_host_port(desired, image, problems), problems);
  remove_old(object_, patch, problems);
  for (const auto& [ifindex, port] : current->ports) {
    if (!image.ports.contains(ifindex) && present.contains(ifindex)) {
      note(tc_filter::detach(ifindex), problems);
    }
  }
  if (!took_over_) {
    // Ports that only an agent of another layout knew, and its maps: nothing uses them now.
    detach_strays(*links, image, vxlan_ifindex, problems);
    note(EbpfObject::remove_other_layouts(options_), problems);
    took_over_ = true;
  }
  filtered_ = {{vxlan_ifindex, options_.vxlan_device}};
  port_devices_.clear();
  for (const auto& [ifindex, port] : image.ports) {
    const std::string& name = filtered_[ifindex] = present[ifindex];
    port_devices_[name] = devices[name];
  }
  if (host_ifindex_ != 0) filtered_[host_ifindex_] = options_.host_device;
  left_.reset();
  if (problems.size() == left_out) left_ = std::move(image);
  if (!problems.empty()) {
    return policy::make_error(boost::system::errc::invalid_argument,
                              boost::algorithm::join(problems, " "));
  }
  return {};
}

Result<bool> EbpfDatapath::update(const StateChange& change) {
  mended_.clear();
  if (!left_) return false;
  PortDevices found;
  for (const Port& port : change.ports) {
    auto link = find_link(port.device);
    if (!link) return false;
    found[port.device] = device_of(*link);
  }
  auto patch = patch_of(*left_, change, port_devices_, found);
  if (!patch) return false;
  std::vector<Route> routes;
  std::vector<policy::IpAddress> without;
  for (const auto& [to, route] : patch->routes.updates) {
    routes.push_back(route_of(*left_, to, route));
  }
  for (const hp_ip& to : patch->routes.removals) without.push_back(ip_address(to));
  const bool has_routes = !routes.empty() || !without.empty();
  if (has_routes && host_ifindex_ == 0) return false;

  Problems problems;
  write_new(object_, *left_, *patch, problems);
  for (const auto& [name, device] : found) {
    attach(device.ifindex, object_.from_port_fd(), ids_.from_port, problems);
  }
  if (has_routes) {
    host_port_.change_routes(static_cast<int>(host_ifindex_), routes, without, problems);
  }
  remove_old(object_, *patch, problems);
  keep_devices(change, found, patch->ports.removals, problems);
  if (!problems.empty()) {
    left_.reset();
    return policy::make_error(boost::system::errc::invalid_argument,
                              boost::algorithm::join(problems, " "));
  }
  apply_patch(*left_, *patch);
  return true;
}

/// Remembers the devices of the ports that have come, and lets go of those that are none any more.
void EbpfDatapath::keep_devices(const StateChange& change, const PortDevices& found,
                                const std::vector<__u32>& gone, Problems& problems) {
  for (const Port& port : change.ports_before) port_devices_.erase(port.device);
  for (const std::uint32_t ifindex : gone) {
    filtered_.erase(ifindex);
    char name[IF_NAMESIZE];
    if (::if_indextoname(ifindex, name)) note(tc_filter::detach(ifindex), problems);
  }
  for (const auto& [name, device] : found) {
    filtered_[device.ifindex] = name;
    port_devices_[name] = device;
  }
}

Result<bool> EbpfDatapath::filters_untouched() const {
  auto vxlan = ensure_vxlan(options_);
  if (!vxlan) return vxlan.error();
  const auto vxlan_ifindex = static_cast<std::uint32_t>(vxlan->index);
  if (!vxlan->up || !filtered_.contains(vxlan_ifindex)) return false;
  for (const auto& [ifindex, name] : filtered_) {
    const bool host = ifindex == host_ifindex_;
    auto present =
        tc_filter::program_id(ifindex, host ? tc_filter::Hook::egress : tc_filter::Hook::ingress);
    const std::uint32_t own = host                       ? ids_.from_host
                              : ifindex == vxlan_ifindex ? ids_.from_tunnel
                                                         : ids_.from_port;
    if (!present || *present != own) return false;
  }
  return true;
}

Result<std::vector<std::string>> EbpfDatapath::detached() {
  auto underlay = underlay_.untouched();
  if (!underlay) return underlay.error();
  std::vector<std::string> told;
  if (!*underlay) {
    told.emplace_back(
        "The program that receives at the underlay is not at the devices with this host's VTEP, or "
        "elsewhere too.");
  }
  return told;
}

Result<bool> EbpfDatapath::untouched() {
  if (!left_) return false;
  if (!object_.pinned()) return false;
  auto same = filters_untouched();
  if (same && *same) same = underlay_.untouched();
  if (same && *same) same = send_path_.untouched();
  if (same && *same && host_ifindex_ != 0) {
    same = host_port_.untouched(static_cast<int>(host_ifindex_));
  }
  auto check = [&](const auto& map, const auto& left) {
    if (same && *same) same = map.equals(left);
  };
  check(object_.addresses(), left_->addresses);
  check(object_.held(), left_->held);
  check(object_.ports(), left_->ports);
  check(object_.neighbors(), left_->neighbors);
  check(object_.networks(), left_->networks);
  check(object_.network_hosts(), left_->network_hosts);
  check(object_.network_ports(), left_->network_ports);
  check(object_.vteps(), left_->vteps);
  check(object_.paths(), left_->paths);
  check(object_.port_rules(), left_->port_rules);
  check(object_.labels(), left_->labels);
  check(object_.relays(), left_->relays);
  check(object_.routes(), left_->routes);
  check(object_.hosts(), left_->hosts);
  return same;
}

Result<DesiredState> EbpfDatapath::read_back() {
  auto links = list_links();
  if (!links) return links.error();
  auto image = read_image();
  if (!image) return image.error();
  std::map<std::uint32_t, std::string> names;
  for (const Link& link : *links) names[static_cast<std::uint32_t>(link.index)] = link.name;
  std::set<std::uint32_t> attached;
  for (const auto& [ifindex, port] : image->ports) {
    auto id = tc_filter::program_id(ifindex);
    if (!id) return id.error();
    if (*id == ids_.from_port) attached.insert(ifindex);
  }
  return decompile(*image, names, attached);
}

Result<void> EbpfDatapath::set_path(const PathEntry& entry) {
  if (auto possible = check_path(entry); !possible) return possible;
  MapImage there;
  if (!left_) {
    auto read = object_.paths().read(there.paths);
    if (read) read = object_.labels().read(there.labels);
    if (!read) return read;
  }
  MapImage& current = left_ ? *left_ : there;
  Problems problems;
  const MapPatch patch = patch_of(current, entry, problems);
  const std::size_t left_out = problems.size();
  write_new(object_, current, patch, problems);
  object_.set_has_paths(true);
  remove_old(object_, patch, problems);
  apply_patch(current, patch);
  if (problems.size() > left_out) left_.reset();
  if (problems.empty()) return {};
  return policy::make_error(boost::system::errc::invalid_argument,
                            boost::algorithm::join(problems, " "));
}

Result<void> EbpfDatapath::set_address(const AddressEntry& entry) {
  hp_address value{};
  value.generation = entry.generation;
  if (const auto* host = std::get_if<RemoteHost>(&entry.location)) {
    value.remote = 1;
    value.vtep = vtep_value(host->vtep);
    value.relayed = entry.relayed;
  } else {
    const std::string& device = std::get<LocalPort>(entry.location).device;
    auto link = find_link(device);
    if (!link) return link.error();
    const auto ifindex = static_cast<std::uint32_t>(link->index);
    auto port = object_.ports().find(ifindex);
    if (!port) {
      return policy::with_context("The address " + entry.mac.to_string() +
                                      " cannot be delivered to " + device + ", which is not a port",
                                  port.error());
    }
    value.local = {ifindex, port->slot, link->kind == "veth" && link->peer_elsewhere};
  }
  if (auto written = object_.addresses().write(address_key(entry.vni, entry.mac), value);
      !written) {
    return written;
  }
  if (left_) left_->addresses[address_key(entry.vni, entry.mac)] = value;
  for (const policy::IpAddress& ip : entry.ips) {
    const hp_neighbor_key key = neighbor_key(entry.vni, ip);
    if (auto written = object_.neighbors().write(key, mac_value(entry.mac)); !written) {
      return written;
    }
    if (left_) left_->neighbors[key] = mac_value(entry.mac);
  }
  return {};
}

Result<PortCounters> EbpfDatapath::counters(const std::string& device) {
  const std::uint32_t ifindex = ::if_nametoindex(device.c_str());
  auto port = ifindex ? object_.ports().find(ifindex) : Result<hp_port>(hp_port{});
  if (!ifindex || !port) {
    return policy::make_error(boost::system::errc::no_such_device,
                              "The device " + device + " is not a port of the datapath");
  }
  auto sums = read_per_cpu<hp_port_counters>(object_.port_counters_fd(), port->slot);
  if (!sums) return sums.error();
  return PortCounters{sums->delivered_packets, sums->delivered_bytes, sums->received_packets,
                      sums->received_bytes};
}

Result<TotalCounters> EbpfDatapath::counters() {
  TotalCounters totals;
  for (auto [counter, place] : {
#define X(name) std::pair{HP_COUNT_##name, &totals.name},
           HP_COUNTERS(X)
#undef X
       }) {
    auto sum = read_per_cpu<std::uint64_t>(object_.counters_fd(), counter);
    if (!sum) return sum.error();
    *place = *sum;
  }
  return totals;
}

Result<TraceDevices> EbpfDatapath::devices_around(const TraceOrigin& origin,
                                                  const TracedPacket& packet) const {
  auto links = list_links();
  if (!links) return links.error();
  TraceDevices devices;
  devices.host = host_ifindex_;
  const auto* port = std::get_if<FromPort>(&origin);
  for (const Link& link : *links) {
    const auto ifindex = static_cast<std::uint32_t>(link.index);
    devices.names[ifindex] = link.name;
    std::uint32_t wanted = 0;
    tc_filter::Hook hook = tc_filter::Hook::ingress;
    if (link.name == options_.vxlan_device) {
      devices.vxlan = ifindex;
      wanted = ids_.from_tunnel;
    } else if (ifindex == host_ifindex_) {
      wanted = ids_.from_host;
      hook = tc_filter::Hook::egress;
    } else if (port && link.name == port->device) {
      wanted = ids_.from_port;
    } else {
      continue;
    }
    auto id = tc_filter::program_id(ifindex, hook);
    if (!id) return id.error();
    if (*id == wanted) devices.filtered.insert(ifindex);
  }
  if (std::holds_alternative<FromHost>(origin)) {
    auto route = route_of_host(packet);
    if (!route) return route.error();
    devices.route = static_cast<std::uint32_t>(route->device);
    devices.route_mtu = route->mtu;
  }
  return devices;
}

Result<TraceAnswer> EbpfDatapath::trace(const TraceOrigin& origin, const TracedPacket& packet) {
  auto devices = devices_around(origin, packet);
  if (!devices) return devices.error();
  const KernelTables tables(object_);
  TraceAnswer answer{overlay::trace(tables, *devices, origin, packet), {}};
  if (tables.problem()) return *tables.problem();
  if (!left_) return answer;
  for (const auto& [ifindex, name] : filtered_) devices->filtered.insert(ifindex);
  if (left_->routes.contains(ip_key(packet.destination))) devices->route = host_ifindex_;
  Trace left = overlay::trace(ImageTables(*left_), *devices, origin, packet);
  if (left != answer.found) answer.left = std::move(left);
  return answer;
}

Result<std::unique_ptr<TraceCounter>> EbpfDatapath::count(const TraceOrigin& origin,
                                                          const TracedPacket& packet) {
  std::string device = options_.vxlan_device;
  Entrance entrance = Entrance::tunnel;
  policy::Vni vni = 0;
  if (const auto* port = std::get_if<FromPort>(&origin)) {
    device = port->device;
    entrance = Entrance::port;
  } else if (const auto* tunnel = std::get_if<FromTunnel>(&origin)) {
    vni = tunnel->vni;
  } else {
    device = options_.host_device;
    entrance = Entrance::host;
  }
  const std::uint32_t ifindex = ::if_nametoindex(device.c_str());
  if (ifindex == 0) {
    return policy::make_error(
        boost::system::errc::no_such_device,
        fmt::format("Packets of a trace cannot be counted: there is no device {} here", device));
  }
  return counters_.count(object_, entrance, ifindex, vni, packet);
}

}  // namespace

Result<std::unique_ptr<Datapath>> make_ebpf_datapath(const EbpfOptions& options) {
  auto object = EbpfObject::load(options);
  if (!object) return object.error();
  auto vxlan = ensure_vxlan(options);
  if (!vxlan) return vxlan.error();
  if (!vxlan->up) {
    if (auto up = set_link_up(vxlan->name, true); !up) return up.error();
  }
  ProgramIds ids;
  for (auto [fd, id] : {std::pair(object->from_port_fd(), &ids.from_port),
                        std::pair(object->from_tunnel_fd(), &ids.from_tunnel),
                        std::pair(object->from_host_fd(), &ids.from_host),
                        std::pair(object->from_underlay_fd(), &ids.from_underlay)}) {
    auto read = tc_filter::id_of(fd);
    if (!read) return read.error();
    *id = *read;
  }
  return std::make_unique<EbpfDatapath>(options, std::move(*object), ids);
}

}  // namespace homeport::overlay
