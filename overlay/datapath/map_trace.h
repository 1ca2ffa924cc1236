// What the eBPF programs do with a packet, told from the contents of their maps: the decisions of
// ebpf/datapath.bpf.c, in its order. Pure. A test holds it against the programs themselves.
#pragma once

#include "overlay/datapath/map_image.h"
#include "overlay/datapath/map_rules.h"
#include "overlay/datapath/trace.h"

#include <map>
#include <optional>
#include <set>
#include <string>

namespace homeport::overlay {

/// What programs look up.
class TraceTables {
 public:
  virtual ~TraceTables() = default;
  virtual std::optional<hp_port> port(__u32 ifindex) const = 0;
  virtual std::optional<hp_address> address(const hp_address_key& key) const = 0;
  virtual std::optional<hp_delivery> held(const hp_address_key& key) const = 0;
  virtual std::optional<hp_mac> neighbor(const hp_neighbor_key& key) const = 0;
  virtual std::optional<hp_network> network(__u32 vni) const = 0;
  virtual std::optional<hp_vtep> network_host(const hp_member_key& key) const = 0;
  virtual std::optional<__u32> network_port(const hp_member_key& key) const = 0;
  virtual std::optional<hp_host_address> vtep(const hp_vtep& key) const = 0;
  virtual std::optional<hp_path> path(const hp_path_key& key) const = 0;
  /// By the longest prefix, as the programs find it.
  virtual std::optional<hp_port_rule> port_rule(const hp_port_rule_key& key) const = 0;
  virtual std::optional<__u32> label(const hp_label_key& key) const = 0;
  virtual std::optional<hp_relay> relay(__u32 label) const = 0;
  virtual std::optional<hp_route> route(const hp_ip& key) const = 0;
  virtual std::optional<hp_host> host(const hp_ip& key) const = 0;
};

/// Of maps that have been read. `image` must outlive it.
class ImageTables final : public TraceTables {
 public:
  explicit ImageTables(const MapImage& image) : image_(image) {}
  std::optional<hp_port> port(__u32 ifindex) const override { return at(image_.ports, ifindex); }
  std::optional<hp_address> address(const hp_address_key& key) const override {
    return at(image_.addresses, key);
  }
  std::optional<hp_delivery> held(const hp_address_key& key) const override {
    return at(image_.held, key);
  }
  std::optional<hp_mac> neighbor(const hp_neighbor_key& key) const override {
    return at(image_.neighbors, key);
  }
  std::optional<hp_network> network(__u32 vni) const override { return at(image_.networks, vni); }
  std::optional<hp_vtep> network_host(const hp_member_key& key) const override {
    return at(image_.network_hosts, key);
  }
  std::optional<__u32> network_port(const hp_member_key& key) const override {
    return at(image_.network_ports, key);
  }
  std::optional<hp_host_address> vtep(const hp_vtep& key) const override {
    return at(image_.vteps, key);
  }
  std::optional<hp_path> path(const hp_path_key& key) const override {
    return at(image_.paths, key);
  }
  std::optional<hp_port_rule> port_rule(const hp_port_rule_key& key) const override {
    return find_rule(image_, key);
  }
  std::optional<__u32> label(const hp_label_key& key) const override {
    return at(image_.labels, key);
  }
  std::optional<hp_relay> relay(__u32 label) const override { return at(image_.relays, label); }
  std::optional<hp_route> route(const hp_ip& key) const override { return at(image_.routes, key); }
  std::optional<hp_host> host(const hp_ip& key) const override { return at(image_.hosts, key); }

 private:
  template <class Map>
  static std::optional<typename Map::mapped_type> at(const Map& contents,
                                                     const typename Map::key_type& key) {
    auto found = contents.find(key);
    return found == contents.end() ? std::nullopt : std::optional(found->second);
  }

  const MapImage& image_;
};

/// The devices around the programs.
struct TraceDevices {
  std::map<std::uint32_t, std::string> names;  ///< of all devices, by ifindex
  std::set<std::uint32_t> filtered;  ///< with the program of the datapath that belongs there
  std::uint32_t vxlan = 0;           ///< 0: it is missing
  std::uint32_t host = 0;            ///< of the host's own processes; 0: there is none
  /// Over which the kernel sends what the host's own processes send to the packet's destination;
  /// 0: nowhere. Only for FromHost.
  std::uint32_t route = 0;
  std::uint32_t route_mtu = 0;  ///< of that path
};

Trace trace(const TraceTables& tables, const TraceDevices& devices, const TraceOrigin& origin,
            const TracedPacket& packet);

}  // namespace homeport::overlay
