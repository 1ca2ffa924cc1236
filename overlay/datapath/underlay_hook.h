// The datapath's program at the ingress of the underlay's devices: TCX links (Linux 6.6), pinned,
// so that they outlive the agent. A device has one; a new program takes the place of the old one in
// a single step.
//
// Links are found by their pins each time: nothing is kept open.
#pragma once

#include "policy/address.h"
#include "policy/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

namespace homeport::overlay::underlay_hook {

/// The Ethernet devices that have one of these addresses. None while the kernel has IPsec policies
/// for what it receives (ip-xfrm(8)): those are looked at behind the hook.
policy::Result<std::set<std::uint32_t>> devices_of(const std::vector<policy::IpAddress>& vteps);

/// What is pinned in `directory`: the id of the program by ifindex, 0 where the device or the link
/// is gone.
policy::Result<std::map<std::uint32_t, std::uint32_t>> list(const std::filesystem::path& directory);

/// Puts the program at the device, in place of that of a link which is pinned for it already.
policy::Result<void> attach(const std::filesystem::path& directory, std::uint32_t ifindex,
                            int program_fd);

/// Takes it away; it is not an error if there is none.
policy::Result<void> detach(const std::filesystem::path& directory, std::uint32_t ifindex);

}  // namespace homeport::overlay::underlay_hook
