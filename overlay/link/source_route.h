// Source-address routing: what the host sends from one of its addresses leaves by the device that
// has it, whatever the routing would choose by the destination alone. Otherwise a host with two
// interfaces in one subnet sends everything by the first, and routers and firewalls that check the
// source address of what they forward (BCP 38) drop what comes by another interface.
//
// Each device has a routing table of its own with copies of the main table's routes that lead
// there, and each address a rule that looks there first. Where that table has no route the main one
// decides as before: an address can be used for what its device leads to, and nothing else changes.
#pragma once

#include "overlay/link/link.h"

#include <cstdint>
#include <vector>

namespace homeport::overlay {

/// Nobody else should use these tables, or rules of that priority that lead there.
struct SourceRouting {
  std::uint32_t first_table = 18'545'000;  ///< of a device: this and its index
  std::uint32_t last_table = 19'544'999;
  std::uint32_t rule_priority = 18545;  ///< after prior addresses, before the main table
};

/// Routes what comes from each of the addresses as above, and what comes from any other as without:
/// rules and tables of addresses that are not named (any more) go. To be called again when the
/// main table may have changed. True if anything was different. New routes are there before old
/// ones go, so that what is routed stays so. Errors name the first that could not be set, and what
/// comes after it is left as it was.
Result<bool> keep_source_routes(const SourceRouting& routing,
                                const std::vector<LinkAddress>& addresses);

}  // namespace homeport::overlay
