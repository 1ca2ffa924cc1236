// What a flow is for, left in it as a note (ovs-actions(7)): does nothing to packets, and is read
// back by an agent that finds the flow.
#pragma once

#include "overlay/datapath/ovs/flow_image.h"

#include <string>
#include <string_view>

namespace homeport::overlay::ovs {

/// The action that records it. A network's hosts are not in its record: see hosts_of().
std::string record(const Port& port);
std::string record(const NetworkEntry& network);
std::string record(const AddressEntry& entry);
std::string record(const HostAddress& host);
std::string record(const VtepAlias& alias);
std::string record(const PathEntry& path);
std::string record(const PathEntry& path, const NetworkLabel& network);
std::string record(const RelayEntry& relay);
std::string record(const policy::PortRule& rule);

/// The bytes of a MAC address without the colons between them.
std::string hex(std::string_view mac);

}  // namespace homeport::overlay::ovs
