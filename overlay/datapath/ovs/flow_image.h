// The flows that the datapath has on Open vSwitch, or should have: compiled from the desired state,
// and read back into it. Pure.
#pragma once

#include "overlay/datapath/datapath.h"
#include "overlay/vswitch/bridge.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay::ovs {

/// What a flow does, and whose it is: "the port tap1", "the address 02:00:00:00:00:05 of network
/// 7", "the network 7", "the host 192.0.2.1", "the pipeline".
struct OwnedFlow {
  vswitch::FlowBody body;
  std::string owner;
  bool operator==(const OwnedFlow&) const = default;
};
std::string name_of(const Port& port);
std::string name_of(const AddressEntry& entry);
std::string name_of(const NetworkEntry& network);
std::string name_of(const HostAddress& host);
std::string name_of(const policy::IpAddress& vtep);
std::string name_of(const VtepAlias& alias);
std::string name_of(const PathEntry& path);
std::string name_of(const RelayEntry& relay);
std::string name_of(const policy::PortRule& rule);

using FlowImage = std::map<vswitch::FlowKey, OwnedFlow>;

/// The bridge as it is.
struct BridgePorts {
  std::map<std::string, std::int64_t> numbers;  ///< OpenFlow port of each device that has one
  std::int64_t tunnel = 0;
  /// Those which put a class' code point into the outer header. Nothing comes in by them.
  std::map<policy::TrafficClass, std::int64_t> class_tunnels = {};
  std::int64_t host = 0;  ///< what leads to the host's own processes; 0: there is none
  /// Whether the switch can write what turns a solicitation into an advertisement: its userspace
  /// datapath can, the kernel's cannot. Where not, a solicitation goes to whom it asks for.
  bool answers_nd = true;
  /// Whether what does not fit the tunnel is for the agent to answer. Not where the kernel
  /// fragments outer packets.
  bool answers_too_big = true;
  /// What outer packets get for a source: an address of this host, or the unspecified address where
  /// the switch's own choice is right. None: what the tunnel's port says.
  std::optional<policy::IpAddress> source = {};
};

/// An address at which the host's own processes find an application.
struct HostRoute {
  policy::IpAddress to;
  policy::Vni vni = 0;
  policy::MacAddress mac;
  std::uint32_t mtu = 0;
  std::weak_ordering operator<=>(const HostRoute&) const = default;
};

struct CompiledFlows {
  FlowImage flows;
  DesiredState carried;               ///< What of the desired state the flows are for.
  std::vector<HostRoute> routes;      ///< Of the host's own processes, sorted.
  std::vector<std::string> problems;  ///< One sentence for each thing left out.
};

/// Of entries that contradict each other, the higher generation wins.
CompiledFlows compile(const DesiredState& desired, const BridgePorts& ports);

/// The flows of one address of a state that is carried already.
FlowImage compile_address(const AddressEntry& entry, const DesiredState& carried,
                          const BridgePorts& ports);

/// What `flows` say they are for, by the records that compile() leaves in them. Whether everything
/// is there that should be is for the caller to see: compile() it again and compare.
DesiredState decompile(const std::vector<vswitch::Flow>& flows);

}  // namespace homeport::overlay::ovs
