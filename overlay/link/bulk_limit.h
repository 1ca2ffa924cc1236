// Limits what leaves by a device of bulk traffic, so that transfers leave room for everything else.
//
//   1: htb, at the root of the device (tc-htb(8))
//    +- 1:1  everything else: as much as the device takes, and first
//    '- 1:2  packets with a code point of bulk in their own header: at most the limit
//
// with 4850: in place of 1:, by which it is known for Homeport's whoever made it. The code point is
// that of transfers, and that of the outer header of what the overlay carries for applications
// (policy/code_point.h), of IPv4 and IPv6. Both classes share what they have fairly among
// connections where the kernel has fq_codel.
#pragma once

#include "overlay/link/link.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace homeport::overlay {

struct KeptLimits {
  std::vector<std::string> changes = {};   ///< what was done, as sentences
  std::vector<std::string> problems = {};  ///< what could not be, as sentences
};

/// Limits bulk traffic on each of these devices (bit/s, by name) and on no other. A device that is
/// not there is passed over. The root qdisc of a device is replaced if it is the kernel's own
/// choice, and never one that somebody has set: that is a problem, as is what the kernel refuses.
/// Setting or removing one may lose what waits in the device's queue. To be called again to mend
/// what somebody has changed. Errors: what there is cannot be read.
Result<KeptLimits> keep_bulk_limits(const std::map<std::string, std::uint64_t>& limits);

}  // namespace homeport::overlay
