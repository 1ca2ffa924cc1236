// How rules for transport ports become entries of the maps: as prefixes of ports, of which each
// port is in one at most. Private to the eBPF datapath.
#pragma once

#include "overlay/datapath/map_image.h"

#include <optional>
#include <string>
#include <vector>

namespace homeport::overlay {

/// Into `image`; what finds no room there is in `problems`.
void place_rules(std::vector<policy::PortRule> rules, MapImage& image,
                 std::vector<std::string>& problems);

/// Of the image, settled.
std::vector<policy::PortRule> rules_of(const MapImage& image);

/// What asks for one port.
hp_port_rule_key rule_key(std::uint8_t protocol, std::uint16_t port);
/// The entry with the longest prefix that has it.
std::optional<hp_port_rule> find_rule(const MapImage& image, hp_port_rule_key key);

/// "tcp:80", "udp:5000-5003": the ports of one entry.
std::string ports_text(const hp_port_rule_key& key);
/// The rule that the entry is a part of.
policy::PortRule rule_of(const hp_port_rule_key& key, const hp_port_rule& entry);

}  // namespace homeport::overlay
