// The datapath as eBPF programs at tc (clsact) of the ports, of one VXLAN device and of the device
// of the host's own processes, and at the ingress (TCX) of the devices of the underlay.
#pragma once

#include "overlay/datapath/datapath.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace homeport::overlay {

struct EbpfOptions {
  /// Where the maps are pinned: a directory on a mounted bpffs, made if it is missing. One
  /// directory per agent.
  std::filesystem::path pin_directory = "/sys/fs/bpf/homeport";
  std::string vxlan_device = "homeport0";  ///< Created if it is missing.
  std::string host_device = "homeport1";   ///< See host_port.h; made where a network needs it.
  std::uint16_t udp_port = 4790;           ///< Of every host; other overlays use 4789.
  /// Outer source address per family; the kernel's routing chooses where there is none.
  std::optional<boost::asio::ip::address_v4> local_vtep_v4;
  std::optional<boost::asio::ip::address_v6> local_vtep_v6;
  /// Takes plain frames of other hosts at the devices that have these addresses, before the host's
  /// packet filter (netfilter) sees them.
  bool fast_receive = true;
  /// Sends plain frames to other hosts past the VXLAN device, and past the host's packet filter.
  bool fast_send = true;
};

/// Loads the programs and adopts the pinned maps of an earlier agent if they have this version's
/// layout. Nothing changes for traffic until the first apply(), which fills the maps and then
/// puts the programs in place of the ones before.
///
/// Errors: no bpffs at the directory, no VXLAN device and none can be made, a kernel that refuses
/// the programs (needs CAP_BPF and CAP_NET_ADMIN).
Result<std::unique_ptr<Datapath>> make_ebpf_datapath(const EbpfOptions& options);

}  // namespace homeport::overlay
