#include "overlay/datapath/map_writer.h"

namespace homeport::overlay {

namespace {

template <class Map, class Changes>
void write_updates(const Map& map, const Changes& changes, std::vector<std::string>& problems) {
  note(map.write(changes.updates), problems);
}

template <class Map, class Changes>
void write_removals(const Map& map, const Changes& changes, std::vector<std::string>& problems) {
  for (const auto& key : changes.removals) note(map.remove(key), problems);
}

}  // namespace

void note(const Result<void>& result, std::vector<std::string>& problems) {
  if (!result) problems.push_back(result.error().message + ".");
}

void write_new(const EbpfObject& object, const MapImage& current, const MapPatch& patch,
               std::vector<std::string>& problems) {
  // A port that is held no longer: as long as its address is elsewhere it would be one that the
  // application is leaving.
  MapChanges<__u32, hp_port> ports, let_go;
  for (const auto& [ifindex, port] : patch.ports.updates) {
    auto was = current.ports.find(ifindex);
    if (was == current.ports.end()) {
      // A slot may have counted for a port that is gone.
      note(reset_per_cpu<hp_port_counters>(object.port_counters_fd(), port.slot), problems);
    }
    const bool after = was != current.ports.end() && was->second.held && !port.held;
    (after ? let_go : ports).updates.emplace_back(ifindex, port);
  }
  // What others refer to first: a frame never finds an address before its port.
  write_updates(object.network_hosts(), patch.network_hosts, problems);
  write_updates(object.network_ports(), patch.network_ports, problems);
  write_updates(object.networks(), patch.networks, problems);
  write_updates(object.vteps(), patch.vteps, problems);
  write_updates(object.relays(), patch.relays, problems);
  write_updates(object.port_rules(), patch.port_rules, problems);
  write_updates(object.labels(), patch.labels, problems);
  write_updates(object.paths(), patch.paths, problems);
  write_updates(object.ports(), ports, problems);
  write_updates(object.held(), patch.held, problems);
  write_updates(object.addresses(), patch.addresses, problems);
  write_updates(object.ports(), let_go, problems);
  write_updates(object.neighbors(), patch.neighbors, problems);
  write_updates(object.hosts(), patch.hosts, problems);
  write_updates(object.routes(), patch.routes, problems);
}

void remove_old(const EbpfObject& object, const MapPatch& patch,
                std::vector<std::string>& problems) {
  write_removals(object.routes(), patch.routes, problems);
  write_removals(object.hosts(), patch.hosts, problems);
  write_removals(object.neighbors(), patch.neighbors, problems);
  write_removals(object.addresses(), patch.addresses, problems);
  write_removals(object.held(), patch.held, problems);
  write_removals(object.ports(), patch.ports, problems);
  write_removals(object.paths(), patch.paths, problems);
  write_removals(object.port_rules(), patch.port_rules, problems);
  write_removals(object.labels(), patch.labels, problems);
  write_removals(object.relays(), patch.relays, problems);
  write_removals(object.vteps(), patch.vteps, problems);
  write_removals(object.networks(), patch.networks, problems);
  write_removals(object.network_hosts(), patch.network_hosts, problems);
  write_removals(object.network_ports(), patch.network_ports, problems);
}

}  // namespace homeport::overlay
