// The datapath's classifiers at tc ingress or egress (clsact) of a device, through libbpf.
//
// Each device has at most one at each, at a fixed priority and handle, so that a new program takes
// the place of the old one in a single step and no packet passes between them.
#pragma once

#include "policy/error.h"

#include <cstdint>
#include <string>

namespace homeport::overlay::tc_filter {

enum class Hook { ingress, egress };

/// Puts the program there, in place of the one before if there is one. Adds the clsact qdisc.
policy::Result<void> attach(std::uint32_t ifindex, int program_fd, Hook hook = Hook::ingress);

/// Removes the filter at ingress; it is not an error if there is none. The clsact qdisc stays:
/// others may use it.
policy::Result<void> detach(std::uint32_t ifindex);

/// The id of the program there, 0 if none.
policy::Result<std::uint32_t> program_id(std::uint32_t ifindex, Hook hook = Hook::ingress);

/// The id of a loaded program.
policy::Result<std::uint32_t> id_of(int program_fd);

/// The name of the program with this id, empty if it is gone.
std::string program_name(std::uint32_t id);

}  // namespace homeport::overlay::tc_filter
