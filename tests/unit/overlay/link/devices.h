// What tests do to network devices and the agent does not: links between namespaces, addresses.
// Every function acts in the network namespace of the calling thread and throws std::runtime_error.
#pragma once

#include "policy/address.h"

#include <cstdint>
#include <optional>
#include <string>

namespace homeport::overlay {

/// A pair of virtual Ethernet devices; `peer` is made in the network namespace `peer_namespace`
/// (a file descriptor of /proc/PID/ns/net) when given. Both ends are left down.
void create_veth(const std::string& name, const std::string& peer,
                 std::optional<int> peer_namespace = std::nullopt);

/// IPv6 addresses are added without duplicate address detection. The kernel has them serve a moment
/// later even so: returns when they do.
void add_address(const std::string& name, const policy::IpAddress& address, int prefix_length);
void remove_address(const std::string& name, const policy::IpAddress& address, int prefix_length);

/// Packets the device has sent: for a tap, what its reader has taken out of the queue.
std::uint64_t sent_packets(const std::string& name);
/// For a tap: what its reader has put in.
std::uint64_t received_packets(const std::string& name);

}  // namespace homeport::overlay
