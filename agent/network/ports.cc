#include "agent/network/ports.h"

#include "agent/network/desired_state.h"

#include <fmt/format.h>

namespace homeport::agent {

policy::Result<std::vector<migration::PortSpec>> ports_of(const Contents& contents,
                                                          const std::string& application,
                                                          std::uint32_t mtu_limit) {
  std::vector<migration::PortSpec> ports;
  for (const Binding* binding : contents.bindings_of(application)) {
    auto network = contents.networks.find(binding->network);
    if (network == contents.networks.end()) {
      return policy::make_error(
          boost::system::errc::no_such_device,
          fmt::format("{} is in network {}, which is not in the control database", binding->name,
                      binding->network));
    }
    ports.push_back({binding->name, network->second.vni, binding->mac,
                     mtu_of(network->second, mtu_limit), device_of(contents, *binding)});
  }
  auto row = contents.applications.find(application);
  const bool netdev = row != contents.applications.end() && row->second.driver == Driver::netdev;
  if (netdev && ports.size() > 1) {
    return policy::make_error(
        boost::system::errc::invalid_argument,
        fmt::format("{} has {} bindings and is behind one network device: make an application of "
                    "each of them",
                    application, ports.size()));
  }
  return ports;
}

}  // namespace homeport::agent
